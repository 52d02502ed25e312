"""An index whose searches wait or fail when a test wants that, and clients that are slow on purpose."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from cachesync.index.base import Index
from tests.support.web import Web


class Stalling:
    """An index that does something before each search or walk of its readers."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.before: Callable[[], object] = lambda: None

    def reader(self, *, refresh: bool = False) -> "_Reader":
        return _Reader(self._index.reader(refresh=refresh), self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)


class _Reader:
    def __init__(self, reader: Any, index: Stalling) -> None:
        self._reader = reader
        self._of = index

    def search(self, request: Any) -> Any:
        self._of.before()
        return self._reader.search(request)

    def walk(self, request: Any) -> Any:
        self._of.before()
        return self._reader.walk(request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


class Gate:
    """Where searches wait until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._waiting = threading.Semaphore(0)

    def __call__(self) -> None:
        if not self._open.is_set():
            self._waiting.release()
            assert self._open.wait(60)

    def wait_for(self, searches: int) -> None:
        """Wait until so many more have come."""
        for _ in range(searches):
            assert self._waiting.acquire(timeout=60)

    def open(self) -> None:
        self._open.set()


@contextlib.contextmanager
def asking(web: Web, target: str, buffer: int | None = None) -> Iterator[socket.socket]:
    """Send a request, and take nothing of its answer yet. ``buffer``: how much the system may take for us, about."""
    with socket.socket() as client:
        if buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.settimeout(60)
        client.connect((web.host, web.port))
        client.sendall(f"GET {web.base_path}{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        yield client


def rest_of(client: socket.socket) -> bytes:
    """Take all that comes until the connection ends, in whatever way."""
    taken = []
    with contextlib.suppress(ConnectionError):
        while part := client.recv(65_536):
            taken.append(part)
    return b"".join(taken)

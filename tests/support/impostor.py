"""A server that answers anything, as a test has it, and notes what it was asked."""

import contextlib
import gzip
import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.support.serving import serving

Bytes = bytes | Iterable[bytes]


class Asked(NamedTuple):
    """One request."""

    target: str
    headers: dict[str, str]
    before: int
    """How many requests there were for the same."""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    def parameter(self, name: str) -> str | None:
        return parse_qs(urlsplit(self.target).query).get(name, [None])[0]


Answer = Callable[[Asked], Bytes]


def answer(body: bytes | str, status: str = "200 OK", content_type: str = "application/json", *headers: str) -> bytes:
    """A whole answer, after which the connection ends."""
    sent = body.encode() if isinstance(body, str) else body
    head = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(sent)}", "Connection: close"]
    return "\r\n".join([*head, *headers, "", ""]).encode() + sent


def told(value: Any, status: str = "200 OK", *headers: str) -> bytes:
    """An answer that is JSON."""
    return answer(json.dumps(value), status, "application/json", *headers)


def packed(body: bytes, encoding: str = "gzip") -> bytes:
    """An answer that is compressed; a body that isn't bytes of gzip is sent as it is."""
    return answer(body, "200 OK", "application/json", f"Content-Encoding: {encoding}")


def gzipped(value: Any) -> bytes:
    return gzip.compress(json.dumps(value).encode())


def in_chunks(
    parts: Iterable[bytes], content_type: str = "application/x-ndjson", *, whole: bool = True
) -> Iterator[bytes]:
    """A stream, which ends as it has to only if it is whole."""
    yield f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    for part in parts:
        yield f"{len(part):x}\r\n".encode() + part + b"\r\n"
    if whole:
        yield b"0\r\n\r\n"


class Impostor(socketserver.ThreadingTCPServer):
    """Answers by the first part of the path."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, Answer] = {}
        self.asked: list[Asked] = []
        self.lock = threading.Lock()
        self.context = context
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, _request: Any, _address: Any) -> None:
        """Clients break off, and refuse certificates."""


class _Handler(socketserver.StreamRequestHandler):
    server: Impostor

    def setup(self) -> None:
        if self.server.context:
            self.request = self.server.context.wrap_socket(
                self.request, server_side=True, do_handshake_on_connect=False
            )
        super().setup()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.request.close()

    def handle(self) -> None:
        if not self.server.context and self.request.recv(1, socket.MSG_PEEK) == b"\x16":  # TLS, where none is expected
            self.wfile.write(answer("", "400 Bad Request", "text/plain"))
            return
        target = self.rfile.readline().decode("latin-1").split(" ")[1]
        headers = {}
        while line := self.rfile.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        with self.server.lock:
            asked = Asked(target, headers, sum(target == each.target for each in self.server.asked))
            self.server.asked.append(asked)
        made = self.server.answers[asked.path.split("/")[1]](asked)
        with contextlib.suppress(OSError):
            for part in [made] if isinstance(made, bytes) else made:
                self.wfile.write(part)


@contextlib.contextmanager
def impostor(context: ssl.SSLContext | None = None) -> Iterator[Impostor]:
    """Lend one."""
    server = Impostor(context)
    with serving(server):
        yield server

"""The service as its users run it, and what the index should hold while pages change."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from cachesync.documents import document_id, render
from cachesync.errors import CachesyncError
from cachesync.index.base import Index
from cachesync.index.engines import open_index
from cachesync.index.server import IndexServer, Layout
from cachesync.pages.page import Page, Problem, parse
from cachesync.search.query import All
from cachesync.search.request import Request
from tests.support.sandbox import Sandbox

PATIENCE = 60.0
"""Seconds until something that should happen hasn't. No test waits for so long unless it fails."""


def until(seen: Callable[[], Any], what: str | Callable[[], object], seconds: float = PATIENCE) -> Any:
    """Wait until something is so, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := seen()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what() if callable(what) else what}"
        time.sleep(0.05)
    return found


class _Log:
    """The lines that come through a pipe: taken by a thread, so that nobody waits to write, and by whoever looks."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._lines: list[dict[str, Any]] = []
        self._rest = b""
        self._has_ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def lines(self) -> list[dict[str, Any]]:
        """Return all that was written before this call."""
        with self._lock:
            while not self._has_ended and self._has_more(0):
                self._take()
            return self._lines.copy()

    def join(self) -> None:
        """Wait until nobody can write any more."""
        self._thread.join(PATIENCE)

    def _read(self) -> None:
        while not self._has_ended:
            self._has_more(None)
            self.lines()

    def _has_more(self, seconds: float | None) -> bool:
        return bool(select.select([self._pipe], [], [], seconds)[0])

    def _take(self) -> None:
        read = os.read(self._pipe, 1 << 16)
        self._has_ended = not read
        *lines, self._rest = (self._rest + read).split(b"\n")
        for line in [*lines, self._rest] if self._has_ended and self._rest else lines:
            try:
                self._lines.append(json.loads(line))
            except ValueError:
                self._lines.append({"message": line.decode()})


class Service:
    """A running `cachesync run`."""

    _command = "run"
    _listens_at_once = True

    def __init__(self, sandbox: Sandbox, *prefix: str, **environment: str | None) -> None:
        """Start it by the program in ``prefix``, if one is given; None: without this variable."""
        self.sandbox = sandbox
        self._killed = False
        variables = {**os.environ, "CACHESYNC_HTTP__PORT": "0", "CACHESYNC_LOG__FORMAT": "json", **environment}
        self._process = subprocess.Popen(
            [*prefix, *sandbox.command(self._command)],
            bufsize=0,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={name: value for name, value in variables.items() if value is not None},
            cwd=sandbox.folder,
        )
        assert self._process.stderr
        self._log = _Log(self._process.stderr.fileno())
        self.url = ""
        if self._listens_at_once:
            self.listens()

    def listens(self) -> None:
        """Wait until it can be asked by HTTP."""
        self.url = until(self._said_url, "the service to listen")

    @property
    def lines(self) -> list[dict[str, Any]]:
        """All that it has logged by now."""
        return self._log.lines()

    def _said_url(self) -> Any:
        assert self._process.poll() is None, self.lines
        return next((line["cachesync.url"] for line in self.lines if line["message"] == "listening"), None)

    @property
    def pid(self) -> int:
        return self._process.pid

    def said(self, message: str) -> list[dict[str, Any]]:
        """The lines of the log that say this."""
        return [line for line in self.lines if message in line["message"]]

    def get(self, path: str) -> tuple[int, Any]:
        """Ask the service by HTTP."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read().decode()
        return status, json.loads(text) if text.startswith("{") else text

    def status(self) -> Any:
        return self.get("/api/status")[1]

    def is_ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def is_watching(self) -> bool:
        watcher = self.status()["watcher"]
        return bool(watcher and watcher["watching"])

    def caught_up(self) -> "Service":
        """Wait until the first catch-up is done and the pages are watched."""
        until(lambda: self.is_ready() and self.is_watching(), "the first catch-up")
        return self

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        lines = [line for line in self.get("/metrics")[1].splitlines() if line.startswith(f"{name} ")]
        return float(lines[0].split()[1])

    def converges(self, seconds: float = PATIENCE) -> None:
        """Wait until the index holds what the pages say, document by document."""
        deadline = time.monotonic() + seconds
        while True:
            expected = expected_documents(self.sandbox.root)
            found = documents(self.sandbox)
            if found == expected:
                return
            assert self._process.poll() is None, self.lines
            if time.monotonic() > deadline:
                missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
                different = [id for id in expected.keys() & found.keys() if expected[id] != found[id]]
                raise AssertionError(
                    f"{len(missing)} missing {sorted(missing)[:3]}, {len(extra)} extra {sorted(extra)[:3]}, "
                    f"{len(different)} different {different[:3]}\n{self.status()}\n{self.lines[-20:]}"
                )
            time.sleep(0.1)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def reload(self) -> None:
        """Let it read its configuration again."""
        before = len(self.said("read again")), len(self.said("stays in force"))
        self.send(signal.SIGHUP)
        after = until(
            lambda: (now := (len(self.said("read again")), len(self.said("stays in force")))) != before and now,
            "the reload",
        )
        assert after == (before[0] + 1, before[1]), self.lines[-3:]

    def kill(self) -> None:
        """End it as a crash would."""
        self._killed = True
        self._process.kill()
        self._process.wait()
        self._closed()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it as it should be ended, and return its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(PATIENCE)
        self._closed()
        assert not any("Traceback" in str(line) for line in self.lines), self.lines
        return code

    def _closed(self) -> None:
        self._log.join()
        assert self._process.stderr
        self._process.stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and not (self._killed or self._process.returncode == 0):
            assert self.stop() == 0
        else:
            self.kill()


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


class ServiceInWaiting(Service):
    """A `cachesync run` on the port of another: it can't be asked before :meth:`listens`."""

    _listens_at_once = False


class Serve(Service):
    """A running `cachesync serve`."""

    _command = "serve"


class Watchdog:
    """The socket on which systemd hears that a service goes on."""

    def __init__(self, folder: Path) -> None:
        path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "300000"}

    def hears(self, message: str = "WATCHDOG=1", beats: int = 3, seconds: float = 15) -> None:
        """Wait for some messages from now on, of which none may take longer than that."""
        self.heard_until(lambda: True)
        self._socket.settimeout(seconds)
        while beats:
            beats -= self._socket.recv(1000).decode() == message

    def heard_until(self, seen: Callable[[], Any]) -> list[str]:
        """Return what was said since the last time, and until something is so."""
        heard: list[str] = []
        self._socket.setblocking(False)

        def look() -> bool:
            with contextlib.suppress(BlockingIOError):
                while True:
                    heard.append(self._socket.recv(1000).decode())
            return bool(seen())

        until(look, "what was to be heard until")
        return heard

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def expected_documents(root: Path) -> dict[str, Any]:
    """What the pages say now, by id; a page that can't be used says nothing."""
    found: dict[str, Any] = {}
    for folder, _, files in os.walk(root / "_cache"):
        if "specs.md" not in files:
            continue
        path = os.path.join(os.path.relpath(folder, root), "specs.md")
        try:
            page = parse(path, (root / path).read_bytes())
        except OSError:
            continue
        rendered = render(page) if isinstance(page, Page) else page
        if isinstance(rendered, Problem):
            continue
        found |= {document_id(path, key): json.loads(source) for key, source in rendered.items()}
    return found


def index_of(sandbox: Sandbox) -> Index:
    """The index, as another process would open it."""
    url = f"embedded:{sandbox.index}" if sandbox.is_embedded else sandbox.url
    return open_index(IndexServer((url,)), sandbox.name, Layout(), Path)


def documents(sandbox: Sandbox) -> dict[str, Any]:
    """What the index holds now, by id; nothing while there is none."""
    try:
        reader = index_of(sandbox).reader(refresh=True)
        return {hit.pop("_id"): hit for hit in reader.search(Request(All(), limit=1_000_000)).hits}
    except CachesyncError:
        return {}

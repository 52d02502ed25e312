"""Requests of all kinds by bare sockets to a real service: an answer or a closed connection, and it is as well as before."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from tests.hostile.fuzz import Data, fuzzed
from tests.support.pages import entry, page, put
from tests.support.sandbox import Sandbox
from tests.support.service import Service, until

_PATHS: Final = (
    "/healthz", "/readyz", "/metrics", "/api/status", "/openapi.json", "/api/search", "/api/specs/develop/zlib/aaaa", "/", "//",
    "", "*", "/healthz/", "/HEALTHZ", "/..", "/../healthz", "/api/../healthz", "/api/%2e%2e/status", "/%2fhealthz", "/healthz%00",
    "/%ff%fe", "/%c0%af", "/%", "/%zz", "/a b", "/\0", "/é", "/\\", "/healthz;x", "/healthz#x", "http://h/healthz", "http://",
    "h:443", "/" + "a" * 70_000, "/?" + "a=b&" * 20_000, "/" + "/" * 5_000, "/" + "../" * 5_000, "/etc/passwd", "/\x7f", "/{x}",
)  # fmt: skip
_METHODS: Final = (
    "GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PRI", "get", "", "G\0T", "A" * 300,
    "GÉT", "GET\t", " GET",
)  # fmt: skip
_VERSIONS: Final = (
    "HTTP/1.1",
    "HTTP/1.1",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/0.9",
    "HTTP/2.0",
    "HTTP/9",
    "",
    "http/1.1",
    "HTTP/1.1 x",
    "HTTP/1.1\0",
)
_HEADERS: Final = (
    "Host: h", "Host: h", "Host:", "Host: a\r\nHost: b", "Host: \0", "Host: é", "Connection: close", "Connection: keep-alive",
    "Connection: Upgrade\r\nUpgrade: websocket", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk", "Content-Length: 0", "Content-Length: 5",
    "Content-Length: -1", "Content-Length: x", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: 99999999999999999999",
    "Transfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5", "Transfer-Encoding: x", "Expect: 100-continue",
    "Range: bytes=0-1,0-1", "Accept-Encoding: *", "X: " + "x" * 70_000, "X" * 70_000 + ": x", ": x", "X", " folded", "X : x", "X: \r y",
    "X: \x01", "X-Forwarded-For: 1.2.3.4", "Cookie: " + "a=b; " * 500, "If-None-Match: *", "Origin: null",
)  # fmt: skip
_BODIES: Final = (
    "",
    "",
    "hello",
    "5\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "x\r\n",
    "-1\r\n",
    "\0" * 1_000,
    "a" * 100_000,
    "0;" + "x" * 70_000,
)
_ENDS: Final = ("\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n")


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, mostly whole."""
    end = draw(st.sampled_from(_ENDS))
    target = draw(st.sampled_from(_PATHS)) + draw(
        st.sampled_from(["", "", "?q=x", "?", "?q=%00&q=%ff", "?q=" + "(" * 9_000])
    )
    line = " ".join((draw(st.sampled_from(_METHODS)), target, draw(st.sampled_from(_VERSIONS))))
    headers = ["Host: h"] * draw(st.sampled_from([0, 1, 1, 1, 1])) + draw(
        st.lists(st.sampled_from(_HEADERS), max_size=3)
    )
    headers *= draw(st.sampled_from([1, 1, 1, 1, 300]))
    return (end.join([line, *headers, "", ""]) + draw(st.sampled_from(_BODIES))).encode("latin-1", "replace")


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """Requests one behind the other, perhaps cut, or with a few bytes changed."""
    data = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    at = draw(st.integers(0, len(data)))
    match draw(st.sampled_from(["whole", "whole", "cut", "bytes", "many"])):
        case "cut":
            data = data[:at]
        case "bytes":
            data = data[:at] + draw(st.binary(max_size=10)) + data[at + draw(st.integers(0, 5)) :]
        case "many":
            data *= 20
    return data[:300_000]


class Sizes:
    """What a process has of what it could lose."""

    def __init__(self, pid: int) -> None:
        status = Path(f"/proc/{pid}/status").read_text()
        self.memory = int(status.partition("VmRSS:")[2].split()[0]) * 1_024
        self.threads = int(status.partition("Threads:")[2].split()[0])
        self.files = len(os.listdir(f"/proc/{pid}/fd"))


_SEARCHING: Final = 8 + 4 + 2
"""So many threads are kept for searches, suggestions and exports once there were as many."""

_MEMORY: Final = 25_000_000
"""Bytes that a service may have grown by: what a few connections have sent, and the allocator's leftovers."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all, which must be as well afterwards as it was before."""
    sandbox = Sandbox(tmp_path_factory.mktemp("service"))
    put(sandbox.root, page(entry()))
    with Service(sandbox) as running:
        running.caught_up()
        running.get("/api/status"), running.get("/metrics")
        before = Sizes(running.pid)
        yield running
        until(lambda: Sizes(running.pid).files <= before.files + 2, "connections to be closed")
        after = Sizes(running.pid)
        assert running.get("/healthz")[0] == 200
        assert after.memory <= before.memory + _MEMORY, f"{after.memory - before.memory:,} bytes more"
        assert after.threads <= before.threads + _SEARCHING
        assert not [
            line for line in running.lines if "Traceback" in str(line) or line.get("log.level", "error") == "error"
        ]


def address(service: Service) -> tuple[str, int]:
    parts = urlsplit(service.url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def talk(service: Service, data: bytes, *, listens: bool = False) -> bytes:
    """Send bytes and nothing more, and return all that comes back.

    Who doesn't say that it ``listens`` closes its side, and so gets no answer that takes a while.
    """
    answer = b""
    with socket.create_connection(address(service), timeout=20) as connection:
        with contextlib.suppress(OSError):  # it may have been closed by now
            connection.sendall(data)
            if not listens:
                connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65_536):
                answer += part
    return answer


def is_alive(service: Service) -> None:
    status, body = service.get("/healthz")
    assert (status, body) == (200, {"status": "alive"})


@fuzzed(150, 2_000)
@given(conversations().map(Data))
@example(b"")
@example(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
def test_whatever_is_sent_is_answered_or_refused(service: Service, data: bytes) -> None:
    answer = talk(service, data)
    event(answer[:12].decode("latin-1") or "closed")
    assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert b"HTTP/1.1 5" not in answer
    assert b"Traceback" not in answer
    is_alive(service)


def _described(service: Service) -> dict[str, Any]:
    paths: dict[str, Any] = service.get("/openapi.json")[1]["paths"]
    return paths


words = st.text(max_size=8) | st.sampled_from(
    ["", "..", "a/b", "\0", "é", "%", "x" * 3_000, "-1", "9" * 30, "*", "[]", "package=zlib"]
)


@fuzzed(60, 800)
@given(st.data())
def test_what_is_described_answers_as_described(service: Service, data: st.DataObject) -> None:
    """Parameters that the description names, and others, with values of all sorts."""
    described = _described(service)
    path = data.draw(st.sampled_from(sorted(described)))
    operation = described[path]["get"]
    query = []
    target = path
    for parameter in operation.get("parameters", []):
        for value in data.draw(st.lists(words, max_size=2)):
            if parameter["in"] == "path":
                target = target.replace(f"{{{parameter['name']}}}", quote(value, safe="/"))
            else:
                query.append(f"{parameter['name']}={quote(value, safe='')}")
    query += [
        f"{quote(name)}={quote(value)}" for name, value in data.draw(st.lists(st.tuples(words, words), max_size=2))
    ]
    head, _, body = talk(
        service,
        f"GET {target}?{'&'.join(query)} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode(),
        listens=True,
    ).partition(b"\r\n\r\n")
    status = head.split()[1].decode()
    assert status in operation["responses"], head
    if "application/json" in operation["responses"][status].get("content", {}):
        json.loads(body)


_STUBBORN: Final = (
    b"",
    b"GET /healthz HT",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab",
    b"GET /openapi.json HTTP/1.1\r\nHost: h\r\n\r\n" * 1_000,
)


def test_clients_that_say_nothing_or_half_or_do_not_listen_keep_nobody_waiting(service: Service) -> None:
    """Fewer than the service answers at a time: more of them are turned away, which tests/unit/test_http.py shows."""
    with contextlib.ExitStack() as open_ones:
        for number in range(50):
            connection = open_ones.enter_context(socket.create_connection(address(service), timeout=20))
            connection.sendall(_STUBBORN[number % len(_STUBBORN)])
        start = time.monotonic()
        is_alive(service)
        assert time.monotonic() - start < 10, "it should answer at once"


@pytest.mark.parametrize("path", ["/healthz", "/api/status"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("waits", [False, True])
def test_a_body_that_is_broken_is_no_error(service: Service, method: str, path: str, waits: bool) -> None:
    """It comes with its request, or when that has been answered."""
    with socket.create_connection(address(service), timeout=20) as connection:
        connection.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            + b"x\r\n" * (not waits)
        )
        answer = connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 200" if waits else b"HTTP/1.1 400")
        if waits:
            connection.sendall(b"x\r\n")
        with contextlib.suppress(ConnectionError):
            while connection.recv(65_536):
                pass
    is_alive(service)


def test_what_was_refused_is_forgotten(service: Service) -> None:
    before = Sizes(service.pid).memory
    for _ in range(300):
        talk(service, bytes(250_000))
    grown = Sizes(service.pid).memory - before
    assert grown <= _MEMORY, f"{grown:,} bytes more"

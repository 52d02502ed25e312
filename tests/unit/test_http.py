"""The web server: its responses, and that no client can block it."""

import asyncio
import contextlib
import gc
import http.client
import json
import select
import signal
import socket
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from cachesync import log
from cachesync.errors import UsageError
from cachesync.service.state import Health
from cachesync.service.web_server import operators_endpoints
from cachesync.web import app as web_app
from cachesync.web import connection
from cachesync.web import server as web_server
from cachesync.web.app import build_app
from cachesync.web.endpoint import Endpoint
from cachesync.web.health import with_description
from cachesync.web.server import WebServer

WELL = Health(ready=True, reason=None, degraded=["one page can't be used"])
LARGE = 50_000_000
"""Bytes; more than all buffers between the server and a client hold."""

Start = Callable[..., WebServer]


@pytest.fixture(autouse=True)
def logged_in_json() -> Iterator[None]:
    """Log as JSON: on a terminal each stack trace is drawn with all variables, which takes seconds."""
    log.setup("info", "json")
    yield
    structlog.reset_defaults()


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[WebServer] = []

    def start_one(
        host: str = "127.0.0.1",
        port: int = 0,
        base_path: str = "",
        health: Callable[[], Health] = lambda: WELL,
        status: Callable[[], Mapping[str, Any]] = lambda: {"specs": 7},
        others: Sequence[Endpoint] = (),
        **options: Any,
    ) -> WebServer:
        endpoints = with_description(base_path, [*operators_endpoints(health, status, lambda: b"m 1\n"), *others])
        server = WebServer(host, port, build_app(base_path, endpoints, **options), base_path)
        started.append(server)
        server.start()
        return server

    yield start_one
    for server in started:
        server.stop()


def address(server: WebServer) -> tuple[str, int]:
    host, _, port = server.url.removeprefix("http://").partition("/")[0].rpartition(":")
    return host.strip("[]"), int(port)


def ask(server: WebServer, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*address(server), timeout=20)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def has_ended() -> bool:
    return not any(thread.name == "http" for thread in threading.enumerate())


def test_it_is_alive(start: Start) -> None:
    status, headers, body = ask(start(), "/healthz")
    assert (status, headers["content-type"], json.loads(body)) == (200, "application/json", {"status": "alive"})


def test_readiness_follows_the_health(start: Start) -> None:
    found = WELL
    server = start(health=lambda: found)
    status, _, body = ask(server, "/readyz")
    assert (status, json.loads(body)) == (200, {"ready": True, "reason": None, "degraded": WELL.degraded})
    found = Health(ready=False, reason="the index doesn't answer", degraded=[])
    status, _, body = ask(server, "/readyz")
    assert (status, json.loads(body)["reason"]) == (503, "the index doesn't answer")


def test_metrics_and_status_are_passed_through(start: Start) -> None:
    server = start()
    assert ask(server, "/metrics")[2] == b"m 1\n"
    assert ask(server, "/metrics")[1]["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert json.loads(ask(server, "/api/status")[2]) == {"specs": 7}


def test_head_is_get_without_a_body(start: Start) -> None:
    status, headers, body = ask(start(), "/healthz", "HEAD")
    assert (status, headers["content-length"], body) == (200, "18", b"")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/healthz/", 404), ("POST", "/healthz", 405), ("DELETE", "/api/status", 405)],
)
def test_errors_are_json(method: str, path: str, status: int, start: Start) -> None:
    found, headers, body = ask(start(), path, method)
    assert found == status
    assert json.loads(body)["error"]
    assert set(headers.get("allow", "GET, HEAD").split(", ")) == {"GET", "HEAD"}


def test_internal_errors_are_logged_and_not_revealed(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    server = start(status=lambda: {"x": 1 // 0})
    status, headers, body = ask(server, "/api/status")
    assert ask(server, "/healthz")[0] == 200
    server.stop()
    assert (status, headers["x-content-type-options"]) == (500, "nosniff")
    assert b"Zero" not in body
    assert json.loads(body)["error"]
    (line,) = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert "ZeroDivisionError" in line["error.stack_trace"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/nowhere", "/openapi.json"])
def test_responses_have_a_date_and_are_neither_cached_nor_sniffed(path: str, start: Start) -> None:
    _, headers, _ = ask(start(), path)
    assert headers["cache-control"] == "no-store"
    assert_common_headers(headers)


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"no HTTP\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"DELETE /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /api/status HTTP/1.1\r\nHost: x\r\n\r\n", 500),
        (b"GET /panics HTTP/1.1\r\nHost: x\r\n\r\n", 500),
    ],
)
def test_error_responses_have_the_same_headers(request_text: bytes, status: int, start: Start) -> None:
    """The response may come from the application, the middleware or the connection itself."""

    async def panics(_request: Request) -> Response:
        raise Panic

    server = start(status=lambda: {"x": 1 // 0}, others=[Endpoint("/panics", panics)])
    found, headers, body = sent(server, request_text)
    assert (found, headers["content-type"]) == (status, "application/json")
    assert json.loads(body)["error"]
    assert b"Traceback" not in body
    assert_common_headers(headers)


@pytest.mark.parametrize(
    ("allowed", "asking", "told"),
    [
        ((), "https://a.example", None),
        (("https://a.example",), "https://a.example", "https://a.example"),
        (("https://a.example",), "https://a.example.evil.example", None),
        (("https://a.example",), "null", None),
        (("https://a.example", "https://b.example"), "https://b.example", "https://b.example"),
        (("*",), "https://a.example", "*"),
    ],
)
def test_only_allowed_origins_may_read_responses(
    allowed: tuple[str, ...], asking: str, told: str | None, start: Start
) -> None:
    server = start(allow_origins=allowed)
    _, headers, _ = sent(server, f"GET /healthz HTTP/1.1\r\nHost: x\r\nOrigin: {asking}\r\n\r\n".encode())
    assert headers.get("access-control-allow-origin") == told
    assert "access-control-allow-credentials" not in headers
    assert ("Origin" in headers.get("vary", "")) == bool(allowed), "caches must keep sites apart"


class Panic(BaseException):
    """A BaseException, like that for a panic in Rust."""


def test_all_paths_are_below_the_base_path(start: Start) -> None:
    server = start(base_path="/cache/sync")
    assert server.url.endswith("/cache/sync")
    assert ask(server, "/cache/sync/healthz")[0] == 200
    assert ask(server, "/healthz")[0] == 404
    assert json.loads(ask(server, "/cache/sync/openapi.json")[2])["servers"] == [{"url": "/cache/sync"}]


def test_other_endpoints_are_served_and_described(start: Start) -> None:
    async def page(_request: Request) -> Response:
        return PlainTextResponse("hello", headers={"Cache-Control": "max-age=60"})

    async def spec(request: Request) -> Response:
        return PlainTextResponse(f"{request.path_params['id']} {request.query_params['q']}")

    others = [Endpoint("/", page), Endpoint("/api/specs/{id:path}", spec, {"summary": "One document"})]
    server = start(base_path="/x", others=others)
    status, headers, body = ask(server, "/x/")
    assert (status, body, headers["cache-control"]) == (200, b"hello", "max-age=60")
    assert ask(server, "/x/", "POST")[0] == 405
    assert ask(server, "/x/api/specs/a/b%20c?q=1")[2] == b"a/b c 1"
    paths = json.loads(ask(server, "/x/openapi.json")[2])["paths"]
    assert "/api/specs/{id}" in paths
    assert "/" not in paths


def test_openapi_describes_the_endpoints(start: Start) -> None:
    server = start()
    described = json.loads(ask(server, "/openapi.json")[2])
    assert described["openapi"].startswith("3.")
    assert set(described["paths"]) == {"/healthz", "/readyz", "/metrics", "/api/status", "/openapi.json"}
    for path, item in described["paths"].items():
        status, headers, _ = ask(server, path)
        content = item["get"]["responses"][str(status)]["content"]
        assert headers["content-type"].partition(";")[0] in content


def test_an_ipv6_address_is_in_brackets(start: Start) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("no IPv6 on this machine")
    server = start(host="::1")
    assert server.url.startswith("http://[::1]:")
    assert ask(server, "/healthz")[0] == 200


def test_a_port_in_use_is_an_error(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"http\.port: {port} is taken on 127\.0\.0\.1 .* 0 for any free one"):
            start(port=port)


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("203.0.113.1", r"http\.host: 203\.0\.113\.1 is not an address of this machine"),
        ("a..b", r"http\.host: a\.\.b is not a valid host"),
    ],
)
def test_a_host_that_isnt_ours_is_an_error(host: str, says: str, start: Start) -> None:
    with pytest.raises(UsageError, match=says):
        start(host=host)


def test_a_forbidden_port_is_an_error(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_arguments: Any, **_options: Any) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", forbidden)
    with pytest.raises(UsageError, match=r"http\.port: 80 is not permitted for this user .* above 1023"):
        start(port=80)


@pytest.mark.surroundings
def test_it_leaves_signals_alone(start: Start) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    start()
    assert [signal.getsignal(number) for number in numbers] == before


def test_stopping_frees_the_port(start: Start) -> None:
    server = start()
    connection = http.client.HTTPConnection(*address(server), timeout=20)
    connection.request("GET", "/healthz")
    connection.getresponse().read()
    server.stop()
    server.stop()
    assert has_ended()
    connection.close()
    assert ask(start(port=address(server)[1]), "/healthz")[0] == 200


def test_a_response_in_several_packets_is_not_delayed(start: Start) -> None:
    """On a persistent connection the second packet would wait 40 ms, until the client acknowledges the first."""
    server = start()
    with socket.create_connection(address(server), timeout=20) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
        assert other_end(client).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def other_end(client: socket.socket) -> socket.socket:
    """Return the server's socket of a connection, which is in this process too."""
    ends = client.getpeername(), client.getsockname()
    for each in gc.get_objects():
        if type(each) is socket.socket:
            with contextlib.suppress(OSError):  # closed, or only listening
                if (each.getsockname(), each.getpeername()) == ends:
                    return each
    raise AssertionError("the server has no such connection")


def test_stopping_a_server_that_was_never_started_does_nothing() -> None:
    WebServer("127.0.0.1", 0, build_app("", [])).stop()


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /healthz HTT", b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"],
    ids=["nothing", "half a request", "reads nothing"],
)
def test_a_stuck_client_does_not_delay_stopping(sent: bytes, start: Start) -> None:
    asked = threading.Event()

    async def large(_request: Request) -> Response:
        asked.set()
        return Response(b"x" * LARGE)

    server = start(others=[Endpoint("/large", large)])
    with socket.create_connection(address(server)) as client:
        client.sendall(sent)
        if b"large" in sent:
            assert asked.wait(20)
        server.stop()
        assert has_ended()


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET"])
def test_a_client_that_never_completes_its_request_is_disconnected(
    sent: bytes, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.2)
    server = start()
    with socket.create_connection(address(server), timeout=20) as client:
        client.sendall(sent)
        try:
            while client.recv(65_536):
                pass
        except ConnectionResetError:
            pass
    assert ask(server, "/healthz")[0] == 200


def test_concurrent_requests_are_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_app, "MAX_REQUESTS", 1)
    asked, released = threading.Event(), threading.Event()

    async def waits(_request: Request) -> Response:
        asked.set()
        await asyncio.to_thread(released.wait, 60)
        return PlainTextResponse("done")

    server = start(others=[Endpoint("/waits", waits)])
    with socket.create_connection(address(server), timeout=20) as client:
        client.sendall(b"GET /waits HTTP/1.1\r\nHost: x\r\n\r\n")
        assert asked.wait(20)
        status, headers, body = ask(server, "/openapi.json")
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(body)["error"]
        assert ask(server, "/healthz")[0] == 200  # otherwise a supervisor would restart it
        released.set()
        assert client.recv(15) == b"HTTP/1.1 200 OK"
    assert ask(server, "/healthz")[0] == 200


def test_a_response_that_fails_halfway_is_broken_off(start: Start) -> None:
    """Also for HTTP/1.0 clients, which read until the connection is closed."""

    async def fails(_request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"x" * 1_000
            raise OSError("gone")

        return StreamingResponse(parts())

    server = start(others=[Endpoint("/fails", fails)])
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        ask(server, "/fails")
    with socket.create_connection(address(server), timeout=20) as client:
        client.sendall(b"GET /fails HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            all(iter(lambda: client.recv(65_536), b""))


@pytest.mark.parametrize("breaks", [True, False])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_half_closed_connection_gets_its_response(start: Start, version: str, breaks: bool) -> None:
    """If it is broken off, the client can tell, even with HTTP/1.0, where a response ends with the connection."""
    goes_on = threading.Event()

    async def answers(_request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.to_thread(goes_on.wait, 60)
            if breaks:
                raise OSError("gone")
            yield b"last"

        return StreamingResponse(parts())

    server = start(others=[Endpoint("/answers", answers)])
    with socket.create_connection(address(server), timeout=20) as client:
        client.sendall(f"GET /answers HTTP/{version}\r\nHost: x\r\n\r\n".encode())
        received = b""
        while b"first" not in received:
            received += client.recv(65_536)
        client.shutdown(socket.SHUT_WR)
        assert not select.select([client], [], [], 0.2)[0], "the response goes on, but nothing has been sent yet"
        goes_on.set()
        if breaks:
            with pytest.raises(ConnectionResetError):
                all(iter(lambda: client.recv(65_536), b""))
        else:
            assert b"last" in b"".join(iter(lambda: client.recv(65_536), b""))


def test_a_slow_client_is_not_disconnected(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.2)
    slow = threading.Event()

    async def late(_request: Request) -> Response:
        await asyncio.to_thread(slow.wait, 1)
        return PlainTextResponse("late")

    server = start(others=[Endpoint("/late", late)])
    assert ask(server, "/late")[2] == b"late", "the delay was the server's own"


@pytest.mark.parametrize("size", [70_000, 200_000, 5_000_000])
@pytest.mark.parametrize(
    ("request_text", "statuses"),
    [("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", {414}), ("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", {404, 431})],
    ids=["URL", "header"],
)
def test_a_url_or_header_that_is_too_long_is_an_error(
    request_text: str, statuses: set[int], size: int, start: Start
) -> None:
    """A long header is accepted if it arrives in one piece, a long URL never. No connection is reset."""
    status, headers, body = sent(start(), request_text.format("x" * size).encode())
    assert status in statuses
    assert json.loads(body)["error"]
    assert (status == 404) != (headers.get("connection") == "close" or status == 414)
    assert_common_headers(headers)


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("http://example.org/odd%20path?a=/b", "/odd path ? a=/b"),
        ("HTTPS://[::1]:8080/http://x/", "/http://x/ ? "),
        ("http://example.org", "/ ? "),
        ("http://example.org?a=b", "/ ? a=b"),
        ("/http://x/", "/http://x/ ? "),
    ],
)
def test_a_request_may_name_the_whole_url(target: str, wanted: str, start: Start) -> None:
    async def told(request: Request) -> Response:
        return PlainTextResponse(f"{request.scope['path']} ? {request.url.query}")

    server = start(others=[Endpoint("/{path:path}", told)])
    status, _, body = sent(server, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert (status, body.decode()) == (200, wanted)


def sent(server: WebServer, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send a raw request, and return its response."""
    with socket.create_connection(address(server), timeout=20) as client:
        client.sendall(request)
        with http.client.HTTPResponse(client) as answer:
            answer.begin()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def assert_common_headers(headers: Mapping[str, str]) -> None:
    """Check the headers that every response has."""
    assert headers["date"].endswith("GMT")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    policy = dict(each.strip().partition(" ")[::2] for each in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["form-action"] in ("'none'", "'self'")
    assert "unsafe" not in headers["content-security-policy"]


POST = b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "second", "answer"),
    [
        (b"no HTTP\r\n\r\n", b"", b"HTTP/1.1 400"),
        (POST + b"no chunk\r\n", b"", b"HTTP/1.1 400"),
        (POST, b"no chunk\r\n", b""),
        (POST, b"0\r\n\r\nno HTTP\r\n\r\n", b"HTTP/1.1 400"),
    ],
    ids=["at once", "body with its request", "body after the answer", "after the body"],
)
def test_invalid_http_is_refused_and_freed(
    first: bytes, second: bytes, answer: bytes, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Freed at once, without the garbage collector."""
    gone = threading.Event()

    class Watched(connection.HttpConnection):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            weakref.finalize(self, gone.set)

    monkeypatch.setattr(web_server, "HttpConnection", Watched)
    server = start()
    gc.collect()
    gc.disable()
    try:
        with socket.create_connection(address(server), timeout=20) as client:
            client.sendall(first)
            if second:
                with http.client.HTTPResponse(client) as whole:
                    whole.begin()
                    assert (whole.status, bool(whole.read())) == (405, True)
                client.sendall(second)
            assert client.recv(12) == answer
        assert gone.wait(20)
    finally:
        gc.enable()

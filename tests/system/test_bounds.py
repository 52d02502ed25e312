"""Requests are bounded in time, number and length, and in how slow a client may be."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
import structlog

from cachesync import log
from cachesync.index.base import Index
from cachesync.index.engines import open_index
from cachesync.index.server import IndexServer, Layout
from cachesync.web import connection
from cachesync.web.api import Bounds
from cachesync.web.page import PageRenderer
from tests.support.filling import fill
from tests.support.pages import entry, page, path_of
from tests.support.service import until
from tests.support.stalling import Gate, Stalling, asking, rest_of
from tests.support.web import Got, Web, serving

HTML = {"Accept": "text/html"}
SPECS = 400
LARGE = ["x" * 500 + f"={number}" for number in range(60)]
"""Variants that make a document of 30 KB: all documents are more than the buffers between server and client hold."""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    made = open_index(
        IndexServer((f"embedded:{tmp_path_factory.mktemp('index')}",)), "specs", Layout(), lambda path: path
    )
    fill(made, {path_of(): page(*(entry(f"h{number:03d}", variants=LARGE) for number in range(SPECS)))})
    return made


@pytest.fixture
def stalling(index: Index) -> Stalling:
    return Stalling(index)


@pytest.fixture(autouse=True)
def logged_in_json() -> Iterator[None]:
    """Log as JSON: on a terminal each stack trace is drawn with all variables, which takes seconds."""
    log.setup("info", "json")
    yield
    structlog.reset_defaults()


@contextlib.contextmanager
def served(stalling: Stalling, seconds: float = 60, searches: int = 8) -> Iterator[Web]:
    with serving(cast("Index", stalling), Bounds(seconds, searches), "/base") as web:
        assert web.search(limit=0)["total"] == SPECS
        yield web


# --- time and number --------------------------------------------------------------------------------------------------


def test_a_search_that_takes_too_long_times_out(stalling: Stalling) -> None:
    """It occupies its thread until that is idle, so clients can't use more threads than there are."""
    with served(stalling, seconds=0.3, searches=1) as web:
        gate = stalling.before = Gate()
        late = web.get("/api/search")
        assert (late.status, late.json["at"]) == (504, None)
        assert "takes longer than 0.3 s" in late.json["error"]
        assert web.get("/api/search").status == 503, "the search before is still running"
        gate.open()
        until(lambda: web.get("/api/search").status == 200, "the thread to end")
        gate = stalling.before = Gate()
        shown = web.get("/", headers=HTML)
        assert (shown.status, shown.headers["content-type"]) == (504, "text/html; charset=utf-8")
        gate.open()


def test_too_many_concurrent_searches_are_refused(stalling: Stalling) -> None:
    with served(stalling, searches=2) as web, contextlib.ExitStack() as clients:
        gate = stalling.before = Gate()
        held = [clients.enter_context(asking(web, "/api/search")) for _ in range(2)]
        gate.wait_for(2)
        for path in ("/api/search", "/", "/parts", "/api/tags", "/api/specs/develop/zlib/h000"):
            got = web.get(path)
            assert (got.status, int(got.headers["retry-after"]) > 0) == (503, True), path
        assert web.get("/healthz").status == 200
        assert web.get("/readyz").status == 200, "readiness has a bound of its own"
        assert web.get("/api/suggest", {"q": "zl"}).json["suggestions"], "suggestions have one, too"
        gate.open()
        assert all(client.recv(15) == b"HTTP/1.1 200 OK" for client in held)
        assert web.get("/api/search").status == 200


def test_a_client_that_disconnects_does_not_keep_its_thread(stalling: Stalling) -> None:
    with served(stalling, searches=1) as web:
        gate = stalling.before = Gate()
        with asking(web, "/api/search"):
            gate.wait_for(1)
        gate.open()
        until(lambda: web.get("/api/search").status == 200, "the thread to be free")


# --- length -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "at"),
    [
        ({"q": "x" * 1_001}, 1_001),
        ({"q": " ".join(["x"] * 65)}, 129),
        ({"q": " ".join(f"+v{number}" for number in range(65))}, None),
        ({"q": "zlib@" + ",".join(map(str, range(300)))}, None),
        ([("os", str(number)) for number in range(257)], None),
        ([("facet", "os")] * 257, None),
        ({"limit": "1001"}, None),
        ({"facet": "os:10001"}, None),
        ({"cursor": "A" * 60_000}, None),
        *(({name: "1000000"}, None) for name in ("offset", "from", "page_number", "start", "skip")),
    ],
    ids=lambda value: str(value)[:40],
)
def test_requests_that_are_too_large_are_refused(stalling: Stalling, parameters: Any, at: int | None) -> None:
    """Nothing is searched for. Deep pages of an answer can only be reached by its cursors.

    The web page adds its own facets, and has the same bound on the number of values.
    """
    with served(stalling) as web:
        stalling.before = cast("Any", not_at_all)
        is_cut_by_page = "facet" in dict(parameters)
        for path in ("/api/search",) if is_cut_by_page else ("/api/search", "/", "/parts"):
            got = web.get(path, parameters, HTML)
            is_too_long = path != "/api/search" and "cursor" in dict(parameters)  # the bound on URLs of pages is lower
            assert got.status == (414 if is_too_long else 400)
            if path == "/api/search":
                assert got.json["error"]
                assert at is None or got.json["at"] == at


def not_at_all() -> NoReturn:
    raise AssertionError("it was searched for")


def test_cursors_reach_all_hits_page_by_page(stalling: Stalling) -> None:
    found: list[str] = []
    with served(stalling) as web:
        parameters: dict[str, Any] = {"limit": 50, "sort": "hash:desc"}
        pages = 0
        while True:
            answer = web.search(**parameters)
            found += [hit["hash"] for hit in answer["hits"]]
            pages += 1
            if answer["next"] is None:
                break
            parameters["cursor"] = answer["next"]
    assert (pages, found) == (SPECS // 50, sorted({f"h{number:03d}" for number in range(SPECS)}, reverse=True))


def test_a_url_that_is_too_long_is_an_error_on_every_path(stalling: Stalling) -> None:
    with served(stalling) as web:
        for path in ("/api/search", "/", "/nowhere"):
            got = web.get(path, {"q": "x" * 70_000}, HTML)
            assert (got.status, "too long" in got.json["error"]) == (414, True)


# --- slow clients -----------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.3)


EXPORT = "/api/search?format=ndjson"


def test_exports_that_are_not_read_do_not_block_searches(stalling: Stalling) -> None:
    with served(stalling) as web, contextlib.ExitStack() as clients:
        for _ in range(2):
            client = clients.enter_context(asking(web, EXPORT, buffer=4_096))
            assert client.recv(15) == b"HTTP/1.1 200 OK"
        got = web.get("/api/search", {"format": "ndjson"})
        assert (got.status, int(got.headers["retry-after"]) > 0) == (503, True)
        assert web.get("/api/search").status == 200, "searches don't wait for exports"


@pytest.mark.usefixtures("impatient")
def test_an_export_that_is_not_read_is_aborted(stalling: Stalling) -> None:
    """What was received doesn't look complete, and the thread is free for others."""
    with served(stalling) as web, contextlib.ExitStack() as clients:
        stuck = [clients.enter_context(asking(web, EXPORT, buffer=4_096)) for _ in range(2)]
        for client in stuck:
            assert client.recv(15) == b"HTTP/1.1 200 OK"
        until(lambda: web.get("/api/search", {"format": "ndjson", "limit": "1"}).status == 200, "a free thread")
        # The other one may not have been aborted yet; then this reads it to its end.
        assert not all(rest_of(client).endswith(b"0\r\n\r\n") for client in stuck)


def test_an_export_that_is_read_slowly_is_complete(stalling: Stalling, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes in total."""
    monkeypatch.setattr(connection, "PATIENCE", 2.0)
    with served(stalling) as web, asking(web, EXPORT, buffer=65_536) as client:
        pace = threading.Event()
        with http.client.HTTPResponse(client) as answer:
            answer.begin()
            lines = 0
            while part := answer.read(1_000_000):
                lines += part.count(b"\n")
                pace.wait(0.1)
    assert lines == SPECS


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("sent", [b"", b"GET ", b"GET / HTTP/1.1\r\nHost: x\r\nX: "], ids=["nothing", "word", "header"])
def test_a_request_that_never_ends_is_aborted(stalling: Stalling, sent: bytes) -> None:
    with served(stalling) as web, socket.create_connection((web.host, web.port), timeout=60) as client:
        client.sendall(sent)
        assert rest_of(client) == b""
        assert web.get("/healthz").status == 200


def test_connections_are_bounded(stalling: Stalling, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is closed at once, and the existing ones are still answered."""
    with served(stalling) as web:
        monkeypatch.setattr(connection, "CONNECTIONS", 2)
        with contextlib.ExitStack() as clients:
            there = [clients.enter_context(socket.create_connection((web.host, web.port), 60)) for _ in range(2)]
            with socket.create_connection((web.host, web.port), timeout=60) as one_more:
                assert rest_of(one_more) == b""
            for client in there:
                client.sendall(b"GET /base/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert client.recv(15) == b"HTTP/1.1 200 OK"
        until(lambda: not is_reset(web), "the connections to end")


def is_reset(web: Web) -> bool:
    try:
        return web.get("/healthz").status != 200
    except (ConnectionError, http.client.HTTPException):
        return True


# --- what fails -------------------------------------------------------------------------------------------------------


def fail() -> NoReturn:
    raise RuntimeError("the secret place")


def test_an_internal_error_has_the_requested_format_and_no_details(stalling: Stalling) -> None:
    with served(stalling) as web:
        stalling.before = fail
        for path in ("/api/search", "/api/search?format=csv", "/api/diff?from=develop&to=develop"):
            for accept in ("text/html", "*/*"):
                got = asked(web, path, accept)
                assert (got.status, bool(got.json["error"])) == (500, True)
                assert_no_leak(got)
        for path in ("/", "/parts", "/?q=zlib", "/binary/h000"):
            for accept in ("text/html", "*/*"):
                got = asked(web, path, accept)
                assert (got.status, got.headers["content-type"]) == (500, "text/html; charset=utf-8")
                assert b"</html>" in got.body
                assert_no_leak(got)


def test_an_error_while_rendering_the_error_page_gets_a_response(
    stalling: Stalling, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(stalling) as web:
        stalling.before = fail
        monkeypatch.setattr(PageRenderer, "error", lambda *_: fail())
        got = web.get("/", headers=HTML)
        assert (got.status, bool(got.json["error"])) == (500, True)
        assert_no_leak(got)


def asked(web: Web, target: str, accept: str) -> Got:
    path, _, query = target.partition("?")
    return web.get(path, [tuple(each.split("=")) for each in query.split("&") if each], {"Accept": accept})


def assert_no_leak(got: Got) -> None:
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in got.headers["content-security-policy"]
    whole = json.dumps(got.headers) + got.body.decode()
    assert not [each for each in ("secret", "Traceback", "RuntimeError", str(Path.cwd())) if each in whole]

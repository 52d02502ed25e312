"""`cachesync serve` behind real proxies, with the files of ``deploy/``: what goes through, what is kept out, what breaks."""

import contextlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import expect

from examples.pages import write_tree
from tests.support.browser import Chromium
from tests.support.browser import started as chromium_started
from tests.support.front import BASE_PATH, CLIENT, PROXIES, Front, front, version
from tests.support.sandbox import Sandbox
from tests.support.service import Serve, until
from tests.support.web import Got, Web

ENVIRONMENT: Final = {"CACHESYNC_HTTP__BASE_PATH": BASE_PATH}
NEVER_WHOLE_SINCE: Final = (2, 8)
"""The version of Caddy from which on an answer that breaks behind it breaks before it, too."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """An index of more specs than an export looks for at once, twice over."""
    sandbox = Sandbox(tmp_path_factory.mktemp("site"))
    write_tree(sandbox.root, tag_count=6, package_count=100)
    sandbox.run("sync")
    return sandbox


@pytest.fixture(scope="module")
def sites(sandbox: Sandbox) -> Iterator[tuple[Serve, Serve]]:
    """Two over one index."""
    with Serve(sandbox, **ENVIRONMENT) as one, Serve(sandbox, **ENVIRONMENT) as other:
        yield one, other


@pytest.fixture(scope="module", params=PROXIES)
def proxy(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def web(proxy: str, sites: tuple[Serve, Serve]) -> Iterator[Front]:
    with front(proxy, [address(site) for site in sites]) as web:
        yield web


@pytest.fixture(scope="module")
def nginx(sites: tuple[Serve, Serve]) -> Iterator[Front]:
    """It alone has limits by client."""
    with front("nginx", [address(site) for site in sites]) as web:
        yield web


class Overheard(NamedTuple):
    """A proxy before a server that says ok to everything, and what that one was asked."""

    web: Front
    requests: list[bytes]


@pytest.fixture(scope="module")
def overheard_all(proxy: str) -> Iterator[Overheard]:
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        request = connection.recv(65_536)
                        if b"/healthz" not in request.partition(b"\r\n")[0]:  # Caddy's own
                            requests.append(request)
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            with front(proxy, [f"127.0.0.1:{server.getsockname()[1]}"]) as web:
                yield Overheard(web, requests)
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def overheard(overheard_all: Overheard) -> Overheard:
    overheard_all.requests.clear()
    return overheard_all


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with chromium_started() as one:
        yield one


def address(site: Serve) -> str:
    return urlsplit(site.url).netloc


def of_site(site: Serve, path: str) -> Any:
    """What it answers itself."""
    status, answer = site.get(path)
    assert status == 200
    return answer


def answers(web: Front, sent: str) -> bytes:
    """All that comes back for what is sent, until the connection is closed."""
    with web.socket() as bare:
        bare.sendall(sent.encode())
        received = b""
        with contextlib.suppress(ConnectionResetError, TimeoutError):
            while more := bare.recv(65_536):
                received += more
    return received


# --- what goes through ------------------------------------------------------------------------------------------------


def test_the_page_works_below_the_base_path(chromium: Chromium, web: Front) -> None:
    with chromium.tab(web.url, trusts=True) as tab:
        asked: list[str] = []
        tab.page.on("request", lambda request: asked.append(request.url))
        tab.page.goto("")
        total = web.search(q="hdf5")["total"]
        tab.page.locator("input[name=q]").fill("hdf5")
        tab.page.locator("input[name=q]").press("Enter")
        expect(tab.page.locator("[data-total]")).to_have_text(str(total))
        links: list[str] = tab.page.locator("a[href]").evaluate_all("all => all.map(each => each.href)")
        tab.page.locator("a.hit").first.click()
        expect(tab.page.locator("article[data-id]")).to_be_visible()
        links += tab.page.locator("a[href]").evaluate_all("all => all.map(each => each.href)")
        assert len(asked) > 4
        assert len(links) > 20
        assert [each for each in asked + links if not each.startswith(web.url)] == []


def test_it_answers_what_serve_does(web: Front, sites: tuple[Serve, Serve]) -> None:
    for path in ("/api/tags", "/api/search?q=py-&facet=os&distinct=true", "/openapi.json"):
        ours, its = web.get(path.partition("?")[0], _pairs(path)).json, of_site(sites[0], path)
        for each in (ours, its):
            each.pop("took_ms", None)
        assert ours == its


def _pairs(path: str) -> list[tuple[str, str]]:
    query = path.partition("?")[2]
    return [(name, value) for name, _, value in (each.partition("=") for each in query.split("&") if each)]


def test_what_leads_to_the_base_path_and_to_tls(web: Front) -> None:
    got = whole(web, "")
    assert (got.status, got.headers["location"]) == (301, f"{BASE_PATH}/")
    assert whole(web, "/").status == 200
    plain = HTTPConnection("127.0.0.1", web.http_port, timeout=60)
    with contextlib.closing(plain):
        plain.request("GET", f"{BASE_PATH}/?q=x", headers={"Host": web.host})
        answer = plain.getresponse()
        assert answer.status in {301, 308}
        assert re.fullmatch(rf"https://localhost(:\d+)?{BASE_PATH}/\?q=x", answer.headers["Location"])


def whole(web: Front, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Got:
    return web.get(path, (), headers, method)


def test_what_may_be_kept_is_what_serve_says(web: Front) -> None:
    html = whole(web, "/")
    assert (html.status, html.headers["cache-control"]) == (200, "no-cache")
    assert "etag" not in html.headers
    files = re.findall(rf'(?:href|src)="{BASE_PATH}(/static/[^"]+)"', html.body.decode())
    assert len(files) == 2
    for file in files:
        assert whole(web, file).headers["cache-control"] == "public, max-age=31536000, immutable"
    for security in ("content-security-policy", "referrer-policy", "x-content-type-options"):
        assert len(html.headers[security].split(", ")) == 1
    assert html.headers["strict-transport-security"] == "max-age=31536000"
    assert "nginx/" not in html.headers.get("server", "")


def test_what_hasnt_changed_isnt_sent_again(web: Front, sites: tuple[Serve, Serve]) -> None:
    got = web.get("/api/search", {"q": "hdf5"})
    for site in sites:
        host, _, port = address(site).partition(":")
        assert Web(host, int(port), BASE_PATH).get("/api/search", {"q": "hdf5"}).headers["etag"] == got.headers["etag"]
    assert got.headers["cache-control"] == "no-cache"
    again = web.get("/api/search", {"q": "hdf5"}, {"If-None-Match": got.headers["etag"]})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", got.headers["etag"])
    assert web.get("/api/search", {"q": "hdf5", "limit": 1}, {"If-None-Match": got.headers["etag"]}).status == 200
    assert web.get("/api/search", {"q": "hdf5"}, method="HEAD").headers["etag"] == got.headers["etag"]


@pytest.mark.parametrize("path", ["/?q=hdf5", "/api/search?q=hdf5", "/api/search?q=hdf5&format=csv"])
def test_text_is_compressed_once_for_whom_takes_it(web: Front, path: str) -> None:
    bare, _, query = path.partition("?")
    for accepted, encoding in (("gzip, br", "gzip"), ("identity", None)):
        got = web.get(bare, _pairs(f"?{query}"), {"Accept-Encoding": accepted})
        assert got.headers.get("content-encoding") == encoding
        assert "accept-encoding" in got.headers["vary"].lower()
        assert b"hdf5" in got.body


def test_crawlers_find_what_they_are_told(web: Front) -> None:
    web_at_root = Front(web.port, web.http_port, web.authority)
    web_at_root.base_path = ""
    got = whole(web_at_root, "/robots.txt")
    assert f"Disallow: {BASE_PATH}/\n" in got.body.decode()
    assert whole(web_at_root, "/").status == 404


def test_all_specs_are_exported(web: Front) -> None:
    total = web.search(limit=0)["total"]
    assert total > 2 * 2_000
    for encoding in ("identity", "gzip"):
        got = web.get("/api/search", {"format": "ndjson"}, {"Accept-Encoding": encoding})
        assert len({json.loads(line)["_id"] for line in got.body.splitlines()}) == total
        assert "content-length" not in got.headers


def test_a_walk_goes_on_at_another_serve(web: Front, sites: tuple[Serve, Serve]) -> None:
    """In turn at each, and through the proxy, which asks either."""

    def walked(ask: Any) -> list[str]:
        found: list[str] = []
        more: dict[str, str] = {}
        number = 0
        while number == 0 or more:
            answer = ask(number, {"q": "hdf5", "limit": "3", **more})
            found += [hit["_id"] for hit in answer["hits"]]
            more = {"cursor": answer["next"]} if answer["next"] else {}
            number += 1
        assert number > 5
        return found

    wanted = [hit["_id"] for hit in web.search(q="hdf5", limit=1_000)["hits"]]
    assert walked(lambda number, asked: of_site(sites[number % 2], f"/api/search?{urlencode(asked)}")) == wanted
    assert walked(lambda _, asked: web.search(**asked)) == wanted


# --- what is kept out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_only_reading_is_allowed(web: Front, method: str) -> None:
    for path in ("/", "/api/search", "/nowhere"):
        got = whole(web, path, method)
        assert got.status == 405
        assert got.headers["allow"] == "GET, HEAD"
        assert got.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    "path", ["/metrics", "/healthz", "/readyz", "//metrics", "/%6detrics", "/./metrics", "/static/../metrics"]
)
def test_what_is_for_operators_is_not_there(web: Front, path: str) -> None:
    connection = web.connection()
    with contextlib.closing(connection):
        connection.request("GET", f"{BASE_PATH}{path}")
        assert connection.getresponse().status == 404
    assert whole(web, "/api/status").json["ready"]


def test_what_tells_who_somebody_is_isnt_handed_on(overheard: Overheard) -> None:
    got = overheard.web.get("/", (), {"Authorization": "Basic eDp5", "Cookie": "a=b", "X-Own": "1"})
    assert (got.status, got.body) == (200, b"ok")
    (request,) = overheard.requests
    names = {line.partition(b":")[0].strip().lower() for line in request.splitlines()}
    assert b"x-own" in names
    assert not names & {b"authorization", b"cookie", b"content-length", b"transfer-encoding"}


def test_a_body_is_refused_or_left_out(web: Front) -> None:
    """Neither that nor a body that never comes keeps others out."""
    for size, statuses in ((5, {200, 413}), (5_000, {413})):
        connection = web.connection()
        with contextlib.closing(connection):
            connection.request("GET", f"{BASE_PATH}/", b"x" * size)
            assert connection.getresponse().status in statuses
    chunked = f"GET {BASE_PATH}/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    for body in (f"1388\r\n{'x' * 5_000}\r\n0\r\n\r\n", "xyz\r\n", "5\r\nab"):
        for _ in range(4):
            with web.socket() as bare:
                bare.sendall(f"{chunked}{body}".encode())
        assert whole(web, "/api/search").status == 200


@pytest.mark.parametrize(("needed", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_without_a_proxy_tests_are_skipped_or_fail_where_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, needed: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CACHESYNC_TEST_NEEDS_PROXIES", needed)
    with pytest.raises(outcome, match="there is no nginx"), front("nginx", []):
        pass


# --- what is too much, and what can be read in two ways -----------------------------------------------------------------


def of_client(client: str) -> dict[str, str]:
    return {CLIENT: client}


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [("192.0.2.1", "192.0.2.1", "192.0.2.2"), ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1")],
)
def test_who_asks_too_much_is_told_so_and_nobody_else(nginx: Front, one: str, same: str, other: str) -> None:
    """An IPv6 address is one with all of its network."""
    connection = nginx.connection()

    def is_refused(client: str) -> bool:
        connection.request("GET", f"{BASE_PATH}/icon.svg", headers=of_client(client))
        answer = connection.getresponse()
        answer.read()
        assert answer.status in {200, 429}
        if answer.status == 429:
            assert (answer.headers["Retry-After"], answer.headers["Cache-Control"]) == ("1", "no-store")
        return answer.status == 429

    with contextlib.closing(connection):
        until(lambda: any(is_refused(one) for _ in range(100)), "a refusal")
        until(lambda: any(is_refused(same) for _ in range(100)), "another one")
        assert not is_refused(other)
        until(lambda: not is_refused(one), "its turn")


def test_one_has_one_export_at_a_time(nginx: Front) -> None:
    with nginx.socket() as bare:
        bare.sendall(begun_export("192.0.2.3"))
        assert bare.recv(20).startswith(b"HTTP/1.1 200 ")
        refused = nginx.get("/api/search", {"format": "csv"}, of_client("192.0.2.3"))
        assert (refused.status, refused.json["at"]) == (429, None)
        in_browser = {**of_client("192.0.2.3"), "Accept": "text/html"}
        page = nginx.get("/api/search", {"format": "csv"}, in_browser)
        assert (page.status, page.headers["retry-after"]) == (429, "1")
        assert "<h1>Too much at once</h1>" in page.body.decode()
        for written in ("format=%63sv", "%66orm%61t=ndjson", "q=hdf5&format=&format=csv", "format=json&format=csv"):
            assert status_of(nginx, f"/api/search?{written}", "192.0.2.3") == 429, written
        assert nginx.get("/api/search", {"limit": "1", "format": "json"}, of_client("192.0.2.3")).status == 200
        assert nginx.get("/api/search", {"format": "csv", "limit": "1"}, of_client("192.0.2.4")).status == 200


def status_of(nginx: Front, target: str, client: str) -> int:
    """Ask for a target that is written out with its query."""
    with contextlib.closing(nginx.connection()) as connection:
        connection.request("GET", f"{BASE_PATH}{target}", headers=of_client(client))
        return connection.getresponse().status


def begun_export(client: str) -> bytes:
    """A request for more than fits between a server and a client that takes nothing."""
    asked = f"GET {BASE_PATH}/api/search?format=ndjson HTTP/1.1\r\nHost: localhost\r\n{CLIENT}: {client}\r\n\r\n"
    return asked.encode()


def test_what_a_query_may_have_goes_through_and_what_is_larger_is_refused(web: Front) -> None:
    longest = web.get("/api/search", {"q": "\U0001f980" * 1_000, "mode": "text"})
    assert (longest.status, longest.json["total"]) == (200, 0)
    longer = web.get("/api/search", {"q": "x" * 1_001})
    assert (longer.status, longer.json["at"]) == (400, 1_001)
    assert refused(web, "/api/search", {"q": "x" * 40_000})
    assert refused(web, "/", (), {"X-Much": "x" * 40_000})
    assert refused(web, "/", (), {f"X-Many-{number}": "x" * 900 for number in range(90)})


def refused(web: Front, path: str, parameters: Any, headers: dict[str, str] | None = None) -> bool:
    """Tell whether a request is refused: by an answer, or by an end of the connection before all of it was sent."""
    try:
        return web.get(path, parameters, headers).status in {400, 414, 431}
    except (ssl.SSLEOFError, ConnectionError):
        return True


SMUGGLED: Final = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        f"Content-Length: {5 + len(SMUGGLED)}\r\nTransfer-Encoding: chunked",
        f"Content-Length: 5\r\nContent-Length: {5 + len(SMUGGLED)}",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "X: y\r\n Transfer-Encoding: chunked",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_can_be_read_in_two_ways_doesnt_go_through(
    proxy: str, overheard: Overheard, method: str, headers: str
) -> None:
    """nginx refuses it. Caddy does, or reads it in one way and writes it anew, so that there is no other way any more."""
    begin = f"{method} {BASE_PATH}/ HTTP/1.1\r\nHost: localhost\r\n"
    received = answers(overheard.web, f"{begin}{headers}\r\n\r\n0\r\n\r\n{SMUGGLED}")
    if proxy == "nginx":
        assert re.findall(rb"HTTP/1\.1 (\d+)", received) in ([b"400"], [b"501"])
        assert overheard.requests == []
    for request in overheard.requests:
        head, _, body = request.partition(b"\r\n\r\n")
        assert head.startswith(f"GET {BASE_PATH}/ ".encode())
        lengths = re.findall(rb"(?im)^(?:content-length|transfer-encoding)\s*:\s*(.*?)\s*$", head)
        chunks = b"0\r\n\r\n" if lengths == [b"chunked"] else b""  # perhaps not all of them have come yet
        assert lengths in ([], [b"chunked"])
        assert chunks.startswith(body)


# --- what breaks ------------------------------------------------------------------------------------------------------

_PLANT: Final = """
import os, signal, sys

if sys.orig_argv[-1] == "serve":
    from cachesync.errors import IndexUnavailableError
    from cachesync.search.walk import Walk

    real = Walk.hits

    def hits(walk, index):
        for number, part in enumerate(real(walk, index)):
            if number == 2:
                {}
            yield part

    Walk.hits = hits
"""
BREAKS: Final = {
    "the index is away": 'raise IndexUnavailableError("planted")',
    "serve dies": "os.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.mark.parametrize(
    ("breaks", "options"),
    [(breaks, (version,)) for breaks in BREAKS for version in ("--http1.1", "--http2")]
    + [("the index is away", ("--http1.1", "--compressed"))],
)
def test_an_export_that_breaks_never_looks_whole(
    sandbox: Sandbox, proxy: str, tmp_path: Path, breaks: str, options: tuple[str, ...]
) -> None:
    """But to whom an old Caddy leads. curl tells what is broken by its exit code."""
    if not shutil.which("curl"):
        pytest.skip("there is no curl")
    (tmp_path / "sitecustomize.py").write_text(_PLANT.format(BREAKS[breaks]))
    with Serve(sandbox, **ENVIRONMENT, PYTHONPATH=str(tmp_path)) as site, front(proxy, [address(site)]) as web:
        url = f"{web.url}api/search?format=ndjson"
        command = ["curl", "-sS", "--cacert", str(web.authority), *options, "-w", "%{stderr}%{http_code}", url]
        done = subprocess.run(command, check=False, capture_output=True, timeout=60)
        site.kill()
    assert done.stderr.endswith(b"200")
    assert 0 < done.stdout.count(b"\n") <= 4_000
    looks_whole = done.returncode == 0
    assert looks_whole == (proxy == "caddy" and version(proxy) < NEVER_WHOLE_SINCE)


def test_where_one_serve_ends_no_request_fails(sandbox: Sandbox, proxy: str) -> None:
    """It is asked by eight while it ends, and after it has ended."""
    with Serve(sandbox, **ENVIRONMENT) as one, Serve(sandbox, **ENVIRONMENT) as other:
        with front(proxy, [address(one), address(other)]) as web, asked_by_many(web) as answered:
            until(lambda: len(answered) > 40, "answers of both")
            assert one.stop() == 0
            seen = len(answered)
            until(lambda: len(answered) > seen + 40, "answers of the other one")
        assert set(answered) == {200}


@contextlib.contextmanager
def asked_by_many(web: Front) -> Iterator[list[int]]:
    """Let eight clients ask without a pause, and lend the statuses of all that they were answered."""
    answered: list[int] = []
    is_over = threading.Event()

    def ask(number: int) -> None:
        connection = web.connection()
        with contextlib.closing(connection):
            while not is_over.is_set():
                headers = of_client(f"10.{number}.{len(answered) // 256 % 256}.{len(answered) % 256}")
                connection.request("GET", f"{BASE_PATH}/api/search?q=hdf5&limit=1", headers=headers)
                answer = connection.getresponse()
                answer.read()
                answered.append(answer.status)

    with ThreadPoolExecutor(8) as threads:
        clients = [threads.submit(ask, number) for number in range(8)]
        try:
            yield answered
        finally:
            is_over.set()
            for client in clients:
                client.result()


def test_where_nobody_answers_it_says_when_to_ask_again(proxy: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
    with front(proxy, [nobody]) as web:
        got = web.get("/api/search")
        assert (got.status, got.headers["retry-after"], got.json["at"]) == (503, "5", None)
        assert "can't be searched just now" in got.json["error"]
        assert got.headers["cache-control"] == "no-store"
        assert nobody not in got.body.decode() + str(got.headers)
        page = web.get("/", (), {"Accept": "text/html,*/*;q=0.8"})
        assert (page.status, page.headers["retry-after"], page.headers["cache-control"]) == (503, "5", "no-store")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["strict-transport-security"] == "max-age=31536000"
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert "<h1>No answer at the moment</h1>" in page.body.decode()
        assert nobody not in page.body.decode() + str(page.headers)


def test_what_serve_says_of_its_index_goes_through(proxy: str, tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    with Serve(sandbox, **ENVIRONMENT) as site, front(proxy, [address(site)]) as web:
        for path in ("/api/search", "/api/status"):
            got = web.get(path)
            assert got.status == 503
            assert "ready" in got.json or got.headers["retry-after"] == "5"
        assert "text/html" in web.get("/", (), {"Accept": "text/html"}).headers["content-type"]

"""Hostile strings are handled as plain text: in every field of an index, and in every parameter.

Values that no index accepts are left out: ids that are too long, so the page and binary of a long string have other
names; and dates and numbers, which can't be strings.
"""

import csv
import http.client
import io
import json
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from html.parser import HTMLParser
from string import ascii_lowercase
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import Page, expect

from cachesync.documents import FIELDS
from cachesync.search.request import FILTERABLE
from cachesync.web.page.address import FACETS
from tests.hostile.effort import THOROUGH
from tests.support import hostile_strings
from tests.support.browser import Chromium, Tab
from tests.support.brute import Document
from tests.support.hostile_strings import HOSTILE
from tests.support.pages import entry, page, put
from tests.support.sandbox import Sandbox
from tests.support.service import Service
from tests.support.web import Got, Web
from tests.system.conftest import BASE_PATH, Serve

GROUPS: Final = {
    name: values
    for name, values in vars(hostile_strings).items()
    if isinstance(values, tuple) and values is not HOSTILE
}
PLAIN: Final = (
    "word",
    "two words",
    "hdf5@@1",
    "zlib",
    "+mpi",
    "~mpi",
    "a=b",
    "%gcc",
    "/abcdefg",
    "^mpi",
    "hdf5@1:",
    "spec+mpi",
    "",
)
"""Harmless strings which together make the page show every kind of element that it has."""

KEYWORDS: Final = tuple(name for name in FILTERABLE if FIELDS[name].kind == "keyword" and name != "page")
OTHERS: Final = (
    *("q", "mode", "arch", "facet", "sort", "limit", "distinct", "cursor"),
    *(name for name in FILTERABLE if name not in KEYWORDS),
)
SHORT: Final = (("limit", "0"), *(("facet", f"{name}:1") for name in FACETS))
"""Parameters that keep a page short."""

_LONGEST_KEY: Final = 250
_LONGEST_URL: Final = 50_000
_LONGEST_OF_PAGES: Final = 7_000
"""Bytes that certainly fit into a URL."""

_FORMULA: Final = tuple("=+-@\t\r\n")
_COMMANDS: Final = (
    re.compile(r"spack mirror add [\w.+]+[\w.+-]* https://binaries\.spack\.io/[\w.%+-]+/[\w.%+-]+", re.ASCII),
    re.compile(r"spack buildcache keys --install --trust"),
    re.compile(r"spack install --cache-only /[\w.+][\w.+-]*", re.ASCII),
)


def made_of(strings: Iterable[str]) -> Iterator[Document]:
    """Yield a document for each string, with that string as each of its values."""
    for number, string in enumerate(strings):
        key = string if len(string.encode()) <= _LONGEST_KEY else "long"
        place = f"{number}/{key}"
        yield {
            **{name: string if not field.many else [string] for name, field in FIELDS.items()},
            "tag_date": "2026-01-01",
            "binary_number": number,
            "size": number,
            "page": f"_cache/{place}/specs.md",
            "_id": f"{place}/{key}",
        }


@pytest.fixture(scope="module")
def web(serve: Serve) -> Web:
    return serve(made_of(HOSTILE))


@pytest.fixture(scope="module")
def harmless(serve: Serve) -> Web:
    return serve(made_of(PLAIN))


class Structure(HTMLParser):
    """The structure of a page: its elements, links and ids, and the values of its form."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.made_of: set[tuple[str, str]] = set()
        """Elements and their attributes."""
        self.links: set[str] = set()
        self.fields: dict[str, str] = {}
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.made_of |= {(tag, ""), *((tag, name) for name, _ in attributes)}
        given = {name: value or "" for name, value in attributes}
        self.links |= {given[name] for name in ("href", "src", "action", "formaction", "data-parts") if name in given}
        if tag == "input" and given.get("type") != "checkbox":
            self.fields.setdefault(given["name"], given["value"])
        if "data-id" in given:
            self.ids.append(given["data-id"])

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.made_of.add(("comment", data))

    def handle_decl(self, decl: str) -> None:
        self.made_of.add(("declaration", decl))

    def handle_pi(self, data: str) -> None:
        self.made_of.add(("instruction", data))

    def unknown_decl(self, data: str) -> None:
        self.made_of.add(("declaration", data))


def read(got: Got) -> Structure:
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    return Structure(got.body.decode())


def in_path(string: str) -> str:
    return quote(string, safe="")


Asking = tuple[str, list[tuple[str, str]]]
"""A path, and parameters."""


def pages_with(string: str) -> Iterator[Asking]:
    """Yield requests for pages with a string in each parameter, and in the path."""
    together = [(name, string) for name in KEYWORDS]
    if len(urlencode(together)) + len(quote(string)) < _LONGEST_OF_PAGES:
        yield "/", [("limit", "3"), ("format", string), *SHORT[1:], *together]
    else:
        yield from (("/", [*SHORT, pair]) for pair in together)
    for path, mode in (("/", "auto"), ("/", "spec"), ("/parts", "text")):
        yield path, [*SHORT, ("mode", mode), ("q", string)]
    for name in OTHERS:
        yield "/", [*(pair for pair in SHORT if pair[0] != name), (name, string)]
    yield "/", [(string, "1")]
    yield "/diff", [("from", string), ("to", string), ("os", string)]
    yield f"/binary/{in_path(string)}", []
    yield f"/{in_path(string)}", []


def answers_with(string: str) -> Iterator[Asking]:
    """Yield requests to the API with a string in each parameter, and in the path."""
    if len(string) * 12 * len(KEYWORDS) < _LONGEST_URL:
        yield "/api/search", [("limit", "0"), *((name, string) for name in KEYWORDS)]
    for name in OTHERS:
        if name != "format":
            yield "/api/search", [("limit", "0")] * (name != "limit") + [(name, string)]
    yield "/api/search", [(string, "1")]
    yield "/api/suggest", [("q", string)]
    yield "/api/suggest", [("limit", string)]
    yield "/api/diff", [("from", string), ("to", string)]
    yield f"/api/binaries/{in_path(string)}", []
    yield f"/api/specs/{in_path(string)}/x/{in_path(string)}", []


def ask(web: Web, asking: Asking) -> Got:
    path, parameters = asking
    return web.get(path, parameters, {"Accept": "text/html"})


@pytest.fixture(scope="module")
def usual(harmless: Web) -> tuple[set[tuple[str, str]], set[str]]:
    """Return the elements and headers of pages with harmless strings only."""
    parts: set[tuple[str, str]] = set()
    headers: set[str] = set()
    whole: list[Asking] = [("/", [("limit", "1000"), ("facet", "package:1")]), ("/", [("limit", "2")]), ("/diff", [])]
    for asking in [*whole, *(each for string in PLAIN for each in pages_with(string))]:
        got = ask(harmless, asking)
        parts |= read(got).made_of
        headers |= set(got.headers)
    return parts, headers


@pytest.fixture
def strings(request: pytest.FixtureRequest) -> Sequence[str]:
    """All hostile strings with one engine, and some with the other: rendering doesn't depend on the engine."""
    is_whole = THOROUGH or request.node.callspec.params["serve"] == "embedded"
    return HOSTILE if is_whole else HOSTILE[::5]


def test_pages_have_the_same_structure_whatever_is_asked(
    web: Web, usual: tuple[set[tuple[str, str]], set[str]], strings: Sequence[str]
) -> None:
    parts, headers = usual
    for string in strings:
        for asking in pages_with(string):
            path, parameters = asking
            got = ask(web, asking)
            is_too_long = len(path + urlencode(parameters)) > _LONGEST_OF_PAGES
            assert got.status in (200, 400, 404, 409) or (is_too_long and got.status == 414), (asking, got)
            found = read(got)
            assert found.made_of <= parts, (asking, found.made_of - parts)
            assert not [link for link in found.links if not re.match(rf"{BASE_PATH}/(?!/)|#", link)], asking
            assert set(got.headers) <= headers, asking
            if path == "/" and string and ("q", string) in parameters and got.status != 414:
                assert found.fields["q"] == string


def test_filters_find_every_string(web: Web) -> None:
    for string in filter(None, HOSTILE):
        for name in ("os", "variants"):
            found = [hit[name] for hit in web.search(**{name: string})["hits"]]
            assert string in (*found, *(value for values in found for value in values))


def test_all_strings_on_one_page(web: Web, usual: tuple[set[tuple[str, str]], set[str]]) -> None:
    parameters = [("limit", "1000"), ("distinct", "false"), *(("facet", f"{name}:1000") for name in FACETS)]
    found = read(web.get("/", parameters))
    assert found.made_of <= usual[0]
    assert sorted(found.ids) == sorted(each["_id"] for each in made_of(HOSTILE))


def test_the_api_answers_with_json_whatever_is_asked(web: Web, harmless: Web, strings: Sequence[str]) -> None:
    headers = {name for string in PLAIN for each in answers_with(string) for name in harmless.get(*each).headers}
    for string in strings:
        for asking in answers_with(string):
            got = web.get(*asking)
            assert got.status in (200, 400, 404, 409), (asking, got)
            assert isinstance(got.json, dict)
            assert got.headers["x-content-type-options"] == "nosniff"
            assert set(got.headers) <= headers, asking


def test_csv_is_complete_and_has_no_formulas(web: Web) -> None:
    wanted = {each["_id"]: each for each in made_of(HOSTILE)}
    text = web.get("/api/search", {"format": "csv"}).body.decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert {len(row) for row in rows} == {len(header)}
    assert not [cell for row in rows for cell in row if cell.startswith(_FORMULA)]
    assert len(rows) == len(wanted)
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        document = wanted[cells["_id"]]
        string = document["os"]
        assert cells["os"] == (f"'{string}" if string.startswith(_FORMULA) else string)
        assert cells["variants"] == f"[{string}]"


def test_ndjson_loses_nothing(web: Web) -> None:
    lines = web.get("/api/search", {"format": "ndjson"}).body.split(b"\n")
    assert lines.pop() == b""
    found = {hit["_id"]: hit for hit in map(json.loads, lines)}
    assert len(found) == len(lines) == len(HOSTILE)
    for document in made_of(HOSTILE):
        assert {name: found[document["_id"]][name] for name in document} == document


def test_copied_commands_have_no_shell_metacharacters(serve: Serve) -> None:
    harmless = {"package": "zlib", "tag": "develop", "stacks": ["e4s", "root"], "hash": "a" * 32, "variants": ["+x"]}
    changes: list[dict[str, Any]] = [harmless]
    for string in HOSTILE:
        changes += [{**harmless, name: string} for name in ("package", "tag", "hash")]
        changes += [{**harmless, "stacks": [string]}, {**harmless, "stacks": [string, "e4s"]}]
    blank = list(made_of(["x"] * len(changes)))
    web = serve({**document, **changed} for document, changed in zip(blank, changes, strict=True))
    hits = [json.loads(line) for line in web.get("/api/search", {"format": "ndjson"}).body.splitlines()]
    commands = [hit["install"]["commands"] for hit in hits if "install" in hit]
    assert 1 < len(commands) < len(changes) / 2
    for each in commands:
        assert all(pattern.fullmatch(command) for pattern, command in zip(_COMMANDS, each, strict=True)), each
    listed = {"package": "zlib", "limit": 1_000, "distinct": "false"}
    page_of_all = re.sub("</?span>", "", web.get("/", listed).body.decode())  # they keep words unbroken
    shown = re.findall(r"<li><code>(spack [^\n]*?)</code>", page_of_all)
    assert len(shown) > len(_COMMANDS)
    assert not [command for command in shown if not any(pattern.fullmatch(command) for pattern in _COMMANDS)]
    copied = set(re.findall(r"<code class=\"short\">([^<]*)</code> <button[^>]*class=\"copy\"", page_of_all))
    assert copied
    assert not [text for text in copied if not re.fullmatch("/[A-Za-z0-9._+~@%^=:,/ -]*", text)]


def test_a_spec_can_only_be_copied_if_a_shell_does_not_change_it(serve: Serve) -> None:
    packages = ["hdf5", "$(touch x)", "a;touch x", "`x`", "a&b", "a>b", "*", "'", "é", "a\\"]
    blank = made_of(letter * 32 for letter in ascii_lowercase)
    web = serve(
        {**document, "package": each, "spec": f"{each}@1.0+x"} for document, each in zip(blank, packages, strict=False)
    )
    hits = web.search()["hits"]
    assert len(hits) == len(packages)
    for hit in hits:
        shown = web.get(f"/binary/{hit['binary']}").body.decode()
        assert ("Copy the spec" in shown) is (hit["package"] == "hdf5"), hit["package"]


def open_all(page: Page) -> None:
    page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true })")


def visit(tab: Tab, address: str) -> None:
    """Open a URL. The browser reports error statuses, which aren't faults of the page."""
    before = len(tab.faults)
    answer = tab.page.goto(address)
    assert answer
    assert answer.status in (200, 400, 404, 409) or (answer.status == 414 and len(address) > _LONGEST_OF_PAGES)
    tab.settle()
    refusal = f"the server responded with a status of {answer.status} "
    tab.faults[before:] = [each for each in tab.faults[before:] if refusal not in each]
    assert tab.page.locator("form[role=search]").count() == 1


def together(strings: Iterable[str]) -> Iterator[str]:
    """Join strings into texts so short that three of them fit into the URL of a page."""
    text = ""
    for string in strings:
        more = f"{text} {string}".strip()
        if len(in_path(more)) > _LONGEST_OF_PAGES / 3 - 200:
            yield text
            more = string
        text = more
    yield text


def addresses(web: Web) -> Iterator[str]:
    """Yield URLs with strings of each group: binaries, comparisons, errors and searches."""
    documents = {each["os"]: each for each in made_of(HOSTILE)}
    for strings in GROUPS.values():
        first, last = documents[strings[0]], documents[strings[-1]]
        for text in together(string for string in strings if len(string) < 200):
            yield "?" + urlencode({"tag": first["tag"], "os": text, "variants": text, "limit": "0"})
            yield "?" + urlencode({"q": text, "sort": text, "tag": text})
            yield f"binary/{in_path(text)}"
        yield "diff?" + urlencode({"from": first["tag"], "to": last["tag"]})
        paths = (f"binary/{in_path(documents[each]['hash'])}" for each in strings)
        yield from [path for path in paths if web.get(f"/{path}").status == 200][:1]


@pytest.mark.parametrize("scripts", [True, False])
def test_nothing_runs_on_any_page(chromium: Chromium, web: Web, scripts: bool) -> None:
    with chromium.tab(web.url, scripts=scripts) as tab:
        for address in addresses(web):
            visit(tab, address)
            open_all(tab.page)
        tab.check()


@pytest.mark.parametrize("scripts", [True, False])
def test_nothing_runs_on_a_page_with_all_strings(chromium: Chromium, web: Web, scripts: bool) -> None:
    facets = [("facet", f"{name}:1000") for name in FACETS]
    with chromium.tab(web.url, scripts=scripts) as tab:
        page = tab.page
        visit(tab, "?" + urlencode([("limit", "1000"), *facets]))
        shown = page.locator("[data-id]")
        expect(shown).to_have_count(len(HOSTILE))
        open_all(page)
        tab.check()
        first = shown.first.get_attribute("data-id") or ""
        page.get_by_label("Sort by").select_option("size:desc")
        if not scripts:
            page.get_by_role("button", name="Search").click()
        expect(shown.first).not_to_have_attribute("data-id", first)
        open_all(page)
        assert sorted(shown.evaluate_all("rows => rows.map(row => row.dataset.id)")) == sorted(
            each["_id"].replace("\x00", "\ufffd").replace("\r\n", "\n").replace("\r", "\n") for each in made_of(HOSTILE)
        )


def test_nothing_runs_from_suggestions_or_typed_text(chromium: Chromium, web: Web) -> None:
    with chromium.tab(web.url) as tab:
        page = tab.page
        page.goto("?limit=0")
        box, options = page.locator("input[name=q]"), page.get_by_role("listbox").get_by_role("option")
        for text in ("alert", "onerror", "script", "cachesync"):
            box.fill(text)
            expect(options.filter(has_text=text).first).to_be_visible()
            expect(page).to_have_url(re.compile(rf"q={text}"))
        box.press("ArrowDown")
        box.press("Enter")
        expect(options).to_have_count(0)
        for strings in GROUPS.values():
            with page.expect_response(re.compile("/parts")):
                box.fill(f"{strings[0]} {strings[-1]}"[:900])
                box.press("Enter")
            tab.settle()
        tab.faults[:] = [each for each in tab.faults if "the server responded with a status of 400 " not in each]


def test_a_log_line_is_one_object_whatever_is_asked(sandbox: Sandbox) -> None:
    put(sandbox.root, page(entry(), title="zlib"))
    for number, string in enumerate(HOSTILE):
        put(sandbox.root, page(entry(compiler=string, os=string), title=f"x{number} {string}"), f"page{number}")
    for number, name in enumerate(filter(is_name, HOSTILE)):
        put(sandbox.root, b"no page\n", name, f"tag{number}")
    with Service(sandbox).caught_up() as service:
        port = int(service.url.rpartition(":")[2])
        for string in HOSTILE:
            request(port, f"/?q={in_path(string)}", {})
            request(port, f"/{in_path(string)}", {})
            raw(port, string)
        problems = service.status()["problems"]
        lines = service.lines
    assert len(problems) > 100
    assert len(lines) > 5
    assert not [line for line in lines if not {"@timestamp", "log.level", "message"} <= line.keys()]


def is_name(string: str) -> bool:
    """Whether a string can be the name of a folder, and one that is scanned."""
    return bool(string) and not set(string) & {"/", "\x00"} and string[0] != "." and len(string.encode()) < 250


def request(port: int, path: str, headers: dict[str, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        assert connection.getresponse().status < 500
    finally:
        connection.close()


def raw(port: int, string: str) -> None:
    """Send a string unencoded, as path and as header."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        data = string.encode()
        connection.sendall(b"GET /%b HTTP/1.1\r\nHost: x\r\nUser-Agent: %b\r\nConnection: close\r\n\r\n" % (data, data))
        status = connection.recv(65_536).split(b" ")[1:2]
        assert not status or status[0] < b"500"

"""Odd requests to the HTTP API: invalid ones get 400 with an explanation, valid ones a complete answer."""

import base64
import csv
import http.client
import io
import json
import random
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Final

import msgspec
import pytest

from cachesync.documents import FIELDS
from cachesync.index.base import Index
from cachesync.index.engines import open_index
from cachesync.index.server import IndexServer, Layout
from cachesync.search.request import FILTERABLE
from cachesync.web.admission import Admission, BusyError
from cachesync.web.page import PageRenderer
from examples.pages import tree
from tests.contract.conftest import ENGINES
from tests.support import elasticsearch
from tests.support.filling import fill
from tests.support.pages import entry, page, path_of
from tests.support.web import Web, serving

LONG: Final = "x" * 300
HASHLESS: Final = (
    b'---\ntitle: "hashless"\nlayout: cache\ncategories: [package, develop]\nspec_names:\n'
    b'- "hashless@1.2+x arch=linux-ubuntu22.04-x86_64_v3 %gcc@=11.4.0"\n'
    b'- "hashless@1.3 arch=linux-rhel8-x86_64_v3 %gcc@=11.4.0"\n---'
)
PAGES: Final = dict(tree(tag_count=3, package_count=8, seed=11)) | {
    path_of("hashless"): HASHLESS,
    path_of("hashless", "develop-2025-01-05"): HASHLESS.replace(b"develop", b"develop-2025-01-05"),
    path_of("sized"): page(*(entry(f"s{n}" * 16, size=n) for n in range(3)), title="sized"),
    path_of("long"): page(
        *(entry(f"l{n}" * 16, os=f"{LONG}{n}", target=LONG, compiler=f"gcc@{LONG}", platform=LONG) for n in range(3)),
        title="long",
    ),
}
SORTABLE: Final = [name for name in FILTERABLE if not FIELDS[name].many]


@pytest.fixture(scope="module", params=ENGINES)
def web(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    is_embedded = request.param == "embedded"
    url = (
        f"embedded:{tmp_path_factory.mktemp('index')}" if is_embedded else request.getfixturevalue("elasticsearch_url")
    )
    name = f"edges-{random.Random().randrange(10**12)}"
    index: Index = open_index(IndexServer((url,)), name, Layout(), lambda path: path)
    fill(index, PAGES)
    with serving(index) as web:
        yield web
    if not is_embedded:
        elasticsearch.remove(url, name)


def raw(web: Web, target: str) -> tuple[int, Any]:
    """Request a target unchanged, without encoding it."""
    connection = http.client.HTTPConnection(web.host, web.port, timeout=60)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(body) if answer.headers["Content-Type"] == "application/json" else body


@pytest.mark.parametrize("bad", ["%ff", "a%c3", "%ed%a0%80", "%c0%af"])
def test_text_that_is_not_utf_8_is_an_error(web: Web, bad: str) -> None:
    """It isn't searched for with a replacement character."""
    for path in ("search", "suggest", "diff", "tags"):
        for query in (f"q={bad}", f"{bad}=1", f"package=zlib&package={bad}", f"cursor={bad}", f"from={bad}&to={bad}"):
            status, told = raw(web, f"/api/{path}?{query}")
            assert (status, "UTF-8" in told["error"]) == (400, True), (path, query, told)
    for path in ("", "parts", "diff", "binary/abcd"):
        assert raw(web, f"/{path}?q={bad}")[0] == 400, path


@pytest.mark.parametrize("order", [SORTABLE, SORTABLE[::-1], ["os"] * 200, [f"{name}:desc" for name in SORTABLE]])
def test_a_walk_with_many_sort_keys_ends(web: Web, order: list[str]) -> None:
    parameters = {"sort": order, "package": ["long", "hashless", "zlib"]}
    wanted = [hit["_id"] for hit in web.search(**parameters, limit=1_000)["hits"]]
    assert len(wanted) > 5
    found: list[str] = []
    cursor: dict[str, str] = {}
    while len(found) <= len(wanted):
        answer = web.search(**parameters, **cursor, limit=2)
        found += [hit["_id"] for hit in answer["hits"]]
        if answer["next"] is None:
            break
        cursor = {"cursor": answer["next"]}
    assert found == wanted


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_an_export_has_all_hits_unless_a_number_is_given(web: Web, form: str) -> None:
    """Forms send an empty field as well."""
    total = web.search()["total"]

    def hits(**more: Any) -> int:
        body = web.get("/api/search", {"format": form, **more}).body.decode()
        return len(list(csv.DictReader(io.StringIO(body)))) if form == "csv" else len(body.splitlines())

    assert hits() == hits(limit="") == total
    assert hits(limit=3) == 3
    assert hits(limit=0) == 0
    assert hits(package="nonesuch") == 0
    assert hits(cursor=web.search(limit=5)["next"]) == total - 5
    binaries = web.search(distinct="true", limit=1_000)
    assert len(binaries["hits"]) < total
    lines = web.get("/api/search", {"format": "ndjson", "distinct": "true"}).body.splitlines()
    assert list(map(json.loads, lines))[: len(binaries["hits"])] == binaries["hits"]


def test_an_export_of_nothing_is_a_table_with_its_header(web: Web) -> None:
    got = web.get("/api/search", {"format": "csv", "package": "nonesuch"})
    assert got.body.decode().startswith("_id,package,")


@pytest.mark.parametrize("distinct", ["true", "false"])
def test_binaries_without_a_hash_are_found_and_shown_like_others(web: Web, distinct: str) -> None:
    found = web.search(package="hashless", distinct=distinct, limit=1_000)["hits"]
    assert len(found) == (2 if distinct == "true" else 4)
    for hit in found:
        assert "hash" not in hit
        assert web.get(f"/api/specs/{hit['_id']}").json["spec"] == hit["spec"]
        binary = web.get(f"/api/binaries/{hit['binary']}").json
        assert binary["tags"] == ["develop-2025-01-05", "develop"]
        assert binary["install"] is None
    walked: list[str] = []
    cursor: dict[str, str] = {}
    for _ in found:
        answer = web.search(package="hashless", distinct=distinct, sort="hash", limit=1, **cursor)
        walked += [hit["_id"] for hit in answer["hits"]]
        cursor = {"cursor": answer["next"]}
    assert answer["next"] is None
    assert sorted(walked) == sorted(hit["_id"] for hit in found)


def repacked(cursor: str, change: Callable[[list[Any]], None]) -> str:
    """Forge a cursor by changing its content."""
    packed = msgspec.msgpack.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    change(packed)
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(packed)).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("number", "status"),
    [(0, 200), (2**63 - 1, 200), (2**63, 400), (2**64 - 1, 400), (-(2**63), 400), (True, 400), (1.5, 400), ("1", 400)],
)
def test_a_cursor_with_numbers_that_no_document_has(web: Web, number: Any, status: int) -> None:
    def change(packed: list[Any]) -> None:
        packed[-1][1][0] = number

    cursor = repacked(web.search(sort="size", package="sized", limit=1)["next"], change)
    got = web.get("/api/search", {"sort": "size", "package": "sized", "cursor": cursor})
    assert got.status == status, got


def test_a_cursor_of_another_version(web: Web) -> None:
    def change(packed: list[Any]) -> None:
        packed[0] += 1

    got = web.get("/api/search", {"cursor": repacked(web.search(limit=1)["next"], change)})
    assert (got.status, "cursor" in got.json["error"]) == (400, True)


@pytest.mark.parametrize(
    "query",
    [
        "limit=99999999999999999999", "limit=1e3", "limit=-0", "limit=%EF%BC%91", "limit=1.0", "size=99999999999999999999",
        "size=-1", "facet=os:99999", "facet=os:0", "facet=os:-1", "tag=latest&tag=develop", "tag=latest&tag=latest",
        "package=" + "x" * 40_000, "tag_date=2025-13-40", "tag_date=x", "arch=%00-%00", "sort=%00", "facet=%00", "format=%00", "distinct=1",
        "mode=%0a", "q=" + "x" * 1_001, "cursor=" + "A" * 50_000, "&".join(["q=x"] * 100), "&".join(["os=x"] * 257),
    ],
)  # fmt: skip
def test_invalid_values_are_errors(web: Web, query: str) -> None:
    status, told = raw(web, f"/api/search?{query}")
    assert status == 400, told
    assert 0 < len(told["error"]) < 1_000


@pytest.mark.parametrize(
    "query",
    [
        "q=%00", "q=a%00b", "package=%00", "variants=%0a", "os=%0d%0aX:%20y", "q=" + "a%0ab" * 100, "q=" + "(" * 1_000,
        "q=" + "%25gcc%20" * 64, "q=" + "+a" * 500, "q=" + "hdf5@1:" * 140, "q=%F0%9F%98%80",
        "facet=os&facet=os&facet=os:3", "size=999999999999999999", "page=%7f", "hash=" + "%C3%A9" * 2_000,
    ],
)  # fmt: skip
def test_odd_values_get_an_answer_or_an_error(web: Web, query: str) -> None:
    for path in ("/api/search", "/api/suggest", "/"):
        status, told = raw(web, f"{path}?{query}")
        assert status in (200, 400) or (path == "/" and len(query) > 8_192 and status == 414), (path, told)


@pytest.mark.parametrize("number", [257, 2_000, 7_000])
@pytest.mark.parametrize("path", ["/", "/parts", "/diff", "/binary/abcd"])
def test_the_error_page_for_too_many_parameters_is_short(web: Web, path: str, number: int) -> None:
    """A chip for each, with a link that has all the others, would take minutes."""
    is_too_long = number > 257
    status, told = raw(web, f"{path}?" + "&".join(f"os={each}" for each in range(number)))
    assert status == (414 if is_too_long else 400)
    assert ("expected at most 8,192" if is_too_long else "expected at most 256") in told.decode()
    assert b"os=" not in told
    assert len(told) < 20_000


def test_error_pages_are_rendered_off_the_event_loop(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is rendered on a worker thread, unless it has no chips, which are the expensive part."""
    rendered: list[tuple[bool, bool]] = []
    whole = PageRenderer.error

    def noted(*told: Any, has_chips: bool = True) -> str:
        rendered.append((threading.current_thread().name.startswith("search"), has_chips))
        return whole(*told, has_chips=has_chips)

    monkeypatch.setattr(PageRenderer, "error", noted)
    assert b"os=x" in web.get("/", [("os", "x"), ("os", "y"), ("q", "@@")]).body
    assert web.get("/diff", [("os", "x"), ("nonesuch", "1")]).status == 400
    assert rendered == [(True, True)] * 2


def test_a_request_without_a_free_thread_gets_a_short_error_page(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(*_: object) -> None:
        raise BusyError("too much is asked at once")

    monkeypatch.setattr(Admission, "run", none)
    got = web.get("/", [("q", "zlib"), *(("os", str(each)) for each in range(200))])
    assert (got.status, got.headers["retry-after"]) == (503, "1")
    assert b'value="zlib"' in got.body
    assert got.body.count(b"<a ") < 20


def test_suggestions_have_the_same_bound_on_length_as_searches(web: Web) -> None:
    status, told = raw(web, "/api/suggest?q=" + "ab+cd0+" * 200)
    assert (status, told["at"], "1,000 characters" in told["error"]) == (400, 1_001, True)
    assert raw(web, "/api/suggest?q=" + "x" * 1_000)[0] == 200


def test_errors_of_several_lines_break_no_header(web: Web) -> None:
    binaries = sorted({hit["binary"] for hit in web.search(limit=1_000)["hits"]})
    short = next((one[:4] for one, other in pairwise(binaries) if one[:4] == other[:4]), "l0l0")
    got = web.get(f"/api/binaries/{short}%0d%0aX-Evil:%201")
    assert got.status == 404
    assert "x-evil" not in got.headers
    got = web.get("/api/specs/a%0d%0aX-Evil:%201/b/c")
    assert got.status == 404
    assert "x-evil" not in got.headers

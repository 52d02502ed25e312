"""The HTTP API with every engine: it has the same answers as the command line, within bounds."""

import base64
import csv
import io
import json
import random
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from cachesync.index.base import Index
from cachesync.index.elastic import walk as elastic_walking
from cachesync.index.embedded import walk as embedded_walking
from cachesync.index.engines import open_index
from cachesync.index.server import IndexServer, Layout
from cachesync.search.aliases import load_aliases
from cachesync.search.answer import as_object, ask
from cachesync.search.install import MIRROR_URL
from cachesync.search.request import Request
from cachesync.search.vocabulary import Vocabulary
from cachesync.web import opened_index
from cachesync.web import searcher as searcher_module
from cachesync.web.parameters import read_search
from cachesync.web.searcher import Searcher
from examples.pages import tree
from tests.contract.conftest import ENGINES
from tests.support import elasticsearch
from tests.support.filling import change_for, fill, write
from tests.support.pages import entry, page, path_of
from tests.support.service import until
from tests.support.web import Got, Web, serving

PAGES = dict(tree(tag_count=4, package_count=40, seed=11))
PAGES |= {
    path_of("twin", tag): page(entry("t" * 32), title="twin", tag=tag) for tag in ("develop", "develop-2025-01-05")
}
OS = ("ubuntu22.04", "ubuntu20.04", "rhel8", "rhel9")
PAGES |= {path_of("odd é"): page(entry("o" * 32, compiler="none", variants=["+x", "=y", "@z"]), title="odd é")}


@pytest.fixture(scope="module", params=ENGINES)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """An index that no test changes."""
    is_embedded = request.param == "embedded"
    url = (
        f"embedded:{tmp_path_factory.mktemp('index')}" if is_embedded else request.getfixturevalue("elasticsearch_url")
    )
    name = f"web-{random.Random().randrange(10**12)}"
    index = open_index(IndexServer((url,)), name, Layout(), lambda path: path)
    fill(index, PAGES)
    yield index
    if not is_embedded:
        elasticsearch.remove(url, name)


@pytest.fixture(scope="module")
def web(whole: Index) -> Iterator[Web]:
    with serving(whole) as web:
        yield web


def answer_of_the_command_line(index: Index, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    reader = index.reader()
    return as_object(ask(read_search(pairs).question, reader, Vocabulary(reader, load_aliases()), MIRROR_URL))


def random_search(seed: int) -> list[tuple[str, str]]:
    random_ = random.Random(seed)
    texts = ["", "hdf5", "py-", "+mpi", "gcc", "hdff5", "%gcc@12: target=:zen3", "cmake 3", "no such thing"]
    values = {"os": ("ubuntu22.04", "rhel8"), "target": ("x86_64_v3", "zen4", "aarch64"), "stacks": ("e4s", "root")}
    pairs = [("q", random_.choice(texts)), ("limit", str(random_.choice((0, 1, 20, 1_000))))]
    for field in random_.sample(sorted(values), random_.randint(0, 2)):
        pairs += [(field, value) for value in random_.sample(values[field], random_.randint(1, 2))]
    pairs += [("facet", field) for field in random_.sample(("os", "variants:5", "package", "tag"), 2)]
    pairs += random_.choice(([], [("sort", "version:desc"), ("sort", "os")], [("sort", "tag_date")]))
    pairs += random_.choice(([], [("tag", "latest")], [("arch", "linux-rhel8-zen3")]))
    return [*pairs, ("distinct", random_.choice(("true", "false")))]


@pytest.mark.parametrize("seed", range(30))
def test_answers_are_those_of_the_command_line(whole: Index, web: Web, seed: int) -> None:
    pairs = random_search(seed)
    found, wanted = web.get("/api/search", pairs).json, answer_of_the_command_line(whole, pairs)
    assert found.pop("took_ms") > 0
    del wanted["took_ms"]
    assert found == json.loads(json.dumps(wanted))


@pytest.mark.parametrize(
    "parameters", [{}, {"q": "py-"}, {"distinct": "true"}, {"sort": "os:desc", "arch": "linux-rhel8-zen3"}]
)
def test_cursors_lead_to_every_hit_once(web: Web, parameters: dict[str, str]) -> None:
    wanted = [
        json.loads(line)["_id"] for line in web.get("/api/search", {**parameters, "format": "ndjson"}).body.splitlines()
    ]
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = web.search(**parameters, **cursor, limit=171)
        found += [hit["_id"] for hit in answer["hits"]]
        if answer["next"] is None:
            break
        cursor = {"cursor": answer["next"]}
    assert len(found) == answer["binaries" if "distinct" in parameters else "total"]
    assert found == wanted


def test_csv_is_complete_and_has_no_formulas(web: Web) -> None:
    got = web.get("/api/search", {"format": "csv", "package": "odd é"})
    assert got.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(got.body.decode())))
    assert [row["variants"] for row in rows] == ["[+x =y @z]"]
    assert not [cell for row in rows for cell in row.values() if cell.startswith(tuple("=+-@\t\r\n"))]
    every = web.get("/api/search", {"format": "csv"}).body.decode()
    assert len(list(csv.reader(io.StringIO(every)))) == web.search()["total"] + 1
    assert len(web.get("/api/search", {"format": "ndjson", "limit": 7}).body.splitlines()) == 7


def test_one_spec_and_one_binary(web: Web) -> None:
    (hit,) = web.search(package="odd é")["hits"]
    assert web.get(f"/api/specs/{hit['_id']}").json == hit
    assert web.get("/api/specs/no/such/thing").status == 404
    binary = web.get(f"/api/binaries/{'t' * 5}").json
    assert (binary["binary"], binary["tags"]) == ("t" * 32, ["develop-2025-01-05", "develop"])
    assert len(binary["documents"]) == 2
    assert web.get(f"/api/binaries/{'t' * 32}").json["documents"] == binary["documents"]
    assert web.get("/api/binaries/nonesuch").status == 404
    assert web.get("/api/binaries/ttt").status == 400


def test_an_ambiguous_hash_prefix(web: Web, whole: Index) -> None:
    hashes = sorted({hit["binary"] for hit in whole.reader().search(Request(limit=5_000)).hits})
    start = next(one[:4] for one, other in pairwise(hashes) if one[:4] == other[:4])
    got = web.get(f"/api/binaries/{start}")
    assert got.status == 409
    assert "fits" in got.json["error"]


def test_suggestions_tags_and_differences(web: Web) -> None:
    assert web.get("/api/suggest", {"q": "twi"}).json["suggestions"] == [
        {"package": "twin", "specs": 2, "why": "prefix"}
    ]
    assert web.get("/api/suggest", {"q": "", "limit": 3}).json == {"suggestions": []}
    tags = web.get("/api/tags").json["tags"]
    assert sum(tag["specs"] for tag in tags) == web.search()["total"]
    assert [tag["date"] for tag in tags if tag["date"]] == sorted(
        (tag["date"] for tag in tags if tag["date"]), reverse=True
    )
    assert any(tag["stacks"] for tag in tags)
    first, second = tags[0]["tag"], tags[1]["tag"]
    difference = web.get("/api/diff", {"from": first, "to": second}).json
    assert (difference["from"], difference["to"]) == (first, second)
    assert len(difference["added"]) == sum(each["added"] for each in difference["packages"])
    assert web.get("/api/diff", {"from": first, "to": "nowhere"}).status == 404
    assert web.get("/api/diff", {"from": first}).status == 400


def test_an_unchanged_response_is_not_sent_again(web: Web) -> None:
    got = web.get("/api/search", {"q": "hdf5"})
    etag = got.headers["etag"]
    for told in (etag, f'"x", {etag.removeprefix("W/")}', "*"):
        again = web.get("/api/search", {"q": "hdf5"}, {"If-None-Match": told})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
    assert web.get("/api/search", {"q": "hdf5", "limit": 1}, {"If-None-Match": etag}).status == 200
    assert web.get("/api/search", {"q": "hdf5"}, method="HEAD").headers["etag"] == etag


@pytest.mark.parametrize(
    ("accept", "is_compressed"),
    [("gzip", True), ("deflate, gzip;q=0.5", True), ("*", True), ("gzip;q=0", False), ("identity", False), ("", False), ("br", False)],
)  # fmt: skip
@pytest.mark.parametrize("form", ["json", "csv"])
def test_responses_are_compressed_if_the_client_accepts_it(
    web: Web, accept: str, is_compressed: bool, form: str
) -> None:
    got = web.get("/api/search", {"limit": 50, "format": form}, {"Accept-Encoding": accept})
    assert (got.headers.get("content-encoding") == "gzip") == is_compressed
    assert "Accept-Encoding" in got.headers["vary"]
    assert b"twin" in web.get("/api/search", {"q": "twin", "format": form}, {"Accept-Encoding": accept}).body


@pytest.mark.parametrize(
    ("path", "parameters", "status", "at"),
    [
        ("/api/search", {"q": "hdf5@@1"}, 400, 5),
        ("/api/search", {"q": "zlib ^mpi"}, 400, 6),
        ("/api/search", {"qq": "1"}, 400, None),
        ("/api/search", {"limit": "1001"}, 400, None),
        ("/api/search", {"limit": "-1"}, 400, None),
        ("/api/search", [("limit", "1"), ("limit", "2")], 400, None),
        ("/api/search", {"mode": "spec ", "q": "x"}, 400, None),
        ("/api/search", {"facet": "spec"}, 400, None),
        ("/api/search", {"sort": "variants"}, 400, None),
        ("/api/search", {"arch": "x"}, 400, None),
        ("/api/search", {"tag": ["latest", "develop"]}, 400, None),
        ("/api/search", {"cursor": "x"}, 400, None),
        ("/api/search", {"cursor": "AAAA" * 3_000}, 400, None),
        ("/api/search", {"q": "x" * 1_001}, 400, 1_001),
        ("/api/search", {"format": "xml"}, 400, None),
        ("/api/search", [("os", str(number)) for number in range(300)], 400, None),
        ("/api/search", {"q": "@@", "format": "csv"}, 400, 1),
        ("/api/suggest", {"limit": "x"}, 400, None),
        ("/api/tags", {"x": "1"}, 400, None),
        ("/api/nothing", {}, 404, None),
        ("/api/binaries/%00%ff", {}, 400, None),
    ],
)
def test_invalid_requests_get_an_error_message(
    web: Web, path: str, parameters: Any, status: int, at: int | None
) -> None:
    got = web.get(path, parameters)
    assert got.status == status, got
    assert got.json["error"]
    assert got.json["at"] == at


def test_a_cursor_belongs_to_one_search(web: Web) -> None:
    cursor = web.search(limit=1)["next"]
    assert web.get("/api/search", {"limit": 5, "cursor": cursor, "facet": "os"}).status == 200
    assert web.get("/api/search", {"q": "hdf5", "cursor": cursor}).status == 400
    assert web.get("/api/search", {"sort": "os", "cursor": cursor}).status == 400


def test_only_reading_is_allowed(web: Web) -> None:
    for path in ("/api/search", "/healthz", "/api/binaries/abcd", "/openapi.json"):
        assert web.get(path, method="HEAD").body == b""
        got = web.get(path, method="POST")
        assert (got.status, set(got.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})


def test_the_description_has_all_endpoints(web: Web) -> None:
    described = web.get("/openapi.json").json
    assert described["openapi"].startswith("3.1")
    wanted = {"/api/search", "/api/specs/{id}", "/api/binaries/{hash}", "/api/suggest", "/api/tags", "/api/diff"}
    assert wanted | {"/healthz", "/readyz", "/api/status", "/openapi.json"} == set(described["paths"])


def test_changes_new_generations_and_new_names_are_noticed(index: Index) -> None:
    with serving(index) as web:
        assert web.get("/readyz").status == 503
        got = web.get("/api/search")
        assert (got.status, int(got.headers["retry-after"]) > 0) == (503, True)
        fill(index, PAGES)
        seen(web, "twin", 2)
        new = page(entry("n" * 32), title="newcomer")
        with index.writer(5) as writer:
            live = writer.live()
            assert live
            write(live, [change_for(path_of("newcomer"), new)])
        seen(web, "newcomer", 1)
        assert web.get("/api/suggest", {"q": "newco"}).json["suggestions"]
        fill(index, {path_of("twin"): PAGES[path_of("twin")]})
        seen(web, "newcomer", 0)
        assert web.search()["total"] == 1
        assert web.get("/readyz").json == {"ready": True, "reason": None, "degraded": []}


def seen(web: Web, text: str, total: int) -> None:
    def is_so() -> bool:
        got: Got = web.get("/api/search", {"q": text, "mode": "spec"})
        return got.status == 200 and got.json["total"] == total

    until(is_so, f"{total} of {text}", 20)


@pytest.mark.parametrize("asked", [[], [("distinct", "true"), ("sort", "tag")]])
def test_an_export_continues_if_its_generation_is_removed(
    index: Index, asked: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in (
        (embedded_walking, "PART_SIZE"),
        (elastic_walking, "PART_SIZE"),
        (elastic_walking, "WALK_SIZE"),
    ):
        monkeypatch.setattr(module, name, 40)
    fill(index, PAGES)
    searcher = Searcher(index, load_aliases(), MIRROR_URL)
    question = read_search(asked).question
    wanted = searcher.ask(question._replace(limit=10_000)).found.hits
    parts = searcher.export(question, None, None)
    found = next(parts)
    for _ in range(3):
        fill(index, PAGES)
    found += [hit for hits in parts for hit in hits]
    assert found == wanted


def asked_of(searcher: Searcher, pairs: Mapping[str, str], cursor: str | None = None) -> Any:
    parameters = read_search([*pairs.items(), *([("cursor", cursor)] if cursor else [])])
    return as_object(searcher.ask(parameters.question, parameters.cursor))


def add(index: Index, pages: Mapping[str, bytes]) -> None:
    with index.writer(5) as writer:
        live = writer.live()
        assert live
        write(live, [change_for(path, data) for path, data in pages.items()])


def test_the_interpretation_of_a_walk_in_progress_stays_cached(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened_index, "RECHECK_SECONDS", 0)
    monkeypatch.setattr(searcher_module, "MOST_REMEMBERED", 2)
    walk = {"q": "spa", "limit": "1"}
    fill(index, {path_of("spark"): page(*(entry(f"s{n}", os=os) for n, os in enumerate(OS * 2)), title="spark")})
    searcher = Searcher(index, load_aliases(), MIRROR_URL)
    answer = asked_of(searcher, walk)
    add(index, {path_of("spades"): page(entry("n"), title="spades")})
    until(lambda: asked_of(searcher, walk)["total"] == 9, "another interpretation", 20)
    for os in OS:
        answer = asked_of(searcher, walk, answer["next"])
        assert answer["total"] == 8
        asked_of(searcher, {"package": "spark", "os": os, "limit": "1"})


def unpacked(cursor: str) -> list[Any]:
    found: list[Any] = msgspec.msgpack.decode(base64.urlsafe_b64decode(cursor + "==="))
    return found


def packed(values: list[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(values)).rstrip(b"=").decode()


def test_a_forged_cursor_with_another_searchs_request_is_refused(web: Web) -> None:
    mine, other = web.search(q="hdf5", limit=1)["next"], web.search(tag="develop", limit=1)["next"]
    forged = packed([*unpacked(mine)[:2], *unpacked(other)[2:]])
    assert web.get("/api/search", {"tag": "develop", "cursor": other}).status == 200
    assert web.get("/api/search", {"q": "hdf5", "cursor": forged}).status == 400


def of_tag(tag: str, *hashes: str) -> dict[str, bytes]:
    return {path_of(tag=tag): page(*map(entry, hashes), tag=tag)}


@pytest.mark.parametrize("asked", [{"tag": "latest"}, {"q": "zlib develop"}, {"q": "zlib", "distinct": "true"}])
def test_a_walk_that_began_before_a_new_tag_continues_on_any_server(
    index: Index, asked: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first server only knew the old tags; the others have an empty cache."""
    monkeypatch.setattr(opened_index, "RECHECK_SECONDS", 0)
    fill(index, of_tag("develop-2025-01-05", *"abcde") | of_tag("develop-2024-12-29", "a"))
    searcher = Searcher(index, load_aliases(), MIRROR_URL)
    wanted = asked_of(searcher, asked)
    answer = asked_of(searcher, {**asked, "limit": "2"})
    met = answer["hits"]
    add(index, of_tag("develop-2025-01-12", *"dz"))
    until(lambda: asked_of(searcher, {"tag": "develop-2025-01-12"})["total"] == 2, "a new tag", 20)
    while answer["next"]:
        is_of_others = len(met) == 2
        other = Searcher(index, load_aliases(), MIRROR_URL)
        answer = asked_of(other if is_of_others else searcher, {**asked, "limit": "2"}, answer["next"])
        assert answer["total"] == wanted["total"]
        met += answer["hits"]
    assert met == wanted["hits"]


@pytest.mark.parametrize("tags", [b"", b"x", b"xyz", bytes(range(250)) * 50])
def test_a_cursor_that_names_other_tags_shows_no_other_hits(web: Web, tags: bytes) -> None:
    whole = {hit["_id"] for hit in web.search(q="hdf5", limit=1_000)["hits"]}
    version, question, request, _, place = unpacked(web.search(q="hdf5", limit=1)["next"])
    got = web.get("/api/search", {"q": "hdf5", "cursor": packed([version, question, request, tags, place])})
    assert got.status == 200
    assert {hit["_id"] for hit in got.json["hits"]} <= whole


@pytest.mark.parametrize(("distinct", "missed"), [("false", set()), ("true", {"d"})])
def test_only_distinct_walks_miss_a_binary_added_earlier_in_an_existing_tag(
    index: Index, distinct: str, missed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This limit is documented in `docs/web.md`: its new document can't be told apart from one already shown."""
    monkeypatch.setattr(opened_index, "RECHECK_SECONDS", 0)
    fill(index, of_tag("develop-2025-01-05", *"abcde") | of_tag("develop-2025-01-12", "a"))
    searcher = Searcher(index, load_aliases(), MIRROR_URL)
    asked = {"q": "zlib", "distinct": distinct, "limit": "3"}
    answer = asked_of(searcher, asked)
    met = {hit["binary"] for hit in answer["hits"]}
    before = of_tag("develop-2025-01-12", "a")
    with index.writer(5) as writer:
        live = writer.live()
        assert live
        write(
            live, [change_for(path, data, before[path]) for path, data in of_tag("develop-2025-01-12", *"ad").items()]
        )
    until(lambda: asked_of(searcher, {"tag": "latest"})["total"] == 2, "another document", 20)
    while answer["next"]:
        answer = asked_of(searcher, asked, answer["next"])
        met |= {hit["binary"] for hit in answer["hits"]}
    assert set("abcde") - met == missed

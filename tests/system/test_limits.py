"""A server whose administrator allows less than usual. It is one of the tests' own: its settings are everybody's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cachesync.errors import UsageError
from cachesync.index.elastic import ElasticIndex, searcher
from cachesync.index.server import IndexServer, Layout
from cachesync.search.query import All, And, Not, Or, Prefix, Range
from cachesync.search.request import Request
from examples.pages import write_tree
from tests.contract.test_search import CORPUS, TYPED, same
from tests.support import elasticsearch
from tests.support.asking import asked
from tests.support.filling import fill
from tests.support.pages import entry, page, path_of, put
from tests.support.sandbox import Sandbox

STRICT: dict[str, Any] = {
    "action.auto_create_index": "false",
    "action.destructive_requires_name": True,
    "indices.id_field_data.enabled": False,
    "search.allow_expensive_queries": False,
    "search.default_keep_alive": "20s",
    "search.max_buckets": 50,
    "search.max_keep_alive": "30s",
    "search.max_open_scroll_context": 0,
}


def allow(url: str, settings: dict[str, Any]) -> None:
    elasticsearch.request(f"{url}/_cluster/settings", "PUT", {"persistent": settings})


@pytest.fixture
def strict(mortal: elasticsearch.Server) -> Iterator[str]:
    """The URL of a server that allows little."""
    allow(mortal.url, STRICT)
    yield mortal.url
    allow(mortal.url, dict.fromkeys(STRICT))
    elasticsearch.remove(mortal.url, "test-")


@pytest.fixture
def sandbox(strict: str, tmp_path: Path, index_name: str) -> Sandbox:
    return Sandbox(tmp_path, strict, index_name)


@pytest.fixture
def index(strict: str, index_name: str) -> ElasticIndex:
    return ElasticIndex(IndexServer((strict,)), index_name, Layout())


def test_all_commands_work_as_ever(sandbox: Sandbox) -> None:
    write_tree(sandbox.root, tag_count=3, package_count=25)
    sandbox.run("sync")
    assert sandbox.documents() == sandbox.rendered()
    put(sandbox.root, page(entry("new")), "new")
    assert sandbox.json("sync")["specs"]["added"] == 1
    for command in ("reindex", "verify", "rollback", "reindex", "status"):
        sandbox.run(command)
    assert sandbox.documents() == sandbox.rendered()
    assert [hit["hash"] for hit in sandbox.json("search", "/new")["hits"]] == ["new"]


@pytest.mark.parametrize("shards", [1, 3])
def test_whatever_is_typed_finds_the_same(strict: str, index_name: str, shards: int) -> None:
    index = ElasticIndex(IndexServer((strict,)), index_name, Layout(shards=shards))
    fill(index, CORPUS)
    reader = index.reader()
    for typed in ("mkl", "py-p", "hdf", "hdf5 gcc", "e4s cmake", "develop-2025", "py", "/a", "/zzz", "~mpi zen4"):
        same(reader, asked(reader, typed)._replace(limit=20_000))


@pytest.mark.parametrize(
    "query",
    [
        Prefix("package", "py-"),
        Prefix("package", "nothing"),
        Not(Prefix("package", "py-")),
        And((Prefix("version", "1"), Not(Prefix("variants", "+")))),
        Or((Prefix("hash", "a"), Prefix("hash", "b"), All())),
        Range("version_key", "2a3", "2a4"),
        Range("version_key", "2a3", None),
        Not(Range("version_key", None, "2a3")),
        Range("hash", "zz", None),
    ],
)
def test_beginnings_mean_the_same(index: ElasticIndex, query: Any) -> None:
    fill(index, CORPUS)
    same(index.reader(), Request(query=query, ranks=(query,), limit=20_000))


def test_what_people_type_finds_what_they_mean(index: ElasticIndex) -> None:
    fill(index, {path_of(name): data for name, data in TYPED.items()})
    reader = index.reader()
    for typed, ids in {"zl": "z1", "oneapi-mk": "m1", "py-_ pip_": "p1 p2", "zlib\u200b": "z1", "24.3": "p2"}.items():
        assert sorted(hit["hash"] for hit in reader.search(asked(reader, typed)).hits) == ids.split()


def test_the_records_of_folders_are_found(index: ElasticIndex) -> None:
    fill(index, CORPUS)
    tag = min(path for path in CORPUS if "/develop-" in path).split("/")[1]
    below = [f"_cache/{tag}/", f"_cache/{tag}/zlib/", "_cache/nothing/", path_of("sized").removesuffix("specs.md")]
    records = [record.page for record in index.reader().records(below)]
    assert sorted(records) == sorted(path for path in CORPUS if path.startswith(tuple(below)))
    assert len(records) > 10


def test_beginnings_of_too_many_values_name_the_setting(
    index: ElasticIndex, monkeypatch: pytest.MonkeyPatch, strict: str
) -> None:
    monkeypatch.setattr(searcher, "MAX_VALUES", 3)
    monkeypatch.setattr(searcher, "ENUM_SIZE", 2)
    fill(index, {path_of(name): page(entry("h"), title=name) for name in ("pa", "pb", "pc", "pd", "q")})
    for start, total in {"q": 1, "pa": 1, "z": 0}.items():
        assert index.reader().search(Request(query=Prefix("package", start))).total == total
    with pytest.raises(UsageError, match=r"package begin with 'p'.*\n?.*search\.allow_expensive_queries"):
        index.reader().search(Request(query=Prefix("package", "p")))
    allow(strict, {"search.allow_expensive_queries": None})
    assert index.reader().search(Request(query=Prefix("package", "p"))).total == 4
    allow(strict, {"search.allow_expensive_queries": False})
    assert len(list(index.reader().records(["_cache/"]))) == 5, "a pass is never refused for that"


def test_more_values_than_one_query_may_name_are_named_by_several(index: ElasticIndex, strict: str) -> None:
    fill(index, CORPUS)
    elasticsearch.request(f"{strict}/{index.name}-1/_settings", "PUT", {"index.max_terms_count": 7})
    same(index.reader(), Request(query=Prefix("hash", ""), limit=20_000))


def test_more_values_of_facets_than_the_server_counts_name_the_setting(sandbox: Sandbox) -> None:
    put(sandbox.root, page(*(entry(f"h{number}") for number in range(60))))
    sandbox.run("sync")
    assert len(sandbox.json("search", "--facet", "hash:50")["facets"]["hash"]) == 50
    told = sandbox.run("search", "--facet", "hash:51", expect=2).stderr
    assert "search.max_buckets is 50" in told


def test_no_room_for_more_shards_names_the_setting(sandbox: Sandbox, mortal: elasticsearch.Server) -> None:
    put(sandbox.root, page(entry()))
    allow(mortal.url, {"cluster.max_shards_per_node": 1})
    try:
        assert "cluster.max_shards_per_node" in sandbox.run("sync", expect=3).stderr
    finally:
        allow(mortal.url, {"cluster.max_shards_per_node": None})
    sandbox.run("sync")

"""Tests of the Elasticsearch engine alone: its connection, its lease, and responses that a server may give."""

import contextlib
import itertools
import math
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest
from elastic_transport import Transport
from elasticsearch import ConnectionTimeout, Elasticsearch
from structlog.testing import capture_logs

from cachesync.context import Context, StoppedError, running, within
from cachesync.errors import ForbiddenError, IndexUnavailableError, IndexUnusableError, OvertakenError, UsageError
from cachesync.index.elastic import ElasticIndex, aliases, bulk, cluster, foreign, lease, mapping, pace, shards, walk
from cachesync.index.elastic.catalog import read_catalog
from cachesync.index.elastic.connection import REQUEST_SECONDS, Connection
from cachesync.index.elastic.generation import ElasticGeneration
from cachesync.index.elastic.lease import Lease, Watched
from cachesync.index.elastic.limits import Limits
from cachesync.index.elastic.pace import MAX_IN_FLIGHT, MIN_BYTES, START_BYTES, Pace
from cachesync.index.elastic.store import ElasticStore
from cachesync.index.elastic.stored_lease import Holder, LeaseState, Seen, StoredLease
from cachesync.index.generation import PageChange, Put
from cachesync.index.server import IndexServer, Layout
from cachesync.pages.pattern import Pattern
from cachesync.search.request import Request as Search
from cachesync.sync import full_sync
from cachesync.sync.guard import Guard
from cachesync.sync.report import Report
from cachesync.sync.scan import Source
from tests.support import elasticsearch
from tests.support.filling import change_for, fill, write
from tests.support.pages import entry, page, path_of, put
from tests.support.proxy import Answer, Proxy, Request, refusal

A = path_of("a")
EVERYTHING = Search(limit=8_000)


@pytest.fixture
def index(elasticsearch_index: str, index_name: str) -> ElasticIndex:
    return ElasticIndex(IndexServer((elasticsearch_index,)), index_name, Layout())


# --- what a server may answer -------------------------------------------------------------------------------------------


@pytest.fixture
def answering() -> Iterator[Callable[[Answer], Connection]]:
    """A connection to a server that always gives the same response."""
    given: list[Answer] = []
    with Proxy("http://127.0.0.1:9", lambda _request: given[0]).running() as proxy:

        def connect(answer: Answer) -> Connection:
            given.append(answer)
            return Connection(IndexServer((proxy.url,)), patience=0.2)

        yield connect


def html(status: int, title: str, *headers: tuple[str, str]) -> Answer:
    """A response of a proxy in the server's place."""
    body = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1><hr>nginx</body>\r\n</html>"
    return Answer(status, [("Content-Type", "text/html"), *headers], body.encode())


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (refusal(401, "security_exception"), "refuses the credentials: check index.api_key"),
        (refusal(403, "security_exception", "no right"), r"refuses a request \(403\): no right"),
        (refusal(403, "cluster_block_exception", "index read-only"), r"refuses a request \(403\): index read-only"),
        (refusal(429, "rejected", "busy"), r"stayed overloaded for 0\.2 s: busy"),
        (refusal(503, "unavailable", "starting"), r"stayed overloaded for 0\.2 s: starting"),
        (refusal(404, "index_not_found_exception", "no such index"), "no such index"),
        (refusal(500, "null_pointer_exception", "oops"), r"refuses a request \(500\): oops"),
        (
            refusal(400, "media_type_header_exception", "Invalid media-type value on headers [Content-Type, Accept]"),
            r"older than the client, .*\n.*pip install 'cachesync\[es8\]'",
        ),
        (refusal(400, "index_closed_exception", "closed"), "the index .* is closed: open it, by POST .*/_open"),
        (
            refusal(400, "validation_exception", "this cluster currently has [3]/[1] maximum normal shards open"),
            r"\nRaise cluster\.max_shards_per_node",
        ),
        *(
            (
                html(status, "Moved", ("Location", "https://es.example.org:9243/a/_search?b=c")),
                r"redirects to https://es\.example\.org:9243: index\.url must be",
            )
            for status in (301, 302, 303, 307, 308)
        ),
        (html(302, "Found", ("Location", "/login")), "redirects to /login: index.url must be"),
        (html(302, "Found"), "redirects to an unknown address"),
        (html(413, "413 Request Entity Too Large"), r"http\.max_content_length .*client_max_body_size"),
        (html(403, "403 Forbidden"), r"refuses a request \(403\): 403 Forbidden$"),
        (html(503, "Maintenance"), r"stayed overloaded for 0\.2 s: Maintenance$"),
        (
            refusal(200)._replace(headers=[("Content-Type", "application/json")]),
            "is not an Elasticsearch server: check index.url",
        ),
        *(
            (
                html(status, "Error response"),
                rf"is not an Elasticsearch server \({status}: Error response\): check index.url",
            )
            for status in (400, 404, 405, 415, 501)
        ),
        (refusal(200)._replace(body=b"<html>"), "cannot reach Elasticsearch"),
    ],
)
def test_each_failure_is_explained(answering: Callable[[Answer], Connection], answer: Answer, says: str) -> None:
    connection = answering(answer)
    with pytest.raises(IndexUnavailableError, match=says):
        connection.call(lambda client: client.cluster.health())


@pytest.mark.parametrize(
    ("answer", "is_forbidden"),
    [
        (refusal(403, "security_exception", "no right"), True),
        (refusal(401, "security_exception"), False),
        (refusal(403, "cluster_block_exception"), False),
        (html(403, "Forbidden"), False),
    ],
)
def test_a_missing_right_is_distinguished_from_other_refusals(
    answering: Callable[[Answer], Connection], answer: Answer, is_forbidden: bool
) -> None:
    with pytest.raises(IndexUnavailableError) as caught:
        answering(answer).call(lambda client: client.get(index="a", id="b"))
    assert isinstance(caught.value, ForbiddenError) == is_forbidden


def test_an_unreachable_server_is_named() -> None:
    connection = Connection(IndexServer(("http://127.0.0.1:9", "http://127.0.0.1:10")), patience=0.2)
    with pytest.raises(IndexUnavailableError, match=r"cannot reach Elasticsearch at http://127\.0\.0\.1:9,http"):
        connection.call(lambda client: client.cluster.health())


def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"index\.ca_certs: cannot read .*none\.pem"):
        Connection(IndexServer(("https://127.0.0.1:9",), ca_certs=tmp_path / "none.pem"), patience=0)


def test_one_refused_operation_does_not_block_the_others(index: ElasticIndex) -> None:
    """Elasticsearch refuses a whole request for one id that is too long."""
    change = change_for(A, page(*(entry(f"{number}") for number in range(9)), title="a"))
    long = Put("develop/a/" + "x" * 600, change.puts[0].source, is_new=True)
    change = change._replace(
        puts=[*change.puts[:4], long, *change.puts[4:]], digests={**change.digests, "x" * 600: b""}
    )
    with index.writer(1) as writer:
        generation = writer.build()
        (written,) = generation.write([change])
        assert [refused.id for refused in written.refused] == [long.id]
        assert "too long" in written.refused[0].reason
        assert generation.size() == (9, 1)


def test_responses_to_single_operations_are_classified() -> None:
    operations = [bulk.put(f"{number}", 1, b"{}") for number in range(6)] + [bulk.delete("gone", 1)]
    failures = [
        (429, "es_rejected_execution_exception"),
        (403, "cluster_block_exception"),
        (409, "version_conflict_engine_exception"),
        (400, "strict_dynamic_mapping_exception"),
        (503, "unavailable_shards_exception"),
    ]
    items: list[dict[str, Any]] = [{"index": {"status": 201}}]
    items += [{"index": {"status": status, "error": {"type": kind, "reason": kind}}} for status, kind in failures]
    outcome = bulk.classified(operations, [*items, {"delete": {"status": 404}}], "http://somewhere")
    assert list(outcome.again) == [operations[1], operations[2], operations[5]]
    assert [refused.id for refused in outcome.sent.refused] == ["4"]
    assert outcome.sent.stale == 1


def test_requests_are_bounded_in_bytes() -> None:
    operations = [bulk.put("x", 1, b"{}")] * 7 + [bulk.put("y", 1, b"{" + b" " * 500 + b"}"), bulk.put("z", 1, b"{}")]
    sent: list[bytes] = []

    def take(request: Request) -> Answer:
        sent.append(request.body)
        items = [{"index": {"status": 201}}] * request.body.count(b'{"index":')
        return refusal(200)._replace(body=msgspec.json.encode({"took": 1, "items": items}))

    with Proxy("http://127.0.0.1:9", take).running() as proxy:
        connection = Connection(IndexServer((proxy.url,)), patience=5)
        connection.limits = connection.limits._replace(body=3 * len(operations[0]) + 5)
        assert bulk.Bulk(connection).send("a", operations, sum(map(len, operations))) == bulk.Sent()
    assert [body.count(b'{"index":') for body in sent] == [3, 3, 1, 1, 1]
    assert b"".join(sent) == b"".join(operations)


def test_the_pace_follows_the_server() -> None:
    pace = Pace()
    assert (pace.in_flight, pace.bytes) == (2, START_BYTES)
    for _ in range(50):
        pace.answered(0.4, took=0.39)
    assert (pace.in_flight, pace.bytes) == (2, START_BYTES), "two keep a nearby server busy"
    for _ in range(50):
        pace.answered(0.4, took=0.1)
    assert pace.in_flight == 8, "a distant server needs more in flight"
    pace.overloaded()
    assert (pace.in_flight, pace.bytes) == (4, START_BYTES // 2)
    for _ in range(20):
        pace.overloaded()
    assert (pace.in_flight, pace.bytes) == (1, MIN_BYTES)
    for _ in range(100):
        pace.answered(0.1, took=0.0)
    assert (pace.in_flight, pace.bytes) == (MAX_IN_FLIGHT, START_BYTES)
    pace.answered(9, took=9)
    assert pace.bytes == START_BYTES // 2, "slow answers make smaller requests"


def test_a_reason_that_only_the_cause_has_is_reported(answering: Callable[[Answer], Connection]) -> None:
    body = (
        b'{"error":{"root_cause":[],"type":"search_phase_execution_exception","reason":"",'
        b'"caused_by":{"type":"too_many_buckets_exception","reason":"too many"}},"status":400}'
    )
    with pytest.raises(IndexUnavailableError, match=r"refuses a request \(400\): too many"):
        answering(refusal(400)._replace(body=body)).call(lambda client: client.cluster.health())


@pytest.mark.parametrize(
    ("url", "node"),
    [
        ("https://es.example.org", "https://es.example.org:443"),
        ("http://es.example.org", "http://es.example.org:80"),
        ("https://es.example.org/path", "https://es.example.org:443/path"),
        ("https://[::1]", "https://[::1]:443"),
        ("https://[::1]:9200", "https://[::1]:9200"),
        ("http://es:9200/path", "http://es:9200/path"),
    ],
)
def test_a_url_without_a_port_gets_its_protocols_default(url: str, node: str) -> None:
    assert IndexServer((url,)).nodes == (node,)
    Connection(IndexServer((url,)), patience=0).close()


def test_if_the_default_port_is_closed_elasticsearchs_own_is_suggested() -> None:
    connection = Connection(IndexServer(("http://127.0.0.2",)), patience=0.1)
    with pytest.raises(IndexUnavailableError, match=r"without a port .*9200"):
        connection.call(lambda client: client.cluster.health())


# --- limits -------------------------------------------------------------------------------------------------------------


def small(limit: int, refused: list[int]) -> Callable[[Request], Answer | None]:
    """A proxy that refuses requests of more than ``limit`` bytes."""

    def refuse(request: Request) -> Answer | None:
        if len(request.body) <= limit:
            return None
        refused.append(len(request.body))
        return html(413, "413 Request Entity Too Large")

    return refuse


@pytest.mark.parametrize("limit", [6_000, 20_000, 100_000, 1_000_000])
def test_requests_shrink_to_the_limit_of_a_proxy(index: ElasticIndex, tmp_path: Path, limit: int) -> None:
    for number in range(90):
        entries = (entry(f"{n}", variants=["+v" * 20]) for n in range(40))
        put(tmp_path, page(*entries, title=f"p{number}"), f"p{number}")
    refused: list[int] = []
    with Proxy(index.url, small(limit, refused)).running() as proxy:
        through = ElasticIndex(IndexServer((proxy.url,)), index.name, Layout())
        assert sync(through, tmp_path).specs.added == 3600
        assert len(refused) <= 24, "sizes that were too large aren't retried"
        refused.clear()
        for number in range(90):
            entries = (entry(f"{n}", variants=["+w" * 20]) for n in range(40))
            put(tmp_path, page(*entries, title=f"p{number}"), f"p{number}")
        assert sync(through, tmp_path).specs.updated == 3600
        assert not refused, "the limit is remembered while the process runs"
    assert index.reader(refresh=True).size() == (3600, 90)


def test_a_document_that_is_too_large_is_a_problem_of_its_page(index: ElasticIndex, tmp_path: Path) -> None:
    put(tmp_path, page(entry("1"), entry("2", variants=["+v" * 2500]), entry("3"), title="a"), "a")
    put(tmp_path, page(entry("1"), title="b"), "b")
    with Proxy(index.url, small(5_000, [])).running() as proxy:
        report = sync(ElasticIndex(IndexServer((proxy.url,)), index.name, Layout()), tmp_path)
    (problem,) = report.problems
    assert problem.page == A
    assert "http.max_content_length" in problem.message
    assert sorted(each.id for each in index.reader(refresh=True).documents()) == [
        "develop/a/1",
        "develop/a/3",
        "develop/b/1",
    ]


def test_requests_for_many_pages_or_folders_are_split(index: ElasticIndex) -> None:
    paths = [path_of("p" * 90 + f"{number}") for number in range(400)]
    fill(index, {path: page(entry("1"), title="a") for path in paths})
    refused: list[int] = []
    with Proxy(index.url, small(20_000, refused)).running() as proxy:
        reader = ElasticIndex(IndexServer((proxy.url,)), index.name, Layout()).reader(refresh=True)
        assert sorted(reader.remembered(paths)) == sorted(paths)
        folders = [path.removesuffix("specs.md") for path in paths]
        found = [record.page for record in reader.records([*folders, "_cache/", "_cache/develop/"])]
        assert sorted(found) == sorted(paths), "each once"
        found = [record.page for record in reader.records(folders[:300])]
        assert sorted(found) == sorted(paths[:300])
    assert not refused


@pytest.mark.parametrize("window", [1, 7, 9_999])
def test_the_server_may_allow_a_smaller_result_window(index: ElasticIndex, window: int) -> None:
    pages = {path_of(f"p{number}"): page(entry("1"), entry("2"), title=f"p{number}") for number in range(5)}
    fill(index, pages)
    connection = Connection(index.server, 5)
    settings = {"index.max_result_window": window}
    both = [f"{index.name}-1", f"{index.name}-pages-1"]
    connection.call(lambda client: client.indices.put_settings(index=both, settings=settings))
    for request in (EVERYTHING, EVERYTHING._replace(limit=2), EVERYTHING._replace(limit=20_000)):
        found = ElasticIndex(index.server, index.name, Layout()).reader().search(request)
        assert (found.total, len(found.hits)) == (10, min(10, request.limit))
        assert [hit["_id"] for hit in found.hits] == sorted(hit["_id"] for hit in found.hits)
    reader = index.reader()
    assert len(list(reader.documents())) == 10
    assert sorted(record.page for record in reader.records()) == sorted(pages)


# --- walks that the server forgets --------------------------------------------------------------------------------------


def forgetful(proxy: Proxy, when: Callable[[int], bool]) -> Callable[[Request], Answer | None]:
    """Closes the point in time of a search before the searches for whose numbers ``when`` is true."""
    numbers = itertools.count()

    def forget(request: Request) -> Answer | None:
        if request.path.startswith("/_search") and when(next(numbers)):
            pit = msgspec.json.encode({"id": msgspec.json.decode(request.body)["pit"]["id"]})
            gone = proxy.send(request._replace(method="DELETE", path="/_pit", body=pit))
            assert gone.status == 200
        return None

    return forget


@pytest.mark.parametrize("times", [[0], [1], [2, 5], [1, 2, 3], [3, 4]])
def test_a_walk_continues_after_its_point_in_time_is_lost(
    index: ElasticIndex, monkeypatch: pytest.MonkeyPatch, times: list[int]
) -> None:
    monkeypatch.setattr(walk, "WALK_SIZE", 3)
    monkeypatch.setattr("cachesync.index.elastic.connection.Limits", partial(Limits, window=5))
    pages = {path_of(name): page(*(entry(f"{n}") for n in range(4)), title=name) for name in "abcdef"}
    fill(index, pages)
    with Proxy(index.url, lambda _request: None).running() as proxy:
        reader = ElasticIndex(IndexServer((proxy.url,)), index.name, Layout()).reader()
        ids = [f"develop/{name}/{n}" for name in "abcdef" for n in range(4)]
        proxy.deed = forgetful(proxy, times.__contains__)
        assert [each.id for each in reader.documents()] == ids
        proxy.deed = forgetful(proxy, times.__contains__)
        assert [hit["_id"] for hit in reader.search(EVERYTHING).hits] == ids
        proxy.deed = forgetful(proxy, times.__contains__)
        assert sorted(record.page for record in reader.records()) == sorted(pages)


def test_a_server_that_keeps_losing_points_in_time_is_not_damage(index: ElasticIndex) -> None:
    fill(index, {A: page(entry("1"), title="a")})
    with Proxy(index.url, lambda _request: None).running() as proxy:
        reader = ElasticIndex(IndexServer((proxy.url,)), index.name, Layout()).reader()
        proxy.deed = forgetful(proxy, lambda _number: True)
        with pytest.raises(IndexUnavailableError, match="keeps losing the point in time") as caught:
            list(reader.records())
    assert not isinstance(caught.value, IndexUnusableError)


def test_a_closed_index_is_named_and_not_blamed_on_documents(index: ElasticIndex, tmp_path: Path) -> None:
    put(tmp_path, page(entry("1"), title="a"), "a")
    sync(index, tmp_path)
    put(tmp_path, page(entry("2"), title="a"), "a")
    connection = Connection(index.server, 5)
    closed = rf"the index {index.name}-1 at http.* is closed: open it, by POST http.*{index.name}-1/_open"
    with index.writer(1) as writer:
        live = writer.live()
        assert live
        connection.call(lambda client: client.indices.close(index=f"{index.name}-1"))
        for act in (
            lambda: write(live, [change_for(A, page(entry("2"), title="a"), page(entry("1"), title="a"))]),
            lambda: index.reader().search(EVERYTHING),
            lambda: index.reader().get("develop/a/1"),
            lambda: list(index.reader().documents()),
        ):
            with pytest.raises(IndexUnavailableError, match=closed) as caught:
                act()
            assert not isinstance(caught.value, IndexUnusableError)
    connection.call(lambda client: client.indices.open(index=f"{index.name}-1"))
    connection.call(lambda client: client.cluster.health(index=f"{index.name}-1", wait_for_status="yellow"))
    sync(index, tmp_path)
    assert [each.id for each in index.reader(refresh=True).documents()] == ["develop/a/2"]


# --- room for a new generation ------------------------------------------------------------------------------------------


def nodes(**rooms: tuple[str, int]) -> Callable[[Request], Answer | None]:
    """Nodes with a role and so many free bytes each."""
    described = {
        name: {"name": name, "roles": ["ingest", role], "fs": {"total": {"available_in_bytes": room}}}
        for name, (role, room) in rooms.items()
    }
    answer = refusal(200)._replace(body=msgspec.json.encode({"nodes": described}))
    return lambda request: answer if request.path.startswith("/_nodes/") else None


@pytest.mark.parametrize(
    ("rooms", "fits"),
    [
        ({"a": ("data", 10**12)}, True),
        ({"a": ("data_content", 10**12), "b": ("data_hot", 0)}, True),
        ({"a": ("data", 100), "b": ("data", 10**12)}, True),
        (dict.fromkeys("abcdefghij", ("data", 3000)), False),
        ({"a": ("data", 1_000), "b": ("ingest", 10**12), "c": ("data_frozen", 10**12)}, False),
    ],
)
def test_each_shard_of_a_new_generation_must_fit_on_one_node(
    index: ElasticIndex, rooms: dict[str, tuple[str, int]], fits: bool
) -> None:
    fill(index, {A: page(*(entry(f"{n}") for n in range(20)), title="a")})
    with Proxy(index.url, nodes(**rooms)).running() as proxy:
        through = ElasticIndex(IndexServer((proxy.url,)), index.name, Layout())
        with through.writer(1) as writer:
            if fits:
                writer.build()
                return
            with pytest.raises(
                IndexUnavailableError, match=r"no room .* on one node, but there are 0 MB on a"
            ) as caught:
                writer.build()
    assert ("on c" in str(caught.value)) is (rooms["c"][0] == "data"), "nodes that can't hold it aren't named"


@pytest.mark.parametrize(
    ("sizes", "rooms", "fits"),
    [
        ([], [], True),
        ([1], [], False),
        ([5, 5], [5, 5], True),
        ([5, 5], [9], False),
        ([6, 3, 3], [6, 6], True),
        ([6], [5, 5], False),
    ],
)
def test_shards_are_placed_as_a_whole(sizes: list[float], rooms: list[float], fits: bool) -> None:
    assert shards.fits(sizes, rooms) is fits


# --- templates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("lifecycle.name", "delete-after-30-days"),
        ("mode", "time_series"),
        ("sort.field", ["package"]),
        ("analysis.analyzer.default.type", "simple"),
        ("auto_expand_replicas", "0-all"),
        ("routing_partition_size", "2"),
        ("number_of_shards", "2"),
        ("hidden", "false"),
        ("something_of_tomorrow", "true"),
    ],
)
def test_unrequested_settings_are_named(setting: str, value: str) -> None:
    """The server of the tests doesn't know some of these settings."""
    wanted = {"mappings": {"properties": {}}, "settings": {"number_of_shards": 1, "hidden": True}, "aliases": {}}
    settings: dict[str, Any] = {"number_of_shards": "1", "hidden": "true", "uuid": "x", "codec": "best_compression"}
    made: dict[str, Any] = {"mappings": {}, "settings": {"index": settings}, "aliases": {}}
    assert foreign.difference(wanted, made) is None
    *path, last = setting.split(".")
    for name in path:
        settings = settings.setdefault(name, {})
    settings[last] = value
    assert f"{setting} is {value}" in str(foreign.difference(wanted, made))


@pytest.mark.parametrize("alias", [{"filter": {"match_all": {}}}, {"routing": "1"}, {"is_hidden": False}])
def test_a_changed_alias_is_named(alias: dict[str, Any]) -> None:
    wanted = {"mappings": {"properties": {}}, "settings": {}, "aliases": {"ours": {"is_hidden": True}}}
    made = {"mappings": {}, "settings": {"index": {}}, "aliases": {"ours": alias}}
    assert "its alias ours is" in str(foreign.difference(wanted, made))


# --- documents that a server refuses -------------------------------------------------------------------------------------


def sync(index: ElasticIndex, root: Path, *suspects: str) -> Report:
    source = Source(root, Pattern(("_cache/**/specs.md",)), 1_000_000)
    with index.writer(5) as writer:
        return full_sync.sync(source, writer, Guard(0.5), lambda _done, _total: None, suspects)


def test_refused_documents_are_a_problem_of_their_page(
    index: ElasticIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are refused because the mapping lacks the field ``size``."""
    wanted = mapping.specs_mapping(index.name)
    del wanted["properties"]["size"]
    monkeypatch.setattr(mapping, "specs_mapping", lambda _name: wanted)
    put(tmp_path, page(entry("1"), entry("2", size=7), entry("3"), title="bad"), "bad")
    put(tmp_path, page(entry("1"), title="good"), "good")
    first = sync(index, tmp_path)
    assert [(each.page, each.message[:22]) for each in first.problems] == [(path_of("bad"), "the index refused 2: [")]
    assert (first.specs.added, first.pages.added, first.pages.problems) == (3, 1, 1)
    reader = index.reader()
    assert reader.counts() == {path_of("bad"): 2, path_of("good"): 1}
    again = sync(index, tmp_path)
    assert [each.page for each in again.problems] == [path_of("bad")]
    assert (again.specs.added, again.specs.updated, again.specs.deleted) == (0, 0, 0)
    put(tmp_path, page(entry("1"), entry("2"), entry("3"), title="bad"), "bad")
    mended = sync(index, tmp_path)
    assert (mended.problems, mended.specs.added) == ([], 1)


def test_a_refused_update_keeps_the_earlier_document(index: ElasticIndex) -> None:
    before = page(entry("1"), entry("2"), title="a")
    fill(index, {A: before})
    change = change_for(A, page(entry("1"), entry("2", os="other"), title="a"), before)
    bad = msgspec.structs.replace(change.puts[0], source=b'{"nope":1}')
    with index.writer(1) as writer:
        live = writer.live()
        assert live
        (written,) = live.write([change._replace(puts=[bad])])
        assert [each.id for each in written.refused] == ["develop/a/2"]
        record, digests = live.remembered([A])[A]
        assert (record.specs, digests["2"]) == (2, b"")
        assert "the index refused 2: [" in (record.problem or "")
    assert index.reader().counts() == {A: 2}


# --- the lease ----------------------------------------------------------------------------------------------------------


def lease_of(index: ElasticIndex, patience: float = 5) -> Lease:
    return Lease(Connection(index.server, 5), index.name, patience)


def stored(index: ElasticIndex) -> StoredLease:
    return StoredLease(Connection(index.server, 5), index.name)


def state_of(index: ElasticIndex) -> LeaseState:
    return stored(index).read().state


def dead() -> Holder:
    """A process that has ended on this machine."""
    return msgspec.structs.replace(Holder.here(), pid=2**22 + 1)


def abandon(index: ElasticIndex, holder: Holder) -> None:
    """Let the lease be held by a process that neither renews nor releases it."""
    there = stored(index)
    seen = there.read()
    there.replace(seen, msgspec.structs.replace(seen.state, epoch=seen.state.epoch + 1, holder=holder))


def take_over(index: ElasticIndex) -> Lease:
    """Take the lease from its holder, as if that had died, and hold it."""
    there = stored(index)
    seen = there.read()
    there.replace(seen, msgspec.structs.replace(seen.state, holder=dead()))
    other = lease_of(index)
    other.wait()
    return other


def test_the_lease_of_a_dead_local_process_is_taken_over_at_once(index: ElasticIndex) -> None:
    assert dead().is_dead
    assert not Holder.here().is_dead
    abandon(index, dead())
    other = lease_of(index, patience=0)
    other.wait()
    assert str(state_of(index).holder) == str(Holder.here())
    other.release()
    assert state_of(index).holder is None


def test_the_lease_of_a_silent_remote_process_expires(index: ElasticIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.5)
    abandon(index, Holder("elsewhere", 1))
    with pytest.raises(IndexUnavailableError, match="process 1 on elsewhere is still writing"):
        lease_of(index, patience=0.2).wait()
    other = lease_of(index)
    other.wait()
    other.release()


def seen(epoch: int = 1, beat: int = 0, signals: int = 0) -> Seen:
    return Seen(LeaseState(epoch=epoch, beat=beat, signals=signals))


def test_only_a_lease_that_is_watched_and_unchanged_expires() -> None:
    """Its holder renews it, somebody signals the holder, and the watching process itself was away for a while."""
    now = 1_000.0
    watched = Watched(seen(), now)
    assert not watched.is_expired(now + lease.LEASE_SECONDS)
    assert watched.is_expired(now + lease.LEASE_SECONDS + 0.1)
    for sign in (seen(beat=1), seen(epoch=2)):
        assert watched.after(sign, now + 5, now + 5.1).unchanged_since == now + 5.1
    for none in (seen(), seen(signals=1)):
        assert watched.after(none, now + 5, now + 5.1).unchanged_since == now
        assert watched.after(none, now + 5, now + 5.1 + lease.RENEW_SECONDS).unchanged_since > now + 5
    assert watched.after(seen(beat=1), now + 5, now + 5.1).seen == seen(beat=1)


def test_a_renewed_lease_does_not_expire(index: ElasticIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    holding = lease_of(index)
    holding.wait()
    holding.claim()
    with pytest.raises(IndexUnavailableError, match=f"{Holder.here()} is still writing"):
        lease_of(index, patience=1.5).wait()
    holding.check()
    holding.release()


@pytest.mark.parametrize("first", ["the holder", "a note", "another"])
def test_a_holder_whose_state_is_deleted_remains_it_unless_overtaken(
    index: ElasticIndex, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """The first one to write creates the state index again."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 3600.0)
    holding = lease_of(index)
    holding.wait()
    holding.claim()
    holding.confirm()
    holder = state_of(index).holder
    elasticsearch.request(f"{index.url}/{index.name}-state", "DELETE")
    if first == "another":
        abandon(index, Holder("elsewhere", 1))
        with pytest.raises(OvertakenError):
            holding.confirm()
        assert state_of(index).holder == Holder("elsewhere", 1)
        return
    if first == "a note":
        index.notes().put("a", b"")
    holding.confirm()
    assert state_of(index).holder == holder
    holding.release()


def test_an_overtaken_holder_writes_nothing(index: ElasticIndex) -> None:
    before, ours, theirs = (page(entry("1", os=name), title="a") for name in ("before", "ours", "theirs"))
    fill(index, {A: before})
    with index.writer(1) as slow, contextlib.ExitStack() as until_then:
        quick = until_then.enter_context(index.writer(1))
        generations = slow.live(), quick.live()
        assert generations[0]
        assert generations[1]
        assert write(generations[1], [change_for(A, theirs, before)]) == [A]
        threading.Timer(0.5, until_then.close).start()
        with pytest.raises(OvertakenError):
            write(generations[0], [change_for(A, ours, before)])
    (found,) = index.reader(refresh=True).documents()
    assert b'"os":"theirs"' in found.source


def test_writes_of_an_earlier_holder_are_rejected(index: ElasticIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """The earlier holder hasn't noticed that it was overtaken, but the server rejects its writes."""
    before, ours, theirs = (page(entry("1", os=name), title="a") for name in ("before", "ours", "theirs"))
    fill(index, {A: before})
    monkeypatch.setattr(lease, "RENEW_SECONDS", 3600.0)
    connection = Connection(index.server, 5)
    (live,) = read_catalog(connection, index.name).entries
    stalled = lease_of(index)
    stalled.wait()
    stalled.claim()
    other = take_over(index)
    late, taken = (ElasticGeneration(connection, live.names, live.specs or {}, each) for each in (stalled, other))
    assert write(taken, [change_for(A, theirs, before)]) == [A]
    with pytest.raises(OvertakenError):
        write(late, [change_for(A, ours, before)])
    other.release()
    stalled.release()
    (found,) = index.reader(refresh=True).documents()
    assert b'"os":"theirs"' in found.source


def test_an_overtaken_writer_cannot_promote(index: ElasticIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 3600.0)
    fill(index, {A: page(entry("1"), title="a")})
    with index.writer(1) as stalled:
        generation = stalled.build()
        write(generation, [change_for(A, page(entry("2"), title="a"))])
        other = take_over(index)
        with pytest.raises(OvertakenError):
            stalled.promote(generation)
        other.release()
    assert [each.id for each in index.reader(refresh=True).documents()] == ["develop/a/1"]


@pytest.mark.parametrize("operation", [bulk.put("1", 1, b"{}"), bulk.delete("1", 1)], ids=["put", "delete"])
def test_late_requests_create_no_index(index: ElasticIndex, operation: bytes) -> None:
    """For puts, ``require_alias`` ensures this; for deletions, Elasticsearch ignores it."""
    connection = Connection(index.server, 5)
    name = f"{index.name}-9-writing"
    with pytest.raises(IndexUnusableError):
        bulk.Bulk(connection).send(name, [operation], 1)
    with pytest.raises(IndexUnusableError):
        connection.call(lambda client: client.indices.get(index=name))


def test_epochs_grow_even_if_the_state_is_lost(index: ElasticIndex) -> None:
    fill(index, {A: page(entry("1"), title="a")})
    first = state_of(index).epoch
    Connection(index.server, 5).call(lambda client: client.indices.delete(index=f"{index.name}-state"))
    one = lease_of(index)
    one.wait()
    one.claim()
    assert state_of(index).epoch >= first
    one.release()


def test_a_page_with_an_interrupted_change_is_checked_again(index: ElasticIndex, tmp_path: Path) -> None:
    """The pending record and the documents are written, but the final record is not."""
    put(tmp_path, page(entry("1"), entry("2"), title="a"), "a")
    sync(index, tmp_path)
    before = (tmp_path / A).read_bytes()
    after = page(entry("1", os="new"), entry("3"), title="a")
    sent: list[PageChange] = [change_for(A, after, before)]

    def cut(request: Request) -> Answer | None:
        done = f"/{index.name}-pages-1-writing/_bulk" in request.path and b'"pending":true' not in request.body
        return refusal(400) if done else None

    with Proxy(index.url, cut).running() as proxy:
        broken = ElasticIndex(IndexServer((proxy.url,)), index.name, Layout())
        with broken.writer(1) as writer:
            live = writer.live()
            assert live
            with pytest.raises(IndexUnavailableError):
                write(live, sent)
    (known,) = index.reader(refresh=True).records()
    assert known.pending
    report = sync(index, tmp_path)
    assert report.specs.updated + report.specs.added + report.specs.deleted == 3
    assert sorted(each.id for each in index.reader().documents()) == ["develop/a/1", "develop/a/2"]
    assert b"ubuntu22.04" in next(index.reader().documents()).source
    assert not next(index.reader().records()).pending


def test_temporarily_refused_requests_are_retried(index: ElasticIndex, tmp_path: Path) -> None:
    answers = itertools.cycle([refusal(503), refusal(429), refusal(200)._replace(body=b"{"), refusal(502)])
    refused: set[bytes] = set()

    def refuse(request: Request) -> Answer | None:
        if "/_bulk" not in request.path or request.body in refused:
            return None
        refused.add(request.body)
        return next(answers)

    put(tmp_path, page(entry("1"), entry("2"), title="a"), "a")
    put(tmp_path, page(entry("1"), entry("2"), title="gone"), "gone")
    put(tmp_path, page(entry("1"), entry("2"), title="same"), "same")
    sync(index, tmp_path)
    put(tmp_path, page(entry("1", os="new"), entry("3"), title="a"), "a")
    (tmp_path / path_of("gone")).unlink()
    with Proxy(index.url, refuse).running() as proxy:
        sync(ElasticIndex(IndexServer((proxy.url,)), index.name, Layout()), tmp_path)
    assert len(refused) > 3
    reader = index.reader(refresh=True)
    assert [each.id for each in reader.documents()] == [
        "develop/a/1",
        "develop/a/3",
        "develop/same/1",
        "develop/same/2",
    ]
    assert b'"os":"new"' in next(reader.documents()).source
    assert sorted((each.page, each.pending, each.specs) for each in reader.records()) == [
        (A, False, 2),
        (path_of("same"), False, 2),
    ]


def test_an_interrupted_repair_is_resumed(index: ElasticIndex, tmp_path: Path) -> None:
    """The page hasn't changed and has the right number of documents; only its record shows that it is pending."""
    data = page(entry("1"), entry("2"), title="a")
    put(tmp_path, data, "a")
    sync(index, tmp_path)
    with index.writer(1) as writer:
        live = writer.live()
        assert live
        record, known = live.remembered([A])[A]
        changed = change_for(A, page(entry("1", os="damaged"), entry("2"), title="a"), data)
        assert write(live, [changed._replace(before=record, record=record, digests=known)]) == [A]

    def cut(request: Request) -> Answer | None:
        return refusal(403, "security_exception") if f"/{index.name}-1-writing/_bulk" in request.path else None

    with Proxy(index.url, cut).running() as proxy:
        broken = ElasticIndex(IndexServer((proxy.url,)), index.name, Layout())
        with pytest.raises(IndexUnavailableError):
            sync(broken, tmp_path, A)
    assert any(b"damaged" in each.source for each in index.reader(refresh=True).documents())
    sync(index, tmp_path)
    assert not any(b"damaged" in each.source for each in index.reader().documents())
    assert not next(index.reader().records()).pending


# --- what a service needs -----------------------------------------------------------------------------------------------


def signaller(index: ElasticIndex, until: threading.Event) -> None:
    while not until.wait(0.02):
        index.signal()


def test_signals_do_not_keep_a_dead_holder_alive(index: ElasticIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.5)
    abandon(index, Holder("elsewhere", 1))
    until = threading.Event()
    thread = threading.Thread(target=signaller, args=(index, until))
    thread.start()
    other = lease_of(index, patience=5)
    try:
        other.wait()
        other.check()
    finally:
        until.set()
        thread.join()
        other.release()


def test_a_signal_is_not_taken_for_another_writer(index: ElasticIndex) -> None:
    fill(index, {})
    one = lease_of(index)
    one.wait()
    index.signal()
    one.claim()
    assert one.state.signals == 1
    index.signal()
    one.confirm()
    assert one.state.signals == 2
    one.pin("specs-1")
    one.release()
    state = state_of(index)
    assert (state.signals, state.pinned, state.holder) == (2, "specs-1", None)


def test_changes_planned_before_the_lease_was_lost_are_not_written(index: ElasticIndex) -> None:
    """One thread has regained the lease meanwhile; the other one's plan is from before its loss."""
    before, ours, theirs = (page(entry("1", os=name), title="a") for name in ("before", "ours", "theirs"))
    fill(index, {A: before})
    with index.writer(5) as writer:
        old = writer.live()
        assert old
        building = writer.build()
        other = take_over(index)
        with pytest.raises(OvertakenError):
            writer.discard(building)
        with pytest.raises(OvertakenError):
            writer.intact()
        other.release()
        with pytest.raises(OvertakenError):
            writer.build()
        writer.build()
        with pytest.raises(OvertakenError):
            write(old, [change_for(A, ours, before)])
        new = writer.live()
        assert new
        assert write(new, [change_for(A, theirs, before)]) == [A]
        assert writer.intact()
    (found,) = index.reader(refresh=True).documents()
    assert b'"os":"theirs"' in found.source


def test_a_lease_that_cannot_be_renewed_is_logged_once(index: ElasticIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(lease, "RENEW_PATIENCE", 1.0)
    refused, renewed = threading.Semaphore(0), threading.Semaphore(0)
    away = threading.Event()

    def refuse(_request: Request) -> Answer | None:
        if away.is_set():
            refused.release()
            return refusal(503)
        renewed.release()
        return None

    with Proxy(index.url, refuse).running() as proxy, capture_logs() as logged:
        holding = lease_of(ElasticIndex(IndexServer((proxy.url,)), index.name, Layout()))
        holding.wait()
        holding.claim()
        away.set()
        for _ in range(10):
            assert refused.acquire(timeout=10)
        away.clear()
        while renewed.acquire(blocking=False):
            pass
        for _ in range(10):
            assert renewed.acquire(timeout=10)
        holding.release()
    events = [each["event"] for each in logged if "lease" in each["event"]]
    assert events == ["the lease can't be renewed; trying again", "the lease is renewed again"]


@pytest.mark.parametrize("what", ["an alias", "the specs", "the ledger", "another alias"])
def test_an_index_that_readers_do_not_find_is_not_intact(index: ElasticIndex, what: str) -> None:
    fill(index, {A: page(entry("1"), title="a")})
    name = index.name
    with index.writer(1) as writer:
        assert writer.live()
        assert writer.intact()
        indices = Connection(index.server, 5)
        if what == "an alias":
            indices.call(lambda client: client.indices.delete_alias(index=f"{name}-1", name=name))
        elif what == "another alias":
            indices.call(lambda client: client.indices.put_alias(index=f"{name}-1", name=f"{name}-pages"))
        else:
            doomed = f"{name}-1" if what == "the specs" else f"{name}-pages-1"
            indices.call(lambda client: client.indices.delete(index=doomed))
        assert not writer.intact()
        assert writer.live() is None
        assert not writer.intact()


def test_whether_an_unreachable_index_is_intact_is_unknown(
    index: ElasticIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aliases, "CHECK_PATIENCE", 0.5)
    fill(index, {A: page(entry("1"), title="a")})
    with (
        Proxy(index.url, lambda _request: None).running() as proxy,
        ElasticIndex(IndexServer((proxy.url,)), index.name, Layout()).writer(1) as writer,
    ):
        assert writer.live()
        proxy.deed = lambda _request: refusal(503)
        with pytest.raises(IndexUnavailableError):
            writer.intact()
        proxy.deed = lambda _request: None
        before = len(proxy.requests)
        assert writer.intact()
        assert len(proxy.requests) == before + 1


def test_writes_without_a_refresh_are_found_after_one(elasticsearch_index: str, index_name: str) -> None:
    index = ElasticIndex(IndexServer((elasticsearch_index,)), index_name, Layout(refresh_interval=3600))
    before, after = page(entry("1"), title="a"), page(entry("1"), entry("2"), title="a")
    fill(index, {A: before})
    with index.writer(1) as writer:
        live = writer.live()
        assert live
        assert [each.page for each in live.write([change_for(A, after, before)], refresh=False)] == [A]
        assert live.counts() == {A: 1}
        live.refresh()
        assert live.counts() == {A: 2}


@pytest.mark.parametrize("how", ["it raises", "it is closed"])
def test_batches_in_flight_complete_when_a_write_is_broken_off(
    index: ElasticIndex, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A proxy delays the documents of a page until the write is stopped."""
    before = {path_of(name): page(entry("1"), title=name) for name in "abc"}
    after = {path_of(name): page(entry("1"), entry("2"), title=name) for name in "abc"}
    fill(index, before)
    monkeypatch.setattr(pace, "START_BYTES", 1)
    on_its_way, stopping = threading.Event(), threading.Event()

    def hold_up(request: Request) -> Answer | None:
        if f"/{index.name}-1-writing/_bulk" in request.path and b"develop/b/" in request.body:
            on_its_way.set()
            stopping.wait(10)
        return None

    def changes() -> Iterator[PageChange]:
        for path, data in after.items():
            yield change_for(path, data, before[path])
            if path == path_of("b") and how == "it raises":
                assert on_its_way.wait(10)
                stopping.set()
                raise KeyboardInterrupt

    with (
        Proxy(index.url, hold_up).running() as proxy,
        ElasticIndex(IndexServer((proxy.url,)), index.name, Layout()).writer(1) as writer,
    ):
        live = writer.live()
        assert live
        writing = live.write(changes())
        if how == "it raises":
            with pytest.raises(KeyboardInterrupt):
                list(writing)
        else:
            assert next(writing).page == path_of("a")
            assert on_its_way.wait(10)
            stopping.set()
            writing.close()  # type: ignore[attr-defined]
    reader = index.reader(refresh=True)
    assert not [record.page for record in reader.records() if record.pending]
    assert {path: reader.counts()[path] for path in (path_of("a"), path_of("b"))} == {path_of("a"): 2, path_of("b"): 2}


def test_timeouts_fit_into_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """They fit into the time that is left in the context, too."""
    given: list[float] = []

    def never_answered(
        _transport: Transport, *_request: object, request_timeout: float, **_options: object
    ) -> NoReturn:
        given.append(request_timeout)
        raise ConnectionTimeout("no answer")

    def ask(client: Elasticsearch) -> object:
        return client.cluster.health()

    monkeypatch.setattr(Transport, "perform_request", never_answered)
    url = "http://127.0.0.1:9"
    for patience, seconds, most in ((0.4, math.inf, 0.4), (60, 0.4, 0.4), (3600, math.inf, REQUEST_SECONDS)):
        given.clear()
        stop = threading.Event()
        if patience == 3600:
            stop.set()
        with (
            running(Context(stop)),
            within(seconds),
            pytest.raises((IndexUnavailableError, StoppedError)),
        ):
            Connection(IndexServer((url,)), patience).call(ask)
        assert given
        assert given == sorted(given, reverse=True), "less and less is left"
        assert given[0] <= most
    given.clear()
    with running(Context(stop)), within(8), pytest.raises(StoppedError):
        Connection(IndexServer((url, "http://127.0.0.1:10")), 60).call(ask)
    assert 5 < given[0] <= 5.5, "there is time left for a request to the other node"


def test_a_failed_check_does_not_remove_the_state_index(index: ElasticIndex) -> None:
    """Other processes may have written to it by now."""

    def leave_unanswered(request: Request) -> Answer | None:
        return refusal(500, "oops", "no verdict") if "_cluster/health" in request.path else None

    with Proxy(index.url, leave_unanswered).running() as proxy:
        other = ElasticIndex(IndexServer((proxy.url,)), index.name, Layout())
        with pytest.raises(IndexUnavailableError, match="no verdict"):
            other.notes().put("a", b"1")
    state = f"{index.name}-state"
    found = Connection(index.server, 5).call(
        lambda client: client.indices.get(index=f"{state}*", expand_wildcards="all")
    )
    assert list(found) == [state]


def test_an_outage_is_not_taken_for_damage(index: ElasticIndex) -> None:
    fill(index, {A: page(entry("1"), title="a")})
    with (
        Proxy(index.url, lambda _request: None).running() as proxy,
        ElasticIndex(IndexServer((proxy.url,)), index.name, Layout()).writer(1) as writer,
    ):
        assert writer.live()
        proxy.deed = lambda _request: refusal(500, "oops", "away")
        with pytest.raises(IndexUnavailableError):
            writer.live()
        proxy.deed = lambda _request: None
        assert writer.intact()


def test_a_stop_after_the_swap_does_not_fail_the_promotion(
    index: ElasticIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(index, {A: page(entry("1"), title="a")})

    def stop(*_: object) -> NoReturn:
        raise StoppedError

    with index.writer(1) as writer:
        generation = writer.build()
        writer.settle(generation)
        with monkeypatch.context() as patch:
            patch.setattr(ElasticStore, "confirm", stop)
            writer.promote(generation)
        assert index.reader().generation == generation.generation


def test_connections_are_kept(index: ElasticIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counted(Connection):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(cluster, "Connection", Counted)
    for _ in range(2):
        assert not index.exists()
        index.require_rights()
    assert len(made) == 2, "one to read and one to write"


def test_notes_and_signals_leave_a_foreign_index_alone(index: ElasticIndex) -> None:
    state = f"{index.name}-state"
    connection = Connection(index.server, 5)
    connection.call(lambda client: client.indices.create(index=state))
    with pytest.raises(UsageError, match="not cachesync's"):
        index.notes().put("a", b"")
    with pytest.raises(UsageError, match="not cachesync's"):
        index.signal()
    assert connection.call(lambda client: client.count(index=state))["count"] == 0

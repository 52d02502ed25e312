"""What only a server can do to an index, from outside."""

import json
import subprocess
import threading
import urllib.error
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.pages import big_page, write_tree
from tests.support import elasticsearch
from tests.support.pages import entry, page, path_of, put
from tests.support.proxy import Answer, Proxy, Request, refusal
from tests.support.sandbox import Sandbox
from tests.support.service import until
from tests.system.test_reindex import ends_well, is_building, stopped_when


def is_whole(sandbox: Sandbox) -> None:
    """Two aliases on strict indices, all documents there, and no index of an alias's name."""
    assert sandbox.documents() == sandbox.rendered()
    found = sandbox.ask("")
    public = {alias: index for index, each in found.items() for alias in each["aliases"] if "writing" not in alias}
    assert set(public) == {sandbox.name, f"{sandbox.name}-pages"}
    assert not set(public) & set(found)
    for index in public.values():
        assert found[index]["mappings"]["dynamic"] == "strict"
    assert not is_building(sandbox)


def indexed(sandbox: Sandbox) -> int:
    """How many documents the server has written, or deleted, by its own count."""
    return sum(map(sum, sandbox.state()[0].values()))


def is_writing(sandbox: Sandbox, before: int) -> bool:
    stats = sandbox.ask("/_stats/indexing")["indices"]
    return bool(sum(each["primaries"]["indexing"]["index_total"] for each in stats.values()) > before)


@pytest.mark.parametrize("what", ["both indices", "the specs", "the ledger", "everything"])
@pytest.mark.parametrize("when", ["between", "while it writes"])
def test_indices_deleted_behind_its_back_come_back(elastic: Sandbox, what: str, when: str) -> None:
    write_tree(elastic.root, tag_count=2, package_count=20)
    elastic.run("sync")
    number = elastic.json("status")["generation"].rpartition("-")[2]
    doomed = {
        "both indices": [f"{elastic.name}-{number}", f"{elastic.name}-pages-{number}"],
        "the specs": [f"{elastic.name}-{number}"],
        "the ledger": [f"{elastic.name}-pages-{number}"],
        "everything": [f"{elastic.name}-{number}", f"{elastic.name}-pages-{number}", f"{elastic.name}-state"],
    }[what]

    def delete() -> None:
        for index in doomed:
            elasticsearch.request(f"{elastic.url}/{index}", "DELETE")

    for name in range(300):
        put(elastic.root, page(*(entry(f"{number}") for number in range(20)), title=f"p{name}"), f"p{name}", "new")
    if when == "between":
        delete()
        elastic.run("sync")
    else:
        before = indexed(elastic)
        running = stopped_when(elastic, "sync", lambda: is_writing(elastic, before))
        delete()
        ends_well(running)
    is_whole(elastic)
    state = elastic.state()
    elastic.run("sync")
    assert elastic.state() == state


def test_specs_that_are_deleted_come_back_though_a_page_is_broken(elastic: Sandbox) -> None:
    """What that page had is lost with them, and nothing else."""
    put(elastic.root, page(entry("a"), entry("b"), title="good"), "good")
    put(elastic.root, page(entry("c"), title="broken"), "broken")
    elastic.run("sync")
    put(elastic.root, b"---\nhalf", "broken")
    elastic.run("sync", expect=1)
    elasticsearch.request(f"{elastic.url}/{elastic.json('status')['generation']}", "DELETE")
    assert "the documents of a page that can't be used now are lost" in elastic.run("sync", expect=1).stderr
    assert elastic.documents().keys() == {"develop/good/a", "develop/good/b"}


def test_a_build_that_is_deleted_is_begun_anew(elastic: Sandbox) -> None:
    write_tree(elastic.root, tag_count=2, package_count=40)
    running = stopped_when(elastic, "sync", lambda: is_building(elastic))
    for index in elastic.ask(""):
        elasticsearch.request(f"{elastic.url}/{index}", "DELETE")
    ends_well(running)
    is_whole(elastic)


def test_a_build_that_is_deleted_while_it_waits_for_a_place_is_begun_anew(
    elastic: Sandbox, template: dict[str, Any], tmp_path: Path
) -> None:
    """To the cluster's health, an index that is gone and one without a place are the same."""
    write_tree(elastic.root, tag_count=1, package_count=3)
    templated(
        elastic, template, {"settings": {"index.routing.allocation.require._name": "nobody"}}, f"{elastic.name}-1"
    )
    told = tmp_path / "told"
    with told.open("wb") as stderr:
        running = subprocess.Popen(elastic.command("sync"), stdout=subprocess.DEVNULL, stderr=stderr)
    until(lambda: "waiting for a place" in told.read_text(), "the command to say what it waits for")
    elasticsearch.request(f"{elastic.url}/_index_template/{elastic.name}", "PUT", {"index_patterns": ["test-nothing"]})
    for index in elastic.ask(""):
        elasticsearch.request(f"{elastic.url}/{index}", "DELETE")
    assert running.wait(100) == 0, told.read_text()
    is_whole(elastic)


def test_an_alias_that_was_moved_or_removed_is_put_right(elastic: Sandbox) -> None:
    write_tree(elastic.root, tag_count=1, package_count=10)
    elastic.run("sync")
    elastic.run("reindex")
    for number, alias in ((2, elastic.name), (3, f"{elastic.name}-pages")):
        index = next(name for name, each in elastic.ask("").items() if alias in each["aliases"])
        elasticsearch.request(f"{elastic.url}/{index}/_alias/{alias}", "DELETE")
        assert "cachesync sync" in elastic.run("search", expect=3).stderr
        elastic.run("sync")
        is_whole(elastic)
        assert elastic.json("status")["generation"] == f"{elastic.name}-{number + 1}"


def test_one_spec_added_to_the_biggest_page_is_three_documents(elastic: Sandbox) -> None:
    """That the page changes, the spec, and that it is done."""
    data = big_page()
    put(elastic.root, data, "py-torch")
    elastic.run("sync")
    before = elastic.state()[0]
    put(
        elastic.root,
        data.replace(b"spec_details: [", b'spec_details: [{"hash": "new", "versions": ["1"]}, ', 1),
        "py-torch",
    )
    assert elastic.json("sync")["specs"] == {"added": 1, "updated": 0, "deleted": 0}
    after = elastic.state()[0]
    written = {name: after[name][0] - before[name][0] for name in after}
    assert written == {
        f"{elastic.name}-1": 1,
        f"{elastic.name}-pages-1": 2,
        f"{elastic.name}-state": written[f"{elastic.name}-state"],
    }
    assert elastic.documents() == elastic.rendered()


def test_settings_are_those_of_the_configuration(elastic: Sandbox) -> None:
    put(elastic.root, page(entry()))
    elastic.configure(shards=3, refresh_interval="7s", keep_generations=0)
    elastic.run("sync")
    elastic.run("reindex")
    settings = elastic.ask("")
    assert sorted(settings) == [f"{elastic.name}-2", f"{elastic.name}-pages-2", f"{elastic.name}-state"]
    for name in (f"{elastic.name}-2", f"{elastic.name}-pages-2"):
        index = settings[name]["settings"]["index"]
        assert index["number_of_shards"] == "3"
        assert index["refresh_interval"] == "7000ms"
        assert index["number_of_replicas"] == "0", "a single node has nowhere to put one"
        assert index["translog"]["durability"] == "request"


def test_facets_say_where_they_are_not_exact(elastic: Sandbox) -> None:
    """With several shards, each only tells its own most frequent values."""
    elastic.configure(shards=3)
    for number in range(60):
        put(elastic.root, page(*(entry(f"{n}", os=f"os{number}") for n in range(3)), title=f"p{number}"), f"p{number}")
    elastic.run("sync")
    found = elastic.json("search", "--facet", "os:1", "--facet", "target:5")
    assert found["approximate"] == ["os"]
    assert "approximate" not in elastic.json("search", "--facet", "os:100")


@pytest.mark.parametrize("what", ["an index", "an alias", "a ledger", "a state"])
def test_something_foreign_in_the_indexs_place_is_left_alone(elastic: Sandbox, what: str) -> None:
    put(elastic.root, page(entry()))
    foreign = elastic.name + {"an index": "", "an alias": "-foreign", "a ledger": "-pages", "a state": "-state"}[what]
    aliases: dict[str, Any] = {elastic.name: {}} if what == "an alias" else {}
    elasticsearch.request(f"{elastic.url}/{foreign}", "PUT", {"aliases": aliases})
    before = elastic.ask("")
    for command in ("run", "sync", "reindex"):
        told = elastic.run(command, expect=2, CACHESYNC_HTTP__PORT="0").stderr
        assert "cachesync's" in told
        assert "index.name" in told
    assert elastic.ask("") == before


def test_a_foreign_index_with_the_name_of_a_generation_is_left_alone(elastic: Sandbox) -> None:
    put(elastic.root, page(entry()))
    foreign = f"{elastic.name}-1"
    elasticsearch.request(f"{elastic.url}/{foreign}", "PUT", {"mappings": {"properties": {"x": {"type": "long"}}}})
    before = elastic.ask("")[foreign]
    elastic.run("sync")
    assert elastic.json("status")["generation"] == f"{elastic.name}-2"
    assert elastic.documents() == elastic.rendered()
    elastic.run("reindex")
    elastic.run("reindex")
    assert elastic.ask("")[foreign] == before


def test_older_generations_that_cannot_be_removed_are_no_harm(elastic: Sandbox) -> None:
    put(elastic.root, page(entry("1")))
    elastic.run("sync")
    elastic.run("reindex")
    block = f"{elastic.url}/{elastic.name}-1/_settings"
    elasticsearch.request(block, "PUT", {"index.blocks.read_only": True})
    assert "left for the next run" in elastic.run("reindex").stderr
    is_whole(elastic)
    assert elastic.json("status")["generation"] == f"{elastic.name}-3"
    elasticsearch.request(block, "PUT", {"index.blocks.read_only": None})
    elastic.run("sync")
    assert f"{elastic.name}-1" not in elastic.ask("")
    is_whole(elastic)


def test_without_a_ledger_an_emptied_root_empties_nothing(elastic: Sandbox) -> None:
    write_tree(elastic.root, tag_count=1, package_count=5)
    elastic.run("sync")
    (elastic.root / "_cache").rename(elastic.folder / "away")
    elasticsearch.request(f"{elastic.url}/{elastic.name}-pages-1", "DELETE")
    assert "--allow-mass-delete" in elastic.run("sync", expect=4).stderr
    assert f"{elastic.name}-1" in elastic.ask("")
    (elastic.folder / "away").rename(elastic.root / "_cache")
    elastic.run("sync")
    is_whole(elastic)


def test_without_aliases_kept_generations_are_kept_and_guard(elastic: Sandbox) -> None:
    write_tree(elastic.root, tag_count=1, package_count=5)
    elastic.run("sync")
    elastic.run("reindex")
    for kind, alias in (("", elastic.name), ("-pages", f"{elastic.name}-pages")):
        elasticsearch.request(f"{elastic.url}/{elastic.name}{kind}-2/_alias/{alias}", "DELETE")
    (elastic.root / "_cache").rename(elastic.folder / "away")
    elastic.run("sync", expect=4)
    assert {f"{elastic.name}-1", f"{elastic.name}-2"} <= set(elastic.ask(""))
    (elastic.folder / "away").rename(elastic.root / "_cache")
    elastic.run("sync")
    is_whole(elastic)
    assert elastic.json("status")["kept_generations"] == [f"{elastic.name}-2"]


def index_by_hand(elastic: Sandbox, index: str, id: str, document: dict[str, Any]) -> None:
    elasticsearch.request(f"{elastic.url}/{elastic.name}{index}/_doc/{id}?refresh=true", "PUT", document)


def test_documents_of_others_go(elastic: Sandbox) -> None:
    put(elastic.root, page(entry("1")))
    elastic.run("sync")
    index_by_hand(elastic, "-1", "foreign", {"page": path_of(), "package": "zlib"})
    index_by_hand(elastic, "-1", "other", {"page": "_cache/no/where/specs.md", "package": "zlib"})
    found = elastic.json("verify", expect=1)
    assert (found["extra"], found["missing"], found["different"]) == (2, 0, 0)
    assert elastic.json("sync")["specs"]["deleted"] == 2
    is_whole(elastic)
    elastic.run("verify")
    index_by_hand(elastic, "-1", "foreign", {"package": "zlib"})
    assert "belong to no page" in elastic.run("verify", expect=3).stderr
    elastic.run("sync")
    is_whole(elastic)


@pytest.mark.parametrize("damage", [{"page": path_of()}, {"page": path_of(), "digests": "AAAA"}])
def test_a_damaged_ledger_is_made_anew(elastic: Sandbox, damage: dict[str, Any]) -> None:
    put(elastic.root, page(entry("1")))
    put(elastic.root, page(entry("1")), "other")
    elastic.run("sync")
    good = elasticsearch.request(f"{elastic.url}/{elastic.name}-pages-1/_search")["hits"]["hits"]
    whole = next(hit["_source"] for hit in good if hit["_source"]["page"] == path_of())
    index_by_hand(
        elastic, "-pages-1", path_of().replace("/", "%2F"), damage if len(damage) == 1 else {**whole, **damage}
    )
    put(elastic.root, page(entry("2")))
    elastic.run("sync")
    is_whole(elastic)


@pytest.fixture
def template(elastic: Sandbox) -> Iterator[dict[str, Any]]:
    """An index template of others; the test says what it puts on indices."""
    wanted: dict[str, Any] = {}
    yield wanted
    elasticsearch.request(f"{elastic.url}/_index_template/{elastic.name}", "DELETE")


def templated(elastic: Sandbox, template: dict[str, Any], puts: dict[str, Any], *patterns: str) -> None:
    """Put a template on all that is called like the index, or like ``patterns``."""
    template |= {"index_patterns": list(patterns) or [f"{elastic.name}-*"], "priority": 900, "template": puts}
    elasticsearch.request(f"{elastic.url}/_index_template/{elastic.name}", "PUT", template)


CHANGING: list[tuple[dict[str, Any], str]] = [
    ({"mappings": {"properties": {"extra": {"type": "keyword"}}}}, "field extra"),
    ({"mappings": {"runtime": {"extra": {"type": "keyword"}}}}, "runtime"),
    ({"mappings": {"_source": {"excludes": ["spec"]}}}, "_source"),
    ({"settings": {"index.final_pipeline": "test-pipeline"}}, "final_pipeline is test-pipeline"),
    ({"settings": {"index.default_pipeline": "test-pipeline"}}, "default_pipeline is test-pipeline"),
    ({"settings": {"index.mapping.source.mode": "synthetic"}}, "mapping.source.mode is synthetic"),
    ({"settings": {"index.mapping.ignore_malformed": True}}, "mapping.ignore_malformed is true"),
    ({"settings": {"index.mapping.coerce": False}}, "mapping.coerce is false"),
    ({"settings": {"index.mode": "logsdb"}}, "index template"),
    ({"settings": {"index.mode": "lookup"}}, "mode is lookup"),
    ({"settings": {"index.blocks.write": True}}, "blocks.write is true"),
    ({"settings": {"index.similarity.default.type": "boolean"}}, "similarity.default.type is boolean"),
    ({"aliases": {"their-alias": {"routing": "1"}}}, "their-alias"),
]


@pytest.mark.parametrize(
    ("pattern", "puts", "says"),
    [
        *(("-1", *each) for each in CHANGING),
        *(("-state", *each) for each in CHANGING[3:6]),
        ("-pages-*", *CHANGING[3]),
        ("-state", *CHANGING[0]),
        ("-state", *CHANGING[-1]),
    ],
)
def test_a_foreign_template_is_an_error(
    elastic: Sandbox, template: dict[str, Any], pattern: str, puts: dict[str, Any], says: str
) -> None:
    put(elastic.root, page(entry()))
    elasticsearch.request(f"{elastic.url}/_ingest/pipeline/test-pipeline", "PUT", {"processors": []})
    templated(elastic, template, puts, f"{elastic.name}{pattern}")
    told = elastic.run("sync", expect=2).stderr
    assert says in told
    assert "index_patterns" in told
    assert list(elastic.ask("")) in ([], [f"{elastic.name}-state"])


def test_once_a_foreign_template_is_gone_all_is_well(elastic: Sandbox, template: dict[str, Any]) -> None:
    put(elastic.root, page(entry()))
    templated(elastic, template, {"settings": {"index.mapping.source.mode": "synthetic"}})
    elastic.run("sync", expect=2)
    template["index_patterns"] = [f"{elastic.name}-else"]
    elasticsearch.request(f"{elastic.url}/_index_template/{elastic.name}", "PUT", template)
    elastic.run("sync")
    is_whole(elastic)


@pytest.mark.parametrize(
    "settings",
    [
        {"index.codec": "best_compression", "index.merge.policy.segments_per_tier": 5},
        {"index.max_result_window": 50, "index.max_terms_count": 100, "index.mapping.total_fields.limit": 100},
        {"index.refresh_interval": "60s", "index.number_of_replicas": 2, "index.number_of_shards": 2},
        {"index.translog.durability": "async", "index.search.slowlog.threshold.query.warn": "1s"},
        {"index.hidden": False, "index.mapping.source.mode": "stored", "index.final_pipeline": "_none"},
        {"index.number_of_routing_shards": 4, "index.routing.allocation.exclude._name": "nobody"},
    ],
)
def test_a_template_that_changes_no_document_is_none(
    elastic: Sandbox, template: dict[str, Any], settings: dict[str, Any]
) -> None:
    write_tree(elastic.root, tag_count=1, package_count=8)
    templated(elastic, template, {"settings": settings})
    for command in ("sync", "reindex", "verify"):
        elastic.run(command)
    is_whole(elastic)


def test_a_template_of_components_is_an_error_too(elastic: Sandbox, template: dict[str, Any]) -> None:
    put(elastic.root, page(entry()))
    component = f"{elastic.url}/_component_template/{elastic.name}"
    elasticsearch.request(component, "PUT", {"template": {"settings": {"index.default_pipeline": "theirs"}}})
    template |= {"composed_of": [elastic.name]}
    templated(elastic, template, {}, f"{elastic.name}-1")
    assert "default_pipeline is theirs" in elastic.run("sync", expect=2).stderr
    elasticsearch.request(f"{elastic.url}/_index_template/{elastic.name}", "DELETE")
    elasticsearch.request(component, "DELETE")
    elasticsearch.request(f"{elastic.url}/_index_template/{elastic.name}", "PUT", {"index_patterns": [elastic.name]})


@pytest.mark.parametrize("pattern", ["-*", "-state", "-1", "-pages-1"])
def test_a_template_for_data_streams_is_an_error_too(elastic: Sandbox, template: dict[str, Any], pattern: str) -> None:
    put(elastic.root, page(entry()))
    template |= {"data_stream": {}}
    templated(elastic, template, {}, f"{elastic.name}{pattern}")
    told = elastic.run("sync", expect=2).stderr
    assert "creates data streams only" in told
    assert "index_patterns" in told
    assert list(elastic.ask("")) in ([], [f"{elastic.name}-state"])


# --- what others find ---------------------------------------------------------------------------------------------------


def test_who_asks_for_all_that_is_called_so_counts_nothing_twice(elastic: Sandbox) -> None:
    write_tree(elastic.root, tag_count=1, package_count=8)
    specs = elastic.json("sync")["specs"]["added"]
    elastic.run("reindex")
    found = elasticsearch.request(f"{elastic.url}/_resolve/index/{elastic.name}*")
    assert [each["name"] for each in found["aliases"]] == [elastic.name, f"{elastic.name}-pages"]
    assert not found["indices"]
    pages = elastic.json("status")["pages"]
    assert elasticsearch.request(f"{elastic.url}/{elastic.name}*/_count")["count"] == specs + pages
    assert elasticsearch.request(f"{elastic.url}/{elastic.name}-*/_count")["count"] == pages


# --- between it and the server ------------------------------------------------------------------------------------------


def through(elastic: Sandbox, proxy: Proxy) -> None:
    """From now on the program knows the server by the proxy."""
    elastic.url = proxy.url
    elastic.configure()


def is_bulk(request: Request, alias: str) -> bool:
    return request.path.startswith(f"/{alias}/_bulk")


@pytest.mark.parametrize("after", ["a newer version", "a deletion", "a reindex"])
@pytest.mark.parametrize("held", ["specs", "pages"])
def test_a_request_that_was_held_back_changes_nothing(elastic: Sandbox, held: str, after: str) -> None:
    """A proxy keeps the first bulk request, says that it couldn't, and passes it on when newer ones are through."""
    kept: list[Request] = []
    alias = f"{elastic.name}-1-writing" if held == "specs" else f"{elastic.name}-pages-1-writing"

    def hold(request: Request) -> Answer | None:
        if kept or not is_bulk(request, alias):
            return None
        kept.append(request)
        return refusal(503)

    put(elastic.root, page(entry("1", os="old"), title="other"), "other")
    elastic.run("sync")
    with Proxy(elastic.url, hold).running() as proxy:
        through(elastic, proxy)
        put(elastic.root, page(entry("1", os="held"), entry("2")))
        elastic.run("sync")
        assert kept
        if after == "a newer version":
            put(elastic.root, page(entry("1", os="newer"), entry("2", os="newer")))
        else:
            (elastic.root / path_of()).unlink()
        elastic.run("reindex" if after == "a reindex" else "sync", "--allow-mass-delete")
        answer = proxy.send(kept[0])
        assert after == "a reindex" or b'"errors":true' in answer.body
        elasticsearch.request(f"{proxy.upstream_url}/{elastic.name}*/_refresh", "POST")
        assert elastic.documents() == elastic.rendered()
        assert elastic.json("verify")["differing"] == []


def test_answers_that_are_lost_and_refused_are_no_loss(elastic: Sandbox) -> None:
    """Every third request is refused, or answered with nonsense; half of those were carried out all the same."""
    answers = [
        refusal(429, "es_rejected_execution_exception"),
        refusal(504),
        refusal(200)._replace(body=b"{"),
        refusal(403, "cluster_block_exception"),
        refusal(502)._replace(headers=[("Content-Type", "text/html")], body=b"<html>"),
    ]
    seen: Counter[tuple[str, str, bytes]] = Counter()
    number = 0

    def disturb(request: Request) -> Answer | None:
        nonlocal number
        number += 1
        seen[request[:3]] += 1
        if seen[request[:3]] > 1 or number % 3:
            return None
        if number % 2:
            proxy.send(request)
        return answers[number // 3 % len(answers)]

    write_tree(elastic.root, tag_count=2, package_count=30)
    with Proxy(elastic.url, lambda _request: None).running() as proxy:
        through(elastic, proxy)
        elastic.run("sync")
        proxy.deed = disturb
        for command in ("reindex", "sync"):
            put(elastic.root, page(entry("1"), entry("2")), command)
            (elastic.root / path_of("hdf5")).unlink(missing_ok=True)
            elastic.run(command)
        proxy.deed = lambda _request: None
        assert elastic.documents() == elastic.rendered()
        assert elastic.json("verify")["differing"] == []


def test_single_documents_that_the_server_cannot_take_now_are_tried_again(elastic: Sandbox) -> None:
    write_tree(elastic.root, tag_count=1, package_count=20)
    elastic.run("sync")
    block = f"{elastic.url}/{elastic.name}-1/_settings"
    elasticsearch.request(block, "PUT", {"index.blocks.write": True})
    put(elastic.root, page(entry("1"), entry("2")), "new")
    syncing = subprocess.Popen(elastic.command("sync"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert syncing.stderr
    assert "blocked" in syncing.stderr.readline()
    assert syncing.poll() is None
    elasticsearch.request(block, "PUT", {"index.blocks.write": None})
    ends_well(syncing)
    is_whole(elastic)


def test_readers_find_everything_between_any_two_requests_of_a_reindex(elastic: Sandbox) -> None:
    write_tree(elastic.root, tag_count=1, package_count=10)
    total = elastic.json("sync")["specs"]["added"]
    direct = f"{elastic.url}/{elastic.name}/_search"
    counts: list[int] = []

    def count(_request: Request | None = None) -> None:
        try:
            found = elasticsearch.request(direct, "POST", {"size": 0, "track_total_hits": True})
            counts.append(found["hits"]["total"]["value"])
        except urllib.error.HTTPError as error:
            with error:
                counts.append(-error.code)

    with Proxy(elastic.url, count).running() as proxy:
        through(elastic, proxy)
        elastic.run("reindex")
    count()
    assert set(counts) == {total}
    assert len(counts) > 10


def test_documents_that_a_server_loses_from_a_new_generation_are_in_it_when_it_goes_live(elastic: Sandbox) -> None:
    lost: list[Request] = []

    def lose(request: Request) -> Answer | None:
        if lost or not is_bulk(request, f"{elastic.name}-2-building"):
            return None
        lost.append(request)
        items = [{"index": {"status": 201}}] * (len(request.body.splitlines()) // 2)
        told = json.dumps({"took": 1, "errors": False, "items": items})
        return refusal(200)._replace(body=told.encode())

    write_tree(elastic.root, tag_count=1, package_count=10)
    elastic.run("sync")
    with Proxy(elastic.url, lose).running() as proxy:
        through(elastic, proxy)
        elastic.run("reindex")
        assert lost
        is_whole(elastic)


def test_a_server_that_stays_away_ends_with_3(elastic: Sandbox) -> None:
    put(elastic.root, page(entry()))
    elastic.url = "http://127.0.0.1:9"
    elastic.configure()
    for command in ("search", "status", "verify"):
        told = elastic.run(command, expect=3).stderr
        assert "cannot reach Elasticsearch at http://127.0.0.1:9" in told


def test_a_writer_that_is_overtaken_plans_anew(elastic: Sandbox) -> None:
    """It is stopped until its lease has ended; another writes meanwhile; then it goes on as if it came after it."""
    write_tree(elastic.root, tag_count=2, package_count=20)
    elastic.run("sync")
    for name in range(200):
        put(elastic.root, page(entry("1", os="first"), title=f"p{name}"), f"p{name}", "new")
    before = indexed(elastic)
    stopped = stopped_when(elastic, "sync", lambda: is_writing(elastic, before))
    for name in range(200):
        put(elastic.root, page(entry("1", os="second"), title=f"p{name}"), f"p{name}", "new")
    elastic.run("sync")
    state = elastic.documents()
    assert state == elastic.rendered()
    ends_well(stopped)
    is_whole(elastic)
    elastic.run("verify")


def test_two_writers_that_plan_at_the_same_time_come_one_after_the_other(elastic: Sandbox) -> None:
    write_tree(elastic.root, tag_count=1, package_count=5)
    elastic.run("sync")
    barrier = threading.Barrier(2)

    def together(request: Request) -> Answer | None:
        if request.path.startswith(f"/{elastic.name}-state-writing/_doc/lease") and barrier.n_waiting < 2:
            try:
                barrier.wait(5)
            except threading.BrokenBarrierError:
                return None
        return None

    put(elastic.root, page(entry("1")), "new")
    with Proxy(elastic.url, together).running() as proxy:
        through(elastic, proxy)
        both = [
            subprocess.Popen(
                elastic.command("sync", "--json"), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        for each in both:
            ends_well(each)
        proxy.deed = lambda _request: None
        is_whole(elastic)

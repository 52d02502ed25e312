"""The contract of every engine: writing, the ledger, generations."""

import json
import os
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from cachesync.documents import FIELDS, fitting
from cachesync.errors import IndexUnavailableError, IndexUnusableError, UsageError
from cachesync.index.base import Index, Status
from cachesync.index.catalog import Catalog, GenerationEntry
from cachesync.index.elastic import mapping
from cachesync.index.elastic.store import ElasticStore
from cachesync.index.embedded import schema, store
from cachesync.index.embedded.store import EmbeddedStore
from cachesync.index.generation import PageChange, Remembered
from cachesync.ledger import digests
from cachesync.search.request import Facet, Filter, Request, SortKey
from tests.contract.conftest import OpenIndex
from tests.support.filling import change_for, deletion_of, documents, fill, write
from tests.support.pages import entry, page, path_of

A, B = path_of("a"), path_of("b")
PAGES = {A: page(entry("a1"), entry("a2"), title="a"), B: page(entry("b1", size=7, compiler=None), title="b")}
EVERYTHING = Request(limit=1000)


def held(index: Index) -> dict[str, dict[str, object]]:
    return {hit["_id"]: hit for hit in index.reader().search(EVERYTHING).hits}


def expected(pages: dict[str, bytes]) -> dict[str, dict[str, object]]:
    return {each["_id"]: each for each in documents(pages)}


def test_a_reader_cannot_be_opened_without_an_index(index: Index) -> None:
    with pytest.raises(IndexUnavailableError, match="cachesync sync"):
        index.reader()
    with index.writer(1) as writer:
        assert writer.live() is None


def test_documents_are_read_as_they_were_written(index: Index) -> None:
    fill(index, PAGES)
    assert held(index) == expected(PAGES)
    reader = index.reader()
    assert reader.get("develop/b/b1") == expected(PAGES)["develop/b/b1"]
    assert reader.get("develop/b/none") is None
    assert reader.size() == (3, 2)
    assert reader.counts() == {A: 2, B: 1}
    stored = [(each.page, each.id, json.loads(each.source)) for each in reader.documents()]
    assert sorted(stored, key=lambda each: each[1]) == [
        (each["page"], each.pop("_id"), each) for each in sorted(documents(PAGES), key=lambda each: str(each["_id"]))
    ]
    assert [page for page, _, _ in stored] == [A, A, B], "page after page"
    assert sorted(each.id for each in reader.documents(A)) == ["develop/a/a1", "develop/a/a2"]
    assert list(reader.documents("nowhere")) == []


def test_the_ledger_is_read_as_it_was_written(index: Index) -> None:
    changes = [change_for(path, data) for path, data in PAGES.items()]
    fill(index, PAGES)
    reader = index.reader()
    assert {record.page: record for record in reader.records()} == {each.page: each.record for each in changes}
    assert reader.remembered([A, "nowhere", B]) == {
        each.page: Remembered(each.record, each.digests) for each in changes if each.record
    }
    assert reader.remembered([]) == {}


def test_a_change_replaces_adds_and_deletes(index: Index) -> None:
    fill(index, PAGES)
    after = page(entry("a2", os="rhel8"), entry("a3"), title="a")
    with index.writer(1) as writer:
        live = writer.live()
        assert live
        assert write(live, [change_for(A, after, PAGES[A]), deletion_of(B, PAGES[B])]) == [A, B]
        assert live.size() == (2, 1)
    assert held(index) == expected({A: after})
    reader = index.reader()
    assert reader.counts() == {A: 2}
    assert [record.page for record in reader.records()] == [A]
    assert sorted(reader.remembered([A])[A].digests) == ["a2", "a3"]


def test_a_page_without_specs_is_in_the_ledger(index: Index) -> None:
    fill(index, {A: page(title="a")})
    assert index.reader().size() == (0, 1)
    assert index.reader().counts() == {}


def test_repeating_a_change_changes_nothing(index: Index) -> None:
    fill(index, PAGES)
    after = page(entry("a2", os="rhel8"), title="a")
    change = change_for(A, after, PAGES[A])
    with index.writer(1) as writer:
        for _ in range(2):
            live = writer.live()
            assert live
            write(live, [change])
    assert held(index) == expected({A: after, B: PAGES[B]})


def test_a_change_that_fails_half_way_is_not_written_or_acknowledged(index: Index) -> None:
    fill(index, PAGES)

    def failing() -> Iterator[PageChange]:
        yield change_for(A, page(title="a"), PAGES[A])
        raise KeyboardInterrupt

    acknowledged: list[str] = []
    with index.writer(1) as writer:
        live = writer.live()
        assert live
        with pytest.raises(KeyboardInterrupt):
            acknowledged.extend(written.page for written in live.write(failing()))
    assert acknowledged == []
    assert held(index) == expected(PAGES)
    with index.writer(1) as writer:
        live = writer.live()
        assert live
        assert write(live, [deletion_of(B, PAGES[B])]) == [B]


def test_a_generation_is_not_found_before_it_is_promoted(index: Index, open_again: OpenIndex) -> None:
    fill(index, PAGES)
    with index.writer(1) as writer:
        built = writer.build()
        write(built, [change_for(A, page(entry("new"), title="a"))])
        assert held(open_again()) == expected(PAGES)
        before = open_again().reader()
        writer.promote(built)
        assert list(held(open_again())) == ["develop/a/new"]
        assert before.size() == (3, 2), "open readers keep their generation"
        assert open_again().reader().generation == built.generation != before.generation


def test_an_unfinished_generation_leaves_the_live_one_alone(index: Index, open_again: OpenIndex) -> None:
    fill(index, PAGES)
    with index.writer(1) as writer:
        write(writer.build(), [change_for(A, page(entry("new"), title="a"))])
    assert held(open_again()) == expected(PAGES)
    fill(open_again(), {B: PAGES[B]})
    assert held(open_again()) == expected({B: PAGES[B]})


def test_there_is_one_writer(index: Index, open_again: OpenIndex) -> None:
    with index.writer(1) as writer:
        writer.build()
        with pytest.raises(IndexUnavailableError, match=f"process {os.getpid()}.* still writing"):
            open_again().writer(0.2).__enter__()
        assert f"process {os.getpid()}" in str(open_again().status().holder)
    with open_again().writer(0):
        pass
    assert open_again().status().holder is None


def test_readers_read_while_a_writer_writes(index: Index, open_again: OpenIndex) -> None:
    fill(index, PAGES)
    seen = []

    def changes() -> Iterator[PageChange]:
        yield change_for(A, page(entry("a9"), title="a"), PAGES[A])
        seen.append(held(open_again()))

    with index.writer(1) as writer:
        live = writer.live()
        assert live
        write(live, changes())
        seen.append(held(open_again()))
    assert seen == [expected(PAGES), expected({A: page(entry("a9"), title="a"), B: PAGES[B]})]


def test_odd_text_is_kept(index: Index) -> None:
    odd = page(
        entry("é😀\u0301", versions=["1 '2\u0301"], variants=["", "a" * 30_000, '"\\', " <&> "], os="x\\ty"), title="a"
    )
    fill(index, {A: odd})
    assert held(index) == expected({A: odd})
    assert digests({}) == {}


def test_an_index_with_other_fields_works_until_a_reindex(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was made by a version without two of today's fields."""
    lacking = ("os", "short_hash")
    older = {name: field for name, field in FIELDS.items() if name not in lacking}
    with monkeypatch.context() as patch:
        for module in (store, schema, mapping):
            patch.setattr(module, "FIELDS", older)
        for module in (store, mapping):
            patch.setattr(module, "fingerprint", lambda: "another")
        fill(index, {})
        assert not index.reader().outdated
    with index.writer(1) as writer:
        live = writer.live()
        assert live
        assert live.outdated
        assert live.fields == set(older)
        for path, data in PAGES.items():
            change = change_for(path, data)
            puts = [msgspec.structs.replace(each, source=fitting(each.source, live.fields)) for each in change.puts]
            assert write(live, [change._replace(puts=puts)]) == [path]
    reader = index.reader()
    assert reader.outdated
    found = reader.search(Request(filters=(Filter("os", ("rhel8",)),), facets=(Facet("os"),)))
    assert (found.total, found.facets["os"]) == (0, [])
    found = reader.search(Request(order=(SortKey("os"), SortKey("hash")), facets=(Facet("target"),)))
    assert found.hits == [{name: each for name, each in one.items() if name not in lacking} for one in documents(PAGES)]
    assert found.facets["target"] == [("x86_64_v3", 3)]
    fill(index, PAGES)
    assert not index.reader().outdated
    assert held(index) == expected(PAGES)


def test_a_rollback_goes_back_one_generation_and_pins_it(index: Index, open_again: OpenIndex) -> None:
    fill(index, PAGES)
    with index.writer(1) as writer, pytest.raises(UsageError, match="keep_generations"):
        writer.rollback()
    first = index.reader().generation
    fill(index, {A: PAGES[A]})
    second = index.reader().generation
    assert index.status().kept == [first]
    with index.writer(1) as writer:
        assert not writer.pinned()
        assert writer.rollback() == first
        assert writer.pinned()
    assert held(index) == expected(PAGES)
    assert open_again().status() == Status(holder=None, pinned=True, kept=[], service=False, sign=None)
    with open_again().writer(1) as writer, pytest.raises(UsageError):
        writer.rollback()
    fill(index, {B: PAGES[B]})
    assert held(index) == expected({B: PAGES[B]})
    assert index.status() == Status(holder=None, pinned=False, kept=[first], service=False, sign=None), (
        "the generation that was rolled back is gone"
    )
    assert index.reader().generation not in (first, second), "no generation has the name of another"


def test_older_generations_are_removed(index: Index) -> None:
    names = []
    for _ in range(4):
        fill(index, PAGES)
        names.append(index.reader().generation)
    assert len(set(names)) == 4
    assert index.status().kept == [names[2]]


def test_a_discarded_generation_is_gone(index: Index) -> None:
    fill(index, PAGES)
    with index.writer(1) as writer:
        generation = writer.build()
        write(generation, [change_for(A, PAGES[A])])
        writer.discard(generation)
        with pytest.raises(IndexUnusableError):
            writer.promote(generation)
    assert held(index) == expected(PAGES)


def test_failures_after_the_swap_do_not_undo_it(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(index, PAGES)
    fill(index, PAGES)
    with index.writer(1) as writer:
        dies_after_the_swap(index, monkeypatch)
        generation = writer.build()
        write(generation, [change_for(A, PAGES[A])])
        with pytest.raises(KeyboardInterrupt):
            writer.promote(generation)
        writer.discard(generation)
    monkeypatch.undo()
    assert held(index) == expected({A: PAGES[A]})
    with index.writer(1) as writer:
        assert writer.live()
    assert len(index.status().kept) == 1, "the next writer removes the leftovers"


def test_a_reindex_after_a_rollback_may_be_killed_after_its_swap(
    index: Index, open_again: OpenIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next rollback doesn't go back to the generation that was rolled back, though the dead writer left it."""
    fill(index, PAGES)
    good = index.reader().generation
    fill(index, {A: PAGES[A]})
    with index.writer(1) as writer:
        assert writer.rollback() == good
        dies_after_the_swap(index, monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            writer.promote(writer.build())
    monkeypatch.undo()
    with open_again().writer(1) as writer:
        assert writer.live()
        assert writer.rollback() == good
    assert held(index) == expected(PAGES)


def dies_after_the_swap(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    engine: type[ElasticStore | EmbeddedStore] = EmbeddedStore if index.engine == "embedded" else ElasticStore
    swap = engine.point

    def interrupted(self: Any, name: str) -> None:
        swap(self, name)
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "point", interrupted)


def catalog(finished: list[int], live: int | None) -> Catalog:
    numbers = sorted({*finished, *([live] if live else [])})
    entries = [
        GenerationEntry(f"specs-{number}", number, building=False, public=number == live, whole=number in finished)
        for number in numbers
    ]
    return Catalog(entries, next((each for each in entries if each.public), None), None, max(numbers))


@pytest.mark.parametrize(
    ("finished", "live", "keep", "kept"),
    [
        ([1, 2, 3], 4, 2, [3, 2]),
        ([1, 2, 3], 4, 0, []),
        ([1, 2, 5], 3, 1, [2]),
        ([1, 2, 5], None, 2, [5, 2]),
        ([], 1, 1, []),
    ],
)
def test_which_generations_are_kept(finished: list[int], live: int | None, keep: int, kept: list[int]) -> None:
    assert [each.number for each in catalog(finished, live).kept(keep)] == kept


def test_which_generations_a_rollback_has_replaced() -> None:
    assert {each.number for each in catalog([1, 2, 3, 4], 2).left_by_rollback} == {3, 4}
    assert not catalog([1, 2], None).left_by_rollback

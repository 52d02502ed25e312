"""What every engine promises: writing, the ledger, generations."""

from collections.abc import Iterator

import pytest

from cachesync.errors import IndexUnavailableError
from cachesync.index.base import Index, PageChange
from cachesync.ledger import digests
from cachesync.search.request import Request
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


def test_without_an_index_a_reader_says_so(index: Index) -> None:
    with pytest.raises(IndexUnavailableError, match="cachesync sync"):
        index.reader()
    with index.writer(1) as writer:
        assert writer.live() is None


def test_documents_come_back_as_they_were_given(index: Index) -> None:
    fill(index, PAGES)
    assert held(index) == expected(PAGES)
    reader = index.reader()
    assert reader.get("develop/b/b1") == expected(PAGES)["develop/b/b1"]
    assert reader.get("develop/b/none") is None
    assert reader.size() == (3, 2)
    assert reader.counts() == {A: 2, B: 1}
    assert sorted(reader.ids(A)) == ["develop/a/a1", "develop/a/a2"]
    assert reader.ids("nowhere") == []


def test_the_ledger_comes_back_as_it_was_given(index: Index) -> None:
    changes = [change_for(path, data) for path, data in PAGES.items()]
    fill(index, PAGES)
    reader = index.reader()
    assert {record.page: record for record in reader.records()} == {each.page: each.record for each in changes}
    assert reader.digests(A) == changes[0].digests
    assert reader.digests("nowhere") == {}


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
    assert sorted(reader.digests(A)) == ["a2", "a3"]


def test_a_page_without_specs_is_in_the_ledger_all_the_same(index: Index) -> None:
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


def test_what_fails_half_way_is_not_there_and_not_acknowledged(index: Index) -> None:
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
        fresh = writer.build()
        write(fresh, [change_for(A, page(entry("new"), title="a"))])
        assert held(open_again()) == expected(PAGES)
        before = open_again().reader()
        writer.promote(fresh)
        assert list(held(open_again())) == ["develop/a/new"]
        assert before.size() == (3, 2), "who was reading goes on reading what there was"
        assert open_again().reader().generation == fresh.generation != before.generation


def test_an_unfinished_generation_leaves_the_live_one_alone(index: Index, open_again: OpenIndex) -> None:
    fill(index, PAGES)
    with index.writer(1) as writer:
        write(writer.build(), [change_for(A, page(entry("new"), title="a"))])
    assert held(open_again()) == expected(PAGES)
    fill(open_again(), {B: PAGES[B]})
    assert held(open_again()) == expected({B: PAGES[B]})


def test_there_is_one_writer(index: Index, open_again: OpenIndex) -> None:
    with index.writer(1), pytest.raises(IndexUnavailableError, match="writing"), open_again().writer(0.2):
        pass
    with open_again().writer(0):
        pass


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
        entry("é😀\u0301", versions=["1 2\n3"], variants=["", "a" * 30_000, '"\\', "\u0000"], os="x\ty"), title="a"
    )
    fill(index, {A: odd})
    assert held(index) == expected({A: odd})
    assert digests([]) == {}

"""Pages that change between the guard's decision and the writes."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from cachesync.index.embedded import EmbeddedIndex
from cachesync.index.generation import Remembered
from cachesync.pages.pattern import Pattern
from cachesync.search.request import Request
from cachesync.sync import full_sync
from cachesync.sync.apply import Apply
from cachesync.sync.guard import Guard
from cachesync.sync.passes import partial_pass
from cachesync.sync.plan import plan
from cachesync.sync.report import Report, SpecCounts
from cachesync.sync.scan import Source, root_of, scan
from tests.support.folding import folding
from tests.support.pages import entry, page, path_of, put


class MeddlingGuard(Guard):
    """A guard that runs a function right after its first decision."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        super().__init__(0.5)
        self._meddle: Callable[[], object] | None = meddle

    def refuses(self, lost: int, specs: int) -> bool:
        refused = super().refuses(lost, specs)
        if self._meddle:
            meddle, self._meddle = self._meddle, None
            meddle()
        return refused


@pytest.fixture
def source(tmp_path: Path) -> Source:
    for package in ("a", "b", "c", "d"):
        put(tmp_path / "root", specs(range(10)), package)
    return Source(tmp_path / "root", Pattern(("_cache/**/specs.md",)), 1_000_000)


@pytest.fixture
def index(tmp_path: Path, source: Source) -> EmbeddedIndex:
    index = EmbeddedIndex(tmp_path / "index", "specs")
    sync(source, index, Guard(0.5))
    return index


def specs(numbers: range) -> bytes:
    return page(*(entry(f"h{number}") for number in numbers))


def sync(source: Source, index: EmbeddedIndex, guard: Guard) -> Report:
    with index.writer(1) as writer:
        return full_sync.sync(source, writer, guard, lambda _done, _total: None)


def held(index: EmbeddedIndex) -> int:
    return index.reader().search(Request()).total


def test_a_page_that_shrinks_further_is_checked_again(source: Source, index: EmbeddedIndex) -> None:
    put(source.root, specs(range(9)), "a")
    put(source.root, specs(range(9)), "b")

    def empty_all() -> None:
        for package in ("a", "b", "c"):
            put(source.root, specs(range(0)), package)

    report = sync(source, index, MeddlingGuard(empty_all))
    assert held(index) == 40
    assert len(report.withheld) == 3


def test_a_page_that_reappeared_is_not_deleted(source: Source, index: EmbeddedIndex) -> None:
    (source.root / path_of("a")).unlink()
    report = sync(source, index, MeddlingGuard(lambda: put(source.root, specs(range(10)), "a")))
    assert (report.specs.deleted, report.withheld, held(index)) == (0, {}, 40)


def test_pages_that_returned_or_grew_again_are_not_counted_as_lost(source: Source, index: EmbeddedIndex) -> None:
    """Otherwise a page that comes and goes would trip the guard in the end, although nothing was ever lost."""
    (source.root / path_of("a")).unlink()
    put(source.root, specs(range(9)), "b")
    put(source.root, specs(range(9)), "c")

    def back() -> None:
        put(source.root, specs(range(10)), "a")
        put(source.root, specs(range(8)), "b")

    guard = MeddlingGuard(back)
    with index.writer(1) as writer:
        report = full_sync.sync_once(source, writer, guard, lambda _done, _total: None)
    assert (report.specs.deleted, report.again) == (1, True)
    assert report.lost == 1


@pytest.mark.parametrize("level", ["develop", "develop/a"])
def test_a_page_below_a_folder_that_became_a_link_is_gone(source: Source, index: EmbeddedIndex, level: str) -> None:
    put(source.root, specs(range(10)), "other", "other")
    sync(source, index, Guard(0.5))
    folder = source.root / "_cache" / level
    folder.rename(source.root.parent / "elsewhere")
    folder.symlink_to(source.root.parent / "elsewhere")
    report = sync(source, index, Guard(1))
    assert (report.problems, report.again) == ([], False)
    assert held(index) == (10 if level == "develop" else 40)
    assert sync(source, index, Guard(0.5)).pages.deleted == 0


@pytest.mark.parametrize(("old", "new"), [("zlib", "ZLib"), ("caf\u00e9", "cafe\u0301")])
def test_a_rename_that_only_changes_case_is_followed(
    source: Source, index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    put(source.root, specs(range(10)), old)
    sync(source, index, Guard(0.5))
    folder = source.root / "_cache/develop"
    os.rename(folder / old, folder / new)
    with folding(monkeypatch, folder, old, new):
        report = sync(source, index, Guard(0.5))
    assert (report.pages.added, report.pages.deleted, report.lost, report.problems) == (1, 1, 0, [])
    assert held(index) == 50
    assert path_of(old) not in index.reader().counts()


def test_a_page_that_no_pattern_matches_any_more_is_deleted(source: Source, index: EmbeddedIndex) -> None:
    narrower = source._replace(pattern=Pattern(("_cache/**/specs.md",), ("_cache/develop/a",)))
    sync(narrower, index, Guard(0.5))
    assert held(index) == 30


def test_moving_to_a_path_with_the_same_ids_loses_nothing(source: Source, index: EmbeddedIndex) -> None:
    anywhere = source._replace(pattern=Pattern(("specs.md",)))
    (source.root / "_cache/develop").rename(source.root / "develop")
    report = sync(anywhere, index, Guard(0.5))
    assert (held(index), report.withheld) == (40, {})
    assert sorted(index.reader().counts()) == [f"develop/{package}/specs.md" for package in "abcd"]


@pytest.mark.parametrize("now", [specs(range(10)), b"broken"])
def test_documents_a_dead_writer_may_have_sent_are_written_again(
    source: Source, index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch, now: bytes
) -> None:
    """They may arrive after the documents were found to be right; then only a newer version rejects them."""
    put(source.root, now, "a")
    reader = index.reader()
    records = {record.page: record for record in reader.records()}
    records[path_of("a")].pending = True
    pending = Remembered(records[path_of("a")], {"h1": b"", "h99": b""})
    monkeypatch.setattr(reader, "remembered", lambda _pages: {path_of("a"): pending})
    planned = plan(scan(source), records.values(), reader.counts())
    changes = Apply(source, reader, planned, Guard(0.5), Report()).changes()
    assert [([each.id for each in change.puts], change.deletes) for change in changes] == [
        (["develop/a/h1"], ["develop/a/h99"])
    ]


def test_a_pending_page_is_compared_with_all_that_was_written(
    source: Source, index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search may not find all documents yet that the ledger lists: here one of ten."""
    path = path_of("a")
    documents = list(index.reader().documents(path))
    with index.writer(1) as writer:
        live = writer.live()
        assert live
        known = live.remembered([path])[path]
        pending = known._replace(record=msgspec.structs.replace(known.record, pending=True), digests={})
        monkeypatch.setattr(live, "remembered", lambda _pages: {path: pending})
        monkeypatch.setattr(live, "documents", lambda _page: iter(documents[:1]))
        monkeypatch.setattr(live, "refresh", lambda: monkeypatch.setattr(live, "documents", lambda _: iter(documents)))
        report = partial_pass(live, source, Guard(0.5), lambda _page: None, [path], root_of(source), 40)
    assert (report.pages.updated, report.specs) == (1, SpecCounts())

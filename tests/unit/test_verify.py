"""What verify finds, and how it is repaired."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cachesync.index.embedded import EmbeddedIndex
from cachesync.index.generation import PageChange, Put, Reader, Stored
from cachesync.pages.pattern import Pattern
from cachesync.sync import full_sync
from cachesync.sync.apply import Apply
from cachesync.sync.guard import Guard
from cachesync.sync.plan import plan
from cachesync.sync.report import Report
from cachesync.sync.scan import Source, scan
from cachesync.sync.verify import NAMED, Difference, Verdict, verify
from tests.support.pages import entry, page, path_of, put

PATH = path_of("a")
GOOD = page(entry("h1"), entry("h2"), title="a")
BROKEN = b"broken"


@pytest.fixture
def source(tmp_path: Path) -> Source:
    put(tmp_path / "root", GOOD, "a")
    return Source(tmp_path / "root", Pattern(("_cache/**/specs.md",)), 1_000_000)


@pytest.fixture
def index(tmp_path: Path, source: Source) -> EmbeddedIndex:
    index = EmbeddedIndex(tmp_path / "index", "specs")
    repair(source, index)
    return index


def repair(source: Source, index: EmbeddedIndex, *suspects: str) -> Report:
    with index.writer(1) as writer:
        return full_sync.sync(source, writer, Guard(0.5), lambda _done, _total: None, suspects)


def alter(index: EmbeddedIndex) -> None:
    """Change a document without updating the ledger."""
    with index.writer(1) as writer:
        live = writer.live()
        assert live
        record, known = live.remembered([PATH])[PATH]
        (one, _) = live.documents(PATH)
        altered = Put(one.id, one.source.replace(b"ubuntu", b"debian"), is_new=False)
        assert list(live.write([PageChange(PATH, [altered], [], record, record, known)]))


def compared(source: Source, index: EmbeddedIndex) -> Verdict:
    return verify(source, index.reader(), lambda _done, _pages: None)


def found(verdict: Verdict) -> tuple[int, int, int, int, int]:
    return verdict.missing, verdict.extra, verdict.different, verdict.ledger, len(verdict.problems)


def test_altered_documents_are_repaired(source: Source, index: EmbeddedIndex) -> None:
    alter(index)
    verdict = compared(source, index)
    assert (found(verdict), verdict.differing) == ((0, 0, 1, 0, 0), [PATH])
    assert repair(source, index, PATH).specs.updated == 1
    assert found(compared(source, index)) == (0, 0, 0, 0, 0)


def test_altered_documents_are_named_with_their_fields(source: Source, index: EmbeddedIndex) -> None:
    alter(index)
    assert compared(source, index).documents == [Difference("develop/a/h1", PATH, "different", ["os", "spec"])]


def test_fields_of_a_page_that_cannot_be_used_are_not_known(source: Source, index: EmbeddedIndex) -> None:
    put(source.root, BROKEN, "a")
    repair(source, index)
    alter(index)
    assert compared(source, index).documents == [Difference("develop/a/h1", PATH, "different")]


def test_the_number_of_named_documents_is_limited(source: Source, index: EmbeddedIndex) -> None:
    for name in ("a", "b"):
        put(source.root, page(*(entry(f"h{number}") for number in range(1000)), title=name), name)
    verdict = compared(source, index)
    assert verdict.missing == 1998
    assert len(verdict.documents) == NAMED


def test_altered_documents_of_a_broken_page_are_repaired_once_it_is_fixed(source: Source, index: EmbeddedIndex) -> None:
    put(source.root, BROKEN, "a")
    repair(source, index)
    alter(index)
    assert found(compared(source, index)) == (0, 0, 1, 0, 1)
    repair(source, index, PATH)
    assert found(compared(source, index)) == (0, 0, 0, 0, 1)
    put(source.root, GOOD, "a")
    assert repair(source, index).specs.updated == 1
    assert found(compared(source, index)) == (0, 0, 0, 0, 0)


def test_progress_counts_each_page_on_disk_or_in_the_index(source: Source, index: EmbeddedIndex) -> None:
    put(source.root, GOOD, "gone")
    put(source.root, page(title="empty"), "empty")
    repair(source, index)
    (source.root / path_of("gone")).unlink()
    put(source.root, GOOD, "b")
    told: list[tuple[int, int]] = []
    verdict = verify(source, index.reader(), lambda done, pages: told.append((done, pages)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert verdict.pages == 4


def test_a_broken_page_whose_documents_match_the_ledger_is_kept(source: Source, index: EmbeddedIndex) -> None:
    put(source.root, BROKEN, "a")
    repair(source, index)
    assert not list(suspected(source, index.reader()))


def test_the_record_of_a_broken_page_doesnt_contradict_itself(
    source: Source, index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delayed request may change the documents at any time."""
    put(source.root, BROKEN, "a")
    reader = index.reader()
    one, other = reader.documents(PATH)
    answers: list[list[Stored]] = [[one], [one, other]]
    monkeypatch.setattr(reader, "documents", lambda _page: iter(answers.pop(0)))
    (change,) = suspected(source, reader)
    assert change.record
    assert change.record.specs == len(change.digests) == 1


def suspected(source: Source, reader: Reader) -> Iterator[PageChange]:
    """Return what a pass would do that checks the page's documents."""
    todo = plan(scan(source), reader.records(), reader.counts(), {PATH})
    return Apply(source, reader, todo, Guard(0.5), Report()).changes()

"""Work must not grow with the product of the number of pages and the number of special ones among them."""

import errno
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from cachesync.index.elastic.generation import final_record
from cachesync.index.generation import PageChange, RejectedDocument, Written
from cachesync.ledger import PageRecord, Signature
from cachesync.pages.page import Problem
from cachesync.pages.pattern import Pattern
from cachesync.service.pass_recorder import log_problems
from cachesync.sync.apply import Apply
from cachesync.sync.guard import Guard
from cachesync.sync.plan import plan
from cachesync.sync.report import PageCounts, Report
from cachesync.sync.scan import Scan, Source, scan
from cachesync.watch import inotify
from cachesync.watch.folders import PathSet
from cachesync.watch.inotify import Inotify
from cachesync.watch.native import WatchedFolders
from tests.support.pages import entry, page, path_of, put
from tests.support.work import Compared, grows_evenly, steps

PATTERN = Pattern(("_cache/**/specs.md",))


def record(path: str, **fields: int | str) -> PageRecord:
    signature = Signature(0, 0, 0, 0, 0)
    return PageRecord(page=path, signature=signature, settled=True, digest="d", synced="", **fields)  # type: ignore[arg-type]


def apply(folder: Path, pages: int, records: list[PageRecord] | None = None) -> tuple[Apply, list[PageChange]]:
    """Apply a plan for so many pages of one spec each, and a ledger."""
    root = folder / str(pages)
    for number in range(pages):
        put(root, page(entry()), f"p{number}")
    source = Source(root, PATTERN, 1_000_000)
    planned = plan(scan(source), records or [], {each.page: each.specs for each in records or []})
    applied = Apply(source, None, planned, Guard(0.5), Report(), patient=False)
    return applied, list(applied.changes())


def refusals(changes: list[PageChange]) -> list[Written]:
    """Return the response of an index that refuses all documents."""
    return [Written(each.page, [RejectedDocument(put.id, "full") for put in each.puts]) for each in changes]


def test_refused_pages(tmp_path: Path) -> None:
    def prepared(size: int) -> Callable[[], object]:
        applied, changes = apply(tmp_path, size)
        return lambda: deque(map(applied.results.add_refusals, refusals(changes)))

    assert grows_evenly(prepared)


def test_a_refused_page_counts_as_a_problem_and_nothing_else(tmp_path: Path) -> None:
    known = record(path_of("p1"), specs=1)
    applied, changes = apply(tmp_path, 3, [known])
    assert applied.results.report.pages == PageCounts(added=2, updated=1)
    for written in refusals(changes)[1:]:
        applied.results.add_refusals(written)
    assert applied.results.report.pages == PageCounts(added=1, problems=2)
    assert len(applied.results.report.problems) == 2


def test_documents_that_are_refused_among_many_pages() -> None:
    """The documents of a page are found by their ids."""
    refused = {f"develop/p{number}/a": RejectedDocument(f"develop/p{number}/a", "full") for number in range(1_000)}
    change = PageChange(path_of("p7"), [], [], None, record(path_of("p7"), specs=2), {"a": b"1", "b": b"2"})
    few = dict(list(refused.items())[:10])
    assert steps(lambda: final_record(change, 1, refused)) == steps(lambda: final_record(change, 1, few))
    _, written = final_record(change, 1, refused)
    assert written == Written(change.page, [refused["develop/p7/a"]])


def test_suspects() -> None:
    """They are a list in a command's request to the service."""
    pages = [path_of(f"p{number}") for number in range(200)]
    Compared.comparisons = 0
    found = plan(Scan({}, {}, [], []), map(record, pages), dict.fromkeys(pages, 0), [Compared(each) for each in pages])
    assert [todo.check_documents for todo in found.gone] == [True] * 200
    assert Compared.comparisons <= 200


def test_known_problems() -> None:
    """They are checked after each partial pass, however small."""
    paths: list[str] = [Compared(path_of(f"p{number}")) for number in range(200)]
    problems = {path: Problem(path, "broken") for path in paths}
    before = dict(problems)
    Compared.comparisons = 0
    log_problems(before, problems)
    assert Compared.comparisons == 0


class Locked:
    """Stands in for inotify when no package folder can be read."""

    fd = 0

    def __init__(self, mask: int) -> None:
        self._mask = mask
        self._watches = 0
        self.denied: list[str] = []

    def add(self, path: str, mask: int) -> int:
        assert mask & inotify.CREATE
        name = path.rpartition("/")[2]
        if name.startswith("p"):
            self.denied.append(name)
            raise PermissionError(errno.EACCES, "Permission denied")
        self._watches += 1
        return self._watches

    def remove(self, watch: int) -> None:
        pass

    def read(self) -> bytes:
        """Return an event in the folder watched last for each folder that was denied since."""
        names = [name.encode().ljust(16, b"\0") for name in self.denied]
        self.denied.clear()
        return b"".join(struct.pack("@iIII", self._watches, self._mask | inotify.ISDIR, 0, 16) + name for name in names)


@pytest.mark.parametrize("mask", [inotify.ATTRIB, inotify.CREATE], ids=["changed", "new"])
def test_folders_without_read_permission(tmp_path: Path, mask: int) -> None:
    """Each is retried whenever an event names it."""

    def prepared(size: int) -> Callable[[], object]:
        root = tmp_path / str(size)
        folders = [f"_cache/develop/p{number}/" for number in range(size)]
        for each in folders:
            (root / each).mkdir(parents=True)
        locked = Locked(mask)
        watched = WatchedFolders(Source(root, PATTERN, 1_000_000), cast("Inotify", locked))
        watched.begin()
        assert len(locked.denied) == size

        def retried() -> None:
            watched.await_events(0)
            assert len(watched.settle()) == size
            assert len(locked.denied) == size

        return retried

    assert grows_evenly(prepared)


@pytest.mark.parametrize(
    ("path", "left"),
    [("", []), ("a/", ["b/", "ab/c/"]), ("a/b/", ["a/", "b/", "ab/c/", "a/c/"]), ("c/", ["a/", "a/b/", "a/b/c/", "b/", "ab/c/", "a/c/"])],
)  # fmt: skip
def test_folders_are_found_by_path(path: str, left: list[str]) -> None:
    folders = PathSet()
    everything = {"a/", "a/b/", "a/b/c/", "b/", "ab/c/", "a/c/"}
    for each in everything:
        folders.add(each)
    assert folders.at(path) == everything - {*left}
    folders.remove_at(path)
    assert folders.at("") == {*left}
    assert not folders.at(path)

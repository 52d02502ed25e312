"""Passes over pages: scan → plan → apply. Everything that is done to an index is one of these."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from cachesync.context import current
from cachesync.index.base import Generation, PageChange, Reader
from cachesync.ledger import PageRecord
from cachesync.sync.apply import Apply
from cachesync.sync.guard import Guard
from cachesync.sync.plan import Plan, plan
from cachesync.sync.report import Report
from cachesync.sync.scan import Root, Scan, Source, scan, scan_at

Progress = Callable[[int, int], None]
"""Is told how many pages are done, of how many, which is at least one and never fewer than are done."""

Acknowledged = Callable[[str], None]
"""Is told each page whose change is acknowledged."""


class Pass(NamedTuple):
    """What one pass found on disk, and what came of it."""

    report: Report
    found: Scan
    written: dict[str, int]
    """How many documents each page has that the pass has written."""

    def then(self, later: "Pass") -> "Pass":
        """Join this pass with one after it."""
        found = later.found
        written = {page: n for page, n in self.written.items() if page in found.entries or not found.covers(page)}
        return Pass(self.report.then(later.report), later.found, written | later.written)


def full_pass(
    generation: Generation,
    source: Source,
    guard: Guard,
    progress: Progress,
    suspects: Collection[str] = (),
    earlier: Reader | None = None,
) -> Pass:
    """Bring a generation into line with all pages.

    Args:
        generation: to be written.
        source: where the pages are.
        guard: how much may be lost.
        progress: is told of each page.
        suspects: pages whose documents are to be looked at whatever the ledger says.
        earlier: the generation that this one is to replace, see :class:`cachesync.sync.apply.Apply`.
    """
    phases: dict[str, float] = {}
    found, todo = scan_and_plan(source, generation, phases, suspects)
    apply = Apply(source, generation, found, todo, guard, phases, earlier)
    with timed(phases, "apply"):
        for written in generation.write(_with_progress(apply, progress)):
            if written.refused:
                apply.refused(written)
    return Pass(apply.report, found, apply.written)


def partial_pass(
    generation: Generation,
    source: Source,
    guard: Guard,
    acknowledged: Acknowledged,
    paths: Collection[str],
    root: Root,
    specs: int,
) -> Report:
    """Bring a generation into line with the pages at some paths.

    It believes the ledger, and sees neither documents that others have deleted nor two pages that want the same ids:
    that is for whole passes. What it writes is found when the index refreshes itself.

    Args:
        generation: to be written.
        source: where the pages are. Its pattern must give every page ids of its own.
        guard: how much may be lost.
        acknowledged: is told of each page that was written.
        paths: pages and folders, as for :func:`cachesync.sync.scan.scan_at`.
        root: the folder that the root is known to be.
        specs: how many the generation has: what a loss is measured against.

    Raises:
        UsageError: the root can't be listed.
        RefusedError: the root is another folder.
    """
    phases: dict[str, float] = {}
    with timed(phases, "scan"):
        found = scan_at(source, paths, root)
    with timed(phases, "plan"):
        records = _records_at(generation, paths)
        todo = plan(found, records.values(), {page: record.specs for page, record in records.items()})
        todo.specs = specs
    apply = Apply(source, generation, found, todo, guard, phases, patient=False)
    with timed(phases, "apply"):
        for written in generation.write(apply.changes(), refresh=False):
            if written.refused:
                apply.refused(written)
            acknowledged(written.page)
    return apply.report


_LOOKUP_PAGES: Final = 1_000
_LOOKUP_FOLDERS: Final = 250


def _records_at(index: Generation, paths: Collection[str]) -> dict[str, PageRecord]:
    """Return what the ledger has of the pages at some paths, in its last state.

    Folders, and the documents of pages that are pending, are searched for, and a search lags behind.
    """
    pages = [path for path in paths if not path.endswith("/")]
    records: dict[str, PageRecord] = {}
    for start in range(0, len(pages), _LOOKUP_PAGES):
        known = index.remembered(pages[start : start + _LOOKUP_PAGES])
        records |= {page: remembered.record for page, remembered in known.items()}
    folders = [path for path in paths if path.endswith("/")]
    if folders or any(record.pending for record in records.values()):
        index.refresh()
    for start in range(0, len(folders), _LOOKUP_FOLDERS):
        below = folders[start : start + _LOOKUP_FOLDERS]
        records |= {record.page: record for record in index.records(below)}
    return records


def _with_progress(apply: Apply, progress: Progress) -> Iterator[PageChange]:
    for done, change in enumerate(apply.changes(), start=1):
        progress(done, max(done, apply.pages))
        yield change


def scan_and_plan(
    source: Source, index: Reader | None, phases: dict[str, float], suspects: Collection[str] = ()
) -> tuple[Scan, Plan]:
    """Look at all pages and at the index, and plan what is to be done. Nothing is changed."""
    with timed(phases, "scan"):
        found = scan(source)
    with timed(phases, "plan"):
        if index is None:
            return found, plan(found, [], {})
        return found, plan(found, _with_checks(index.records()), index.counts(), suspects)


def _with_checks(records: Iterable[PageRecord]) -> Iterator[PageRecord]:
    """Walk a ledger, and show all the while that the work goes on."""
    check = current().check
    for record in records:
        check()
        yield record


@contextmanager
def timed(phases: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds that the block takes to a phase."""
    start = time.perf_counter()
    try:
        yield
    finally:
        phases[name] = phases.get(name, 0.0) + time.perf_counter() - start

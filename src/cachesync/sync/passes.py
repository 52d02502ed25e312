"""Passes: scan → plan → apply. Only passes change the documents of an index."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from cachesync.context import current
from cachesync.index.generation import Generation, PageChange, Reader
from cachesync.ledger import PageRecord
from cachesync.sync.apply import Apply
from cachesync.sync.guard import Guard
from cachesync.sync.plan import Plan, plan
from cachesync.sync.report import Report
from cachesync.sync.scan import Root, Scan, Source, scan, scan_at

Progress = Callable[[int, int], None]
"""Called with the numbers of finished pages and of all pages; the latter is at least 1 and never below the former."""

Acknowledged = Callable[[str], None]
"""Called with each page whose change is acknowledged."""


class Pass(NamedTuple):
    """What one pass found on disk, and its outcome."""

    report: Report
    found: Scan
    written: dict[str, int]
    """The number of documents of each page that the pass has written."""

    def then(self, later: "Pass") -> "Pass":
        """Combine this pass and a later one into one."""
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
    """Make a generation equal to all pages.

    The documents of ``suspects`` are checked even if they agree with the ledger. ``earlier`` is the generation that
    this one is to replace, see :class:`cachesync.sync.apply.Apply`.
    """
    report = Report()
    todo = scan_and_plan(source, generation, report.phases, suspects)
    apply = Apply(source, generation, todo, guard, report, earlier)
    changes = _with_progress(apply.changes(), len(todo.read) + len(todo.gone), progress)
    with timed(report.phases, "apply"):
        for written in generation.write(changes):
            apply.results.add_refusals(written)
    return Pass(report, todo.found, apply.results.written)


def partial_pass(
    generation: Generation,
    source: Source,
    guard: Guard,
    acknowledged: Acknowledged,
    paths: Collection[str],
    root: Root,
    specs: int,
) -> Report:
    """Make a generation equal to the pages at some paths.

    A partial pass trusts the ledger. Only full passes detect documents that someone else has deleted, and pages whose
    documents have the same ids. The documents written can be found once the index refreshes itself.

    The source's pattern must not let two pages have documents with the same ids. ``paths`` and ``root`` are as for
    :func:`cachesync.sync.scan.scan_at`. A loss is measured against ``specs``, the number of specs in the generation.

    Raises:
        UsageError: the root can't be listed.
        RefusedError: the root was replaced by another folder.
    """
    report = Report()
    with timed(report.phases, "scan"):
        found = scan_at(source, paths, root)
    with timed(report.phases, "plan"):
        records = _records_at(generation, paths)
        todo = plan(found, records.values(), {page: record.specs for page, record in records.items()})
        todo.specs = specs
    apply = Apply(source, generation, todo, guard, report, patient=False)
    with timed(report.phases, "apply"):
        for written in generation.write(apply.changes(), refresh=False):
            apply.results.add_refusals(written)
            acknowledged(written.page)
    return report


_LOOKUP_PAGES: Final = 1_000
_LOOKUP_FOLDERS: Final = 250


def _records_at(index: Generation, paths: Collection[str]) -> dict[str, PageRecord]:
    """Return the latest ledger records of the pages at some paths.

    Searches lag behind writes, so the index is refreshed first if the records can't be had without a search: for pages
    below folders, and for the documents of pending pages.
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


def _with_progress(changes: Iterable[PageChange], pages: int, progress: Progress) -> Iterator[PageChange]:
    for done, change in enumerate(changes, start=1):
        progress(done, max(done, pages))
        yield change


def scan_and_plan(
    source: Source, index: Reader | None, phases: dict[str, float], suspects: Collection[str] = ()
) -> Plan:
    """Scan all pages, compare them with the index, and plan what to do, without changing anything."""
    with timed(phases, "scan"):
        found = scan(source)
    with timed(phases, "plan"):
        if index is None:
            return plan(found, [], {})
        return plan(found, _with_checks(index.records()), index.counts(), suspects)


def _with_checks(records: Iterable[PageRecord]) -> Iterator[PageRecord]:
    """Yield the records. Before each one, check whether to stop, and send a heartbeat."""
    check = current().check
    for record in records:
        check()
        yield record


@contextmanager
def timed(phases: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds that the block takes to the total of a phase."""
    start = time.perf_counter()
    try:
        yield
    finally:
        phases[name] = phases.get(name, 0.0) + time.perf_counter() - start

"""One turn of the way: scan → plan → apply."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from cachesync.errors import IndexUnusableError, RefusedError
from cachesync.index.base import Generation, PageChange, Reader, Writer
from cachesync.ledger import PageRecord
from cachesync.log import get_logger
from cachesync.pages.page import Problem
from cachesync.sync.apply import Apply
from cachesync.sync.guard import Guard, loss_between
from cachesync.sync.plan import plan
from cachesync.sync.report import Report
from cachesync.sync.scan import Source, scan

_log = get_logger()

MAX_TURNS = 3
"""How often ``sync`` looks again while pages change under its eyes."""

Progress = Callable[[int, int], None]
"""Is told how many pages are done, of how many."""


def sync(source: Source, writer: Writer, guard: Guard, progress: Progress) -> Report:
    """Make the index equal to the pages.

    An index that is missing, damaged or made by another version is built anew, and goes live when it is whole. Where
    the guard refuses, what would be lost stays, and ``report.held`` says so; all else is done.

    Raises:
        UsageError: the root can't be scanned.
        RefusedError: the root became another folder while it was scanned, or nothing would take the place of an index
            that can't be read.
        IndexUnavailableError: the index can't be written.
    """
    report = _turn(source, writer, guard, progress)
    for _ in range(MAX_TURNS - 1):
        if report.again:
            guard.passed(0 if report.held else report.lost, report.before)
            report = report.then(_turn(source, writer, guard, progress))
    if not report.again:
        return report
    report.problems.append(Problem(str(source.root), "pages kept changing while they were read: run sync again"))
    report.pages.problems += 1
    return report


def dry_run(source: Source, index: Reader | None, guard: Guard, tell: Callable[[PageChange], None]) -> Report:
    """Tell what :func:`sync` would do, page by page, and do nothing."""
    phases: dict[str, float] = {}
    try:
        apply = _prepare(source, index, guard, phases)
    except IndexUnusableError:
        apply = _prepare(source, None, guard, phases)
    with _timed(phases, "apply"):
        for change in apply.changes():
            tell(change)
    return apply.report


def _turn(source: Source, writer: Writer, guard: Guard, progress: Progress) -> Report:
    live = writer.live()
    if live:
        try:
            return _fill(live, source, guard, progress)
        except IndexUnusableError as error:
            _log.warning("the index can't be used and is built anew", reason=str(error))
    return _build(source, writer, guard, progress)


def _fill(generation: Generation, source: Source, guard: Guard, progress: Progress) -> Report:
    """Bring a generation into line with the pages."""
    phases: dict[str, float] = {}
    apply = _prepare(source, generation, guard, phases)
    with _timed(phases, "apply"):
        for _ in generation.write(_told(apply, progress)):
            pass
    return apply.report


def _build(source: Source, writer: Writer, guard: Guard, progress: Progress) -> Report:
    """Fill a new generation, and let it take the place of what there was unless too much would be lost by that."""
    before = _ledger_of(writer)
    generation = writer.build()
    report = _fill(generation, source, _ANYTHING, progress)
    if before is None and not generation.size()[0] and guard.refuses(1, 0):
        raise RefusedError(
            "stopped for safety: the index can't be read, and the pages have no spec to fill a new one with.\n"
            "Is pages.root mounted and complete? If this is meant: cachesync sync --allow-mass-delete"
        )
    if before:
        report.before = sum(record.specs for record in before)
        report.lost = loss_between(before, generation.records()).total()
        if guard.refuses(report.lost, report.before):
            report.held = sorted(record.page for record in before)
            return report
    writer.promote(generation)
    return report


_ANYTHING: Final = Guard(1, consent=True)
"""An empty generation has nothing to lose."""


def _ledger_of(writer: Writer) -> list[PageRecord] | None:
    """Return the ledger of the generation that is to be replaced; empty if there is none, None if it can't be read."""
    try:
        replaced = writer.replaced()
        return list(replaced.records()) if replaced else []
    except IndexUnusableError:
        return None


def _told(apply: Apply, progress: Progress) -> Iterator[PageChange]:
    for done, change in enumerate(apply.changes(), start=1):
        progress(done, apply.pages)
        yield change


def _prepare(source: Source, index: Reader | None, guard: Guard, phases: dict[str, float]) -> Apply:
    with _timed(phases, "scan"):
        found = scan(source)
    with _timed(phases, "plan"):
        todo = plan(found, index.records(), index.counts()) if index else plan(found, [], {})
    return Apply(source, index, todo, guard, phases)


@contextmanager
def _timed(phases: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        phases[name] = phases.get(name, 0.0) + time.perf_counter() - start

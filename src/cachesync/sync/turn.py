"""One turn of the way: scan → plan → apply."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cachesync.errors import IndexDamagedError
from cachesync.index.base import Generation, PageChange, Reader, Writer
from cachesync.log import get_logger
from cachesync.pages.page import Problem
from cachesync.sync.apply import Apply, Guard, Source
from cachesync.sync.plan import plan
from cachesync.sync.report import Report
from cachesync.sync.scan import scan

_log = get_logger()

MAX_TURNS = 3
"""How often ``sync`` looks again while pages change under its eyes."""

Progress = Callable[[int, int], None]
"""Is told how many pages are done, of how many."""


def sync(source: Source, writer: Writer, guard: Guard, progress: Progress) -> Report:
    """Make the index equal to the pages.

    A generation that is missing, damaged or made by other code is made anew. Where the guard refuses, what would be
    lost stays, and ``report.held`` says so; all else is done.

    Raises:
        UsageError: the root can't be scanned.
        RefusedError: the root became another folder while it was scanned.
        IndexUnavailableError: the index can't be written.
    """
    generation = writer.live()
    report = Report()
    for _ in range(MAX_TURNS):
        generation, turn = _turn(source, writer, generation, guard, progress)
        report = report.then(turn)
        if not turn.again:
            return report
    report.problems.append(Problem(str(source.root), "pages kept changing while they were read: run sync again"))
    report.pages.problems += 1
    return report


def dry_run(source: Source, index: Reader | None, guard: Guard, tell: Callable[[PageChange], None]) -> Report:
    """Tell what :func:`sync` would do, page by page, and do nothing."""
    phases: dict[str, float] = {}
    apply = _prepare(source, index, guard, phases)
    with _timed(phases, "apply"):
        for change in apply.changes():
            tell(change)
    apply.report.phases = phases
    return apply.report


def _turn(
    source: Source, writer: Writer, generation: Generation | None, guard: Guard, progress: Progress
) -> tuple[Generation | None, Report]:
    phases: dict[str, float] = {}
    try:
        apply = _prepare(source, generation, guard, phases)
    except IndexDamagedError as error:
        _log.warning("the index can't be read and is made anew", reason=str(error))
        generation = None
        apply = _prepare(source, generation, guard, phases)
    with _timed(phases, "apply"):
        if generation is None:
            generation = writer.build()
            writer.promote(generation)
        for _ in generation.write(_told(apply, progress)):
            pass
    apply.report.phases = phases
    return generation, apply.report


def _told(apply: Apply, progress: Progress) -> Iterator[PageChange]:
    for done, change in enumerate(apply.changes(), start=1):
        progress(done, apply.pages)
        yield change


def _prepare(source: Source, index: Reader | None, guard: Guard, phases: dict[str, float]) -> Apply:
    with _timed(phases, "scan"):
        found = scan(source.root, source.pattern)
    with _timed(phases, "plan"):
        todo = plan(found, index.records(), index.counts()) if index else plan(found, [], {})
        return Apply(source, index, todo, guard)


@contextmanager
def _timed(phases: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        phases[name] = phases.get(name, 0.0) + time.perf_counter() - start

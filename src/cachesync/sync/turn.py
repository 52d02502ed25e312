"""One turn of the way: scan → plan → apply. A new generation is the same way with an empty ledger."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from cachesync.errors import IndexUnavailableError, IndexUnusableError, OvertakenError, RefusedError
from cachesync.index.base import Generation, PageChange, Reader, Writer
from cachesync.log import get_logger
from cachesync.pages.page import Problem
from cachesync.sync.apply import Apply
from cachesync.sync.guard import Guard, loss_between
from cachesync.sync.plan import plan
from cachesync.sync.report import Report
from cachesync.sync.scan import Scan, Source, scan

_log = get_logger()

MAX_TURNS: Final = 3
"""How often ``sync`` looks again while pages change under its eyes."""

_MAX_TRIES: Final = 5
"""How often a turn is begun anew because the index was taken away under it."""

Progress = Callable[[int, int], None]
"""Is told how many pages are done, of how many."""


def sync(source: Source, writer: Writer, guard: Guard, progress: Progress, suspects: Collection[str] = ()) -> Report:
    """Make the index equal to the pages.

    An index that is missing or damaged is built anew, and goes live when it is whole. Where the guard refuses, what
    would be lost stays, and ``report.held`` says so; all else is done.

    Args:
        source: where the pages are.
        writer: of the index.
        guard: how much may be lost.
        progress: is told of each page.
        suspects: pages whose documents are to be looked at whatever the ledger says.

    Raises:
        UsageError: the root can't be scanned.
        RefusedError: a rollback holds the index, the root became another folder while it was scanned, or nothing
            would take the place of an index that can't be read.
        IndexUnavailableError: the index can't be written.
    """
    report = _mended(lambda: _turn(source, writer, guard, progress, suspects))
    for _ in range(MAX_TURNS - 1):
        if report.again:
            guard.passed(0 if report.held else report.lost, report.before)
            report = report.then(_mended(lambda: _turn(source, writer, guard, progress)))
    return _settled(report, source)


def reindex(source: Source, writer: Writer, guard: Guard, progress: Progress) -> Report:
    """Build a new generation from the pages beside the live one, and let it take that one's place.

    Raises:
        As :func:`sync`, but for a rollback, which this ends.
    """
    return _settled(_mended(lambda: _build(source, writer, guard, progress)), source)


def dry_run(source: Source, index: Reader | None, guard: Guard, tell: Callable[[PageChange], None]) -> Report:
    """Tell what :func:`sync` would do, page by page, and do nothing."""
    phases: dict[str, float] = {}
    try:
        _, apply = _prepare(source, index, guard, phases)
    except IndexUnusableError:
        _, apply = _prepare(source, None, guard, phases)
    with _timed(phases, "apply"):
        for change in apply.changes():
            tell(change)
    return apply.report


def _mended(turn: Callable[[], Report]) -> Report:
    """Take a turn, and take it again where another writer came in between or the index was taken away under it."""
    for _ in range(_MAX_TRIES - 1):
        try:
            return turn()
        except OvertakenError as error:
            _log.info("planning anew", reason=str(error))
        except IndexUnusableError as error:
            _log.warning("starting anew", reason=str(error))
    return turn()


def _settled(report: Report, source: Source) -> Report:
    if report.again:
        message = "pages kept changing while they were read: run sync again"
        report.problems.append(Problem(str(source.root), message))
        report.pages.problems += 1
    return report


def _turn(source: Source, writer: Writer, guard: Guard, progress: Progress, suspects: Collection[str] = ()) -> Report:
    if writer.held():
        raise held_back()
    live = writer.live()
    if live is None:
        return _build(source, writer, guard, progress)
    if live.outdated:
        _log.warning(
            "another version of cachesync made this index: it is kept up as it is, and `cachesync reindex` brings it "
            "up to date",
            generation=live.generation,
        )
    try:
        return _fill(live, source, guard, progress, suspects=suspects).report
    except IndexUnusableError as error:
        _log.warning("the index can't be used and is built anew", reason=str(error))
        return _build(source, writer, guard, progress)


class _Pass(NamedTuple):
    """What one pass found on disk, and what came of it."""

    report: Report
    found: Scan
    written: dict[str, int]
    """How many documents each page has that the pass has written."""

    def then(self, later: "_Pass") -> "_Pass":
        found = later.found
        written = {page: n for page, n in self.written.items() if page in found.entries or not found.covers(page)}
        return _Pass(self.report.then(later.report), later.found, written | later.written)


def held_back() -> RefusedError:
    """Say that a rollback holds syncs."""
    return RefusedError(
        "stopped: a rollback has gone back to the live generation, which stays as it is.\n"
        "To go on from the pages as they are now: cachesync reindex"
    )


def _fill(
    generation: Generation,
    source: Source,
    guard: Guard,
    progress: Progress,
    suspects: Collection[str] = (),
    earlier: Reader | None = None,
) -> _Pass:
    """Bring a generation into line with the pages."""
    phases: dict[str, float] = {}
    found, apply = _prepare(source, generation, guard, phases, suspects, earlier)
    with _timed(phases, "apply"):
        for written in generation.write(_told(apply, progress)):
            if written.refused:
                apply.refused(written)
    return _Pass(apply.report, found, apply.written)


def _build(source: Source, writer: Writer, guard: Guard, progress: Progress) -> Report:
    """Fill a new generation, and let it take the place of what there was unless too much would be lost by that."""
    earlier, unreadable = _replaced(writer)
    generation = writer.build()
    try:
        filled = _filled(generation, source, progress, earlier)
        report = filled.report
        if unreadable:
            _require_specs(generation, guard)
        if earlier and _loses_too_much(report, earlier, generation, filled.written, guard):
            writer.discard(generation)
            return Report(phases=report.phases, before=report.before, lost=report.lost, held=report.held)
        with _timed(report.phases, "promote"):
            writer.promote(generation)
        return report
    except BaseException:
        _discard(writer, generation)
        raise


def _discard(writer: Writer, generation: Generation) -> None:
    """Remove a generation that came to nothing; where even that fails, the next writer does it."""
    try:
        writer.discard(generation)
    except IndexUnavailableError as error:
        _log.warning("an unfinished generation is left for the next run to remove", reason=str(error))


def _filled(generation: Generation, source: Source, progress: Progress, earlier: Reader | None) -> _Pass:
    """Fill an empty generation until a last look finds that it is whole and that nothing has changed on disk since.

    So what changed meanwhile is in it, and what the index holds was counted, page by page.
    """
    filled = _fill(generation, source, _ANYTHING, progress, earlier=earlier)
    for _ in range(MAX_TURNS):
        if not filled.report.again and _is_whole(generation, source, filled):
            return filled
        filled = filled.then(_fill(generation, source, _ANYTHING, progress, earlier=earlier))
    if not _holds_what_was_written(generation, filled):
        raise IndexUnavailableError(
            f"{generation.generation} doesn't hold what was written to it, and therefore didn't go live"
        )
    filled.report.again = True
    return filled


def _is_whole(generation: Generation, source: Source, filled: _Pass) -> bool:
    """Tell whether the pages are as they were found, and the index holds what was written."""
    with _timed(filled.report.phases, "check"):
        return scan(source) == filled.found and _holds_what_was_written(generation, filled)


def _holds_what_was_written(generation: Generation, filled: _Pass) -> bool:
    return generation.counts() == {page: specs for page, specs in filled.written.items() if specs}


def _require_specs(generation: Generation, guard: Guard) -> None:
    """Make sure that an empty generation doesn't take the place of one of which nobody knows what is lost."""
    if not generation.size()[0] and guard.refuses(1, 0):
        raise RefusedError(
            "stopped for safety: the index can't be read, and the pages have no spec to fill a new one with.\n"
            "Is pages.root mounted and complete? If this is meant, say --allow-mass-delete"
        )


def _loses_too_much(
    report: Report, earlier: Reader, generation: Generation, written: dict[str, int], guard: Guard
) -> bool:
    """Compare what the generation that is to be replaced has with what the new one has."""
    with _timed(report.phases, "compare"):
        before = _counts(earlier)
        if before is not None and all(specs <= written.get(page, 0) for page, specs in before.items()):
            report.before = sum(before.values())
            return False
        ledger = [(record.page, record.specs) for record in earlier.records()]
        report.before = sum(specs for _, specs in ledger)
        report.lost = loss_between(earlier.records(), generation.records()).total()
    if not guard.refuses(report.lost, report.before):
        return False
    report.held = sorted(page for page, _ in ledger)
    return True


def _counts(index: Reader) -> dict[str, int] | None:
    try:
        return index.counts()
    except IndexUnusableError:
        return None


_ANYTHING: Final = Guard(1, consent=True)
"""An empty generation has nothing to lose."""


def _replaced(writer: Writer) -> tuple[Reader | None, bool]:
    """Open what is to be replaced; if there is something whose ledger can't be read, say so."""
    try:
        replaced = writer.replaced()
        if replaced:
            next(replaced.records(), None)
        return replaced, False
    except IndexUnusableError:
        return None, True


def _told(apply: Apply, progress: Progress) -> Iterator[PageChange]:
    for done, change in enumerate(apply.changes(), start=1):
        progress(done, apply.pages)
        yield change


def _prepare(
    source: Source,
    index: Reader | None,
    guard: Guard,
    phases: dict[str, float],
    suspects: Collection[str] = (),
    earlier: Reader | None = None,
) -> tuple[Scan, Apply]:
    with _timed(phases, "scan"):
        found = scan(source)
    with _timed(phases, "plan"):
        todo = plan(found, index.records(), index.counts(), suspects) if index else plan(found, [], {})
    return found, Apply(source, index, found, todo, guard, phases, earlier)


@contextmanager
def _timed(phases: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        phases[name] = phases.get(name, 0.0) + time.perf_counter() - start

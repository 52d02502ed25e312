"""Reindex: fill a new generation beside the live one, then promote it in one step."""

from typing import Final

from cachesync.errors import CachesyncError, ConsentError, IndexUnavailableError, IndexUnusableError
from cachesync.index.generation import Generation, Reader
from cachesync.index.lifecycle import Writer
from cachesync.log import get_logger
from cachesync.pages.page import Problem
from cachesync.sync.guard import Guard, loss_between, question
from cachesync.sync.passes import Pass, Progress, full_pass, timed
from cachesync.sync.report import Report
from cachesync.sync.scan import Source, scan

_log = get_logger()

_MAX_PASSES: Final = 3
"""How many additional passes fill a generation while pages keep changing, before it is promoted anyway."""

_NO_LIMIT: Final = Guard(1)
"""An empty generation has nothing to lose."""


class Reindex:
    """A single reindex: call :meth:`fill`, then :meth:`finish`; if either fails, call :meth:`abandon`."""

    def __init__(self, source: Source, writer: Writer, progress: Progress) -> None:
        """Create the reindex without changing the index."""
        self._source = source
        self._writer = writer
        self._progress = progress
        self._earlier: Reader | None = None
        self._unreadable = False
        self._new: Generation | None = None
        self._filled: Pass | None = None

    @property
    def generation(self) -> str:
        """The name of the new generation. :meth:`fill` must have been called."""
        return self._generation.generation

    @property
    def _generation(self) -> Generation:
        assert self._new, "fill it first"
        return self._new

    def fill(self) -> None:
        """Create the new generation and fill it from all pages. The live generation may be written to at the same time.

        Raises:
            IndexUnavailableError: the new generation can't be created, or a part of it is unavailable.
            As :func:`cachesync.sync.passes.full_pass`.
        """
        self._earlier, self._unreadable = _open_replaced(self._writer)
        self._new = self._writer.build()
        self._filled = self._pass()
        self._writer.settle(self._new)

    def finish(self, guard: Guard) -> Report:
        """Bring the new generation up to date and promote it, unless that would lose more than ``guard`` allows.

        The new generation includes all changes made to the live one, provided that nothing writes to the live one
        during this call.

        Raises:
            ConsentError: an empty index would replace one that can't be read.
            IndexUnavailableError: the new generation doesn't hold what was written to it, or the index can't be
                written.
        """
        self._earlier, self._unreadable = _open_replaced(self._writer)  # again: it may have been written to since
        assert self._filled, "fill it first"
        filled = self._until_complete(self._filled)
        report = filled.report
        if self._unreadable:
            _require_specs(self._generation, guard)
        if self._earlier and _loses_too_much(report, self._earlier, self._generation, filled.written, guard):
            self._writer.discard(self._generation)
            return Report(
                phases=report.phases,
                warnings=report.warnings,
                before=report.before,
                lost=report.lost,
                withheld=report.withheld,
            )
        with timed(report.phases, "promote"):
            self._writer.promote(self._generation)
        report.news = []  # the passes started from an empty ledger, so every page would count as news
        return report

    def abandon(self) -> None:
        """Delete the new generation unless it is live. If the deletion fails, the next writer repeats it."""
        if self._new is None:
            return
        try:
            self._writer.discard(self._new)
        except CachesyncError as error:
            _log.warning(
                "an unfinished generation is left for the next run to remove",
                action="generation.left",
                reason=str(error),
            )

    def _pass(self) -> Pass:
        return full_pass(self._generation, self._source, _NO_LIMIT, self._progress, earlier=self._earlier)

    def _until_complete(self, filled: Pass) -> Pass:
        """Repeat passes until the pages no longer change and the index has the right number of documents for each."""
        for _ in range(_MAX_PASSES):
            if not filled.report.again and _is_complete(self._generation, self._source, filled):
                return filled
            filled = filled.then(self._pass())
        if not _holds_what_was_written(self._generation, filled):
            raise IndexUnavailableError(
                f"{self._generation.generation} doesn't hold what was written to it, and therefore didn't go live"
            )
        filled.report.again = True
        return filled


def reindex_once(source: Source, writer: Writer, guard: Guard, progress: Progress) -> Report:
    """Fill a new generation and promote it."""
    new = Reindex(source, writer, progress)
    try:
        new.fill()
        return new.finish(guard)
    except BaseException:
        new.abandon()
        raise


def went_live(writer: Writer, generation: str | None) -> Report | None:
    """Return the report of an earlier attempt that was about to promote ``generation``; None if it isn't live."""
    live = writer.live() if generation else None
    return report_on(live) if live and live.generation == generation else None


def report_on(live: Reader) -> Report:
    """Return the report of a reindex of which only the resulting generation is known."""
    report = Report()
    report.specs.added, _ = live.size()
    for record in live.records():
        if record.problem:
            report.pages.problems += 1
            report.problems.append(Problem(record.page, record.problem, record.line))
        else:
            report.pages.added += 1
    return report


def _is_complete(generation: Generation, source: Source, filled: Pass) -> bool:
    """Return whether the pages haven't changed since they were scanned and the index holds what was written."""
    with timed(filled.report.phases, "check"):
        return scan(source) == filled.found and _holds_what_was_written(generation, filled)


def _holds_what_was_written(generation: Generation, filled: Pass) -> bool:
    return generation.counts() == {page: specs for page, specs in filled.written.items() if specs}


def _require_specs(generation: Generation, guard: Guard) -> None:
    """Check that an empty generation doesn't replace one that can't be read, because the loss would be unknown."""
    if not generation.size()[0] and guard.refuses(1, 0):
        raise ConsentError(
            "stopped for safety: the index can't be read, and the pages have no spec to fill a new one with.\n"
            + question()
        )


def _loses_too_much(
    report: Report, earlier: Reader, generation: Generation, written: dict[str, int], guard: Guard
) -> bool:
    """Compare the generation that is to be replaced with the new one, and return whether the guard forbids the loss."""
    with timed(report.phases, "compare"):
        before = _counts(earlier)
        if before is not None and all(specs <= written.get(page, 0) for page, specs in before.items()):
            report.before = sum(before.values())
            return False
        ledger = {record.page: record.specs for record in earlier.records()}
        report.before = sum(ledger.values())
        report.lost = loss_between(earlier.records(), generation.records()).total()
    if not guard.refuses(report.lost, report.before):
        return False
    report.withheld = ledger
    return True


def _counts(index: Reader) -> dict[str, int] | None:
    try:
        return index.counts()
    except IndexUnusableError:
        return None


def _open_replaced(writer: Writer) -> tuple[Reader | None, bool]:
    """Return the generation that is to be replaced, if any, and whether there is one that can't be read."""
    try:
        replaced = writer.replaced()
        if replaced:
            next(replaced.records(), None)
        return replaced, False
    except IndexUnusableError:
        return None, True

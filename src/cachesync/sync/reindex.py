"""A new generation: filled beside the live one, and then put in its place in one step."""

from typing import Final

from cachesync.errors import CachesyncError, ConsentError, IndexUnavailableError, IndexUnusableError
from cachesync.index.base import Generation, Reader, Writer
from cachesync.log import get_logger
from cachesync.pages.page import Problem
from cachesync.sync.guard import Guard, loss_between, question
from cachesync.sync.passes import Pass, Progress, full_pass, timed
from cachesync.sync.report import Report
from cachesync.sync.scan import Source, scan

_log = get_logger()

_MAX_PASSES: Final = 3
"""How often a generation is brought up to date while pages change under its eyes, before it goes live all the same."""

_NO_LIMIT: Final = Guard(1)
"""An empty generation has nothing to lose."""


class Reindex:
    """A new generation on its way: :meth:`fill` it, then :meth:`finish` it; else :meth:`abandon` it."""

    def __init__(self, source: Source, writer: Writer, progress: Progress) -> None:
        """Nothing is touched yet."""
        self._source = source
        self._writer = writer
        self._progress = progress
        self._earlier: Reader | None = None
        self._unreadable = False
        self._new: Generation | None = None
        self._filled: Pass | None = None

    @property
    def generation(self) -> str:
        """Its name; it must be filled."""
        return self._generation.generation

    @property
    def _generation(self) -> Generation:
        assert self._new, "fill it first"
        return self._new

    def fill(self) -> None:
        """Make it and fill it from all pages: the long part. The live generation may be written all the while.

        Raises:
            IndexUnavailableError: it can't be made, or a part of it isn't available.
            As :func:`cachesync.sync.passes.full_pass`.
        """
        self._earlier, self._unreadable = _open_replaced(self._writer)
        self._new = self._writer.build()
        self._filled = self._pass()
        self._writer.settle(self._new)

    def finish(self, guard: Guard) -> Report:
        """Bring it up to date and let it go live, unless by that more would be lost than ``guard`` allows.

        What the live generation was given until now is in it, if nobody writes to that one meanwhile.

        Raises:
            ConsentError: nothing would take the place of an index that can't be read.
            IndexUnavailableError: it doesn't hold what was written to it, or the index can't be written.
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
                phases=report.phases, warnings=report.warnings, before=report.before, lost=report.lost, withheld=report.withheld
            )
        with timed(report.phases, "promote"):
            self._writer.promote(self._generation)
        report.news = []  # to an empty ledger everything is
        return report

    def abandon(self) -> None:
        """Remove it, unless it has gone live; where even that fails, the next writer does it."""
        if self._new is None:
            return
        try:
            self._writer.discard(self._new)
        except CachesyncError as error:
            _log.warning("an unfinished generation is left for the next run to remove", reason=str(error))

    def _pass(self) -> Pass:
        return full_pass(self._generation, self._source, _NO_LIMIT, self._progress, earlier=self._earlier)

    def _until_complete(self, filled: Pass) -> Pass:
        """Look until it is whole and nothing has changed on disk since.

        So what changed meanwhile is in it, and what the index holds was counted, page by page.
        """
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
    """Fill a new generation and let it go live, in one go."""
    new = Reindex(source, writer, progress)
    try:
        new.fill()
        return new.finish(guard)
    except BaseException:
        new.abandon()
        raise


def went_live(writer: Writer, generation: str | None) -> Report | None:
    """Report on a reindex whose earlier try noted that this generation was about to go live; None if it isn't live."""
    live = writer.live() if generation else None
    return report_on(live) if live and live.generation == generation else None


def report_on(live: Reader) -> Report:
    """Report on a reindex of which nothing is known but that this generation came of it."""
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
    """Tell whether the pages are as they were found, and the index holds what was written."""
    with timed(filled.report.phases, "check"):
        return scan(source) == filled.found and _holds_what_was_written(generation, filled)


def _holds_what_was_written(generation: Generation, filled: Pass) -> bool:
    return generation.counts() == {page: specs for page, specs in filled.written.items() if specs}


def _require_specs(generation: Generation, guard: Guard) -> None:
    """Make sure that an empty generation doesn't take the place of one of which nobody knows what is lost."""
    if not generation.size()[0] and guard.refuses(1, 0):
        raise ConsentError(
            "stopped for safety: the index can't be read, and the pages have no spec to fill a new one with.\n"
            + question()
        )


def _loses_too_much(
    report: Report, earlier: Reader, generation: Generation, written: dict[str, int], guard: Guard
) -> bool:
    """Compare what the generation that is to be replaced has with what the new one has."""
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
    """Open what is to be replaced; if there is something whose ledger can't be read, say so."""
    try:
        replaced = writer.replaced()
        if replaced:
            next(replaced.records(), None)
        return replaced, False
    except IndexUnusableError:
        return None, True

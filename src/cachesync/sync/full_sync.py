"""Sync and reindex, for commands and the service: make the index equal to the pages, whatever state it is in."""

from collections.abc import Callable, Collection
from typing import Final

from cachesync.errors import IndexUnusableError, OvertakenError, RefusedError
from cachesync.index.generation import PageChange, Reader
from cachesync.index.lifecycle import Writer
from cachesync.log import get_logger
from cachesync.pages.page import Problem
from cachesync.sync.apply import Apply
from cachesync.sync.guard import Guard
from cachesync.sync.passes import Progress, full_pass, scan_and_plan, timed
from cachesync.sync.reindex import reindex_once
from cachesync.sync.report import Report
from cachesync.sync.scan import Source

_log = get_logger()

MAX_PASSES: Final = 3
"""The maximum number of passes that :func:`sync` makes while pages keep changing."""

_MAX_TRIES: Final = 5
"""How many times a pass is tried in all if another process deletes or changes the index during the pass."""


def sync(
    source: Source,
    writer: Writer,
    guard: Guard,
    progress: Progress,
    suspects: Collection[str] = (),
    before_build: Callable[[], None] = lambda: None,
) -> Report:
    """Make the index equal to the pages.

    An index that is missing or corrupt is built anew, and goes live when it is complete. If the guard doesn't allow a
    loss, the pages concerned are left unchanged and listed in ``report.withheld``; all other changes are made.

    The documents of ``suspects`` are checked even if they agree with the ledger. For ``before_build`` see
    :func:`sync_once`.

    Raises:
        UsageError: the root can't be scanned.
        RefusedError: a rollback pins the index, the root was replaced while it was scanned, or an empty index would
            replace one that can't be read.
        IndexUnavailableError: the index can't be written.
    """
    report = _with_retries(lambda: sync_once(source, writer, guard, progress, suspects, before_build))
    if report.outdated:
        _log.warning(OUTDATED, action="index.outdated")
    for _ in range(MAX_PASSES - 1):
        if report.again:
            guard.record_pass(report)
            report = report.then(_with_retries(lambda: sync_once(source, writer, guard, progress, (), before_build)))
    return _settled(report, source)


def reindex(source: Source, writer: Writer, guard: Guard, progress: Progress) -> Report:
    """Build a new generation from the pages beside the live one, and promote it.

    Raises:
        As :func:`sync`, except that reindexing also works on an index that is pinned by a rollback, and unpins it.
    """
    return _settled(_with_retries(lambda: reindex_once(source, writer, guard, progress)), source)


def dry_run(source: Source, index: Reader | None, guard: Guard, report_change: Callable[[PageChange], None]) -> Report:
    """Report what :func:`sync` would do, page by page, without doing it."""
    report = Report()
    try:
        todo = scan_and_plan(source, index, report.phases)
    except IndexUnusableError:
        index = None
        todo = scan_and_plan(source, None, report.phases)
    with timed(report.phases, "apply"):
        for change in Apply(source, index, todo, guard, report).changes():
            report_change(change)
    return report


def _with_retries(attempt: Callable[[], Report]) -> Report:
    """Make an attempt, and retry it if another writer interfered or the index became unusable during the attempt."""
    for _ in range(_MAX_TRIES - 1):
        try:
            return attempt()
        except OvertakenError as error:
            _log.info("another writer interfered; planning again", action="sync.replanned", reason=str(error))
        except IndexUnusableError as error:
            _log.warning(
                "the index became unusable during a pass; starting again", action="sync.restarted", reason=str(error)
            )
    return attempt()


def _settled(report: Report, source: Source) -> Report:
    if report.again:
        message = "pages kept changing while they were read: run sync again"
        report.problems.append(Problem(str(source.root), message))
        report.pages.problems += 1
    return report


def sync_once(
    source: Source,
    writer: Writer,
    guard: Guard,
    progress: Progress,
    suspects: Collection[str] = (),
    before_build: Callable[[], None] = lambda: None,
) -> Report:
    """Make one full pass; :func:`sync` repeats it as often as needed.

    ``before_build`` is called before a new generation is built, because the writer can build only one at a time.

    Raises:
        As :func:`sync`; also OvertakenError if another writer interfered during the pass, or IndexUnusableError if the
            index became unusable. In both cases the pass must be repeated.
    """
    if writer.pinned():
        raise pinned_error()
    if live := writer.live():
        try:
            report = full_pass(live, source, guard, progress, suspects).report
        except IndexUnusableError as error:
            _log.warning("the index can't be used and is built anew", action="index.rebuilt", reason=str(error))
        else:
            report.outdated = live.outdated
            return report
    before_build()
    return reindex_once(source, writer, guard, progress)


OUTDATED: Final = (
    "another version of cachesync made this index: it is kept up as it is, and `cachesync reindex` brings it up to date"
)


def pinned_error() -> RefusedError:
    """Return the error for a sync while a rollback pins the index."""
    return RefusedError(
        "stopped: a rollback has gone back to the live generation, which stays as it is.\n"
        "To go on from the pages as they are now: cachesync reindex"
    )

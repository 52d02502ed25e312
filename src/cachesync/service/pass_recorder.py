"""The records of each pass: metrics, log lines, the state that HTTP shows, and the fate of its dirty paths."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from cachesync.context import StoppedError
from cachesync.errors import OvertakenError
from cachesync.log import get_logger, pass_context
from cachesync.pages.page import Problem, by_page
from cachesync.service.session import Resources
from cachesync.service.state import LastPass, ServiceState
from cachesync.sync.report import Report
from cachesync.sync.scan import WHOLE_ROOT, by_path, is_at

_log = get_logger()

_BURST_SECONDS: Final = 5.0
"""How often to log while passes follow one another without a pause."""

_MAX_LINES: Final = 10
"""How many of a pass's problems or warnings get a log line each."""


class PassRecorder:
    """Records passes."""

    def __init__(self, resources: Resources) -> None:
        self._state = resources.state
        self._dirty = resources.dirty
        self._metrics = resources.metrics
        self._burst: Counter[str] = Counter()
        """How many passes there were since the last log line, and what they changed."""
        self._burst_seconds = 0.0
        self._logged_at = 0.0

    @contextmanager
    def recorded(self, kind: str) -> Iterator[Callable[[Report], None]]:
        """Give a pass its trace ID, metrics and log line. Its dirty paths are done at the end, or put back on failure.

        The block must call the yielded function with the pass's report.
        """
        started = datetime.now(UTC)
        start = time.monotonic()
        with pass_context(kind):
            try:
                outcome: list[Report] = []
                yield outcome.append
            except BaseException as error:
                self._dirty.put_back()
                if not isinstance(error, StoppedError | OvertakenError):
                    self._metrics.record_pass(kind, "failed", 0)
                raise
            self._dirty.done()
            report = outcome[0]
            seconds = time.monotonic() - start
            self._metrics.record_pass(kind, report.outcome, seconds)
            self._metrics.written(report.specs.added, report.specs.updated, report.specs.deleted)
            pages, specs = report.pages, report.specs
            changed = pages.added + pages.updated + pages.deleted, specs.added + specs.updated + specs.deleted
            self._state.last_pass = LastPass(kind, report.outcome, started, seconds, *changed)
            self._log_changes(report, seconds, more=kind == "partial" and len(self._dirty) > 0)
            if report.has_written:
                self._state.last_written = datetime.now(UTC)

    def _log_changes(self, report: Report, seconds: float, *, more: bool) -> None:
        """Log a pass that changed something. If ``more`` passes follow directly, log their sum every few seconds."""
        burst = self._burst
        for name, counts in (("pages", report.pages), ("specs", report.specs)):
            for what in ("added", "updated", "deleted"):
                burst[f"{name}_{what}"] += getattr(counts, what)
        if not any(burst.values()):
            return
        burst["passes"] += 1
        self._burst_seconds += seconds
        now = time.monotonic()
        if more and now - self._logged_at < _BURST_SECONDS:
            return
        self._logged_at = now
        totals = {name: number for name, number in burst.items() if number and (name, number) != ("passes", 1)}
        _log.info("synced", action="sync.completed", **totals, seconds=round(self._burst_seconds, 3))
        burst.clear()
        self._burst_seconds = 0.0

    def acknowledged(self, page: str) -> None:
        """Record how long a page's change waited before it was in the index."""
        since = self._dirty.since(page)
        if since is not None:
            self._metrics.acknowledged(time.monotonic() - since)


def log_problems(before: Mapping[str, Problem], now: Mapping[str, Problem]) -> None:
    """Log the pages that have become unusable, or only the first of them if there are many."""
    new = by_page(problem for page, problem in now.items() if problem != before.get(page))
    for each in new[:_MAX_LINES]:
        _log.warning(
            "a page can't be used; its earlier documents stay",
            action="page.rejected",
            page=each.page,
            line=each.line,
            reason=each.message,
        )
    if (more := len(new) - _MAX_LINES) > 0:
        _log.warning("more pages can't be used: see `cachesync status`", action="page.rejected_more", pages=more)


def update_warnings(state: ServiceState, report: Report, paths: AbstractSet[str]) -> None:
    """Replace the warnings at the paths that a pass scanned with the warnings that it found, and log new warnings."""
    before = state.warnings
    kept = {path: warning for path, warning in before.items() if not is_at(path, paths)}
    now = kept | {warning.path: warning for warning in report.warnings}
    if state.pages:  # the root isn't empty any more, or its pages are withheld
        now.pop(WHOLE_ROOT, None)
    state.warnings = now
    new = [warning for warning in by_path(now.values()) if warning != before.get(warning.path)]
    for each in new[:_MAX_LINES]:
        if each.path == WHOLE_ROOT:
            _log.warning("there is nothing to index", action="scan.empty", reason=each.message)
        else:
            _log.warning("a symbolic link is not followed", action="link.skipped", path=each.path, reason=each.message)
    if (more := len(new) - _MAX_LINES) > 0:
        _log.warning(
            "more symbolic links are not followed: see `cachesync status`", action="link.skipped_more", links=more
        )

"""Log lines about passes and about what they found."""

import time
from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from cachesync.log import get_logger
from cachesync.pages.page import Problem, by_page
from cachesync.service.state import ServiceState
from cachesync.sync.report import Report
from cachesync.sync.scan import WHOLE_ROOT, by_path, is_at

_log = get_logger()

_BURST_SECONDS: Final = 5.0
"""How often to log while passes follow each other without a pause."""

_MAX_LINES: Final = 10
"""How many problems or warnings of one pass are logged with a line each."""


class PassLog:
    """Logs what each pass has changed, or the sum of a burst of passes."""

    def __init__(self) -> None:
        self._done: Counter[str] = Counter()
        self._seconds = 0.0
        self._logged_at = 0.0

    def record_pass(self, report: Report, seconds: float, *, more: bool) -> None:
        """Log a pass that changed something. If ``more`` follow at once, log their sum every few seconds instead."""
        for name, counts in (("pages", report.pages), ("specs", report.specs)):
            for what in ("added", "updated", "deleted"):
                self._done[f"{name}_{what}"] += getattr(counts, what)
        if not any(self._done.values()):
            return
        self._done["passes"] += 1
        self._seconds += seconds
        now = time.monotonic()
        if more and now - self._logged_at < _BURST_SECONDS:
            return
        self._logged_at = now
        totals = {name: number for name, number in self._done.items() if number and (name, number) != ("passes", 1)}
        _log.info("synced", action="sync.completed", **totals, seconds=round(self._seconds, 3))
        self._done.clear()
        self._seconds = 0.0


def log_problems(before: Mapping[str, Problem], now: Mapping[str, Problem]) -> None:
    """Log the pages that have become unusable; if there are many, only the first."""
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
    """Replace the warnings at the paths that a pass scanned by those that it found, and log new ones."""
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

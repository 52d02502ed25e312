"""Detects changes that the watcher missed, that is, changes that only a rescan found."""

import time
from collections.abc import Collection
from typing import Final

from cachesync.log import get_logger
from cachesync.service.debounce import DirtyPaths
from cachesync.service.scheduler import NEVER
from cachesync.service.state import ServiceState

_log = get_logger()

BLIND_SECONDS: Final = 30.0
"""How often to rescan while the watcher misses changes."""

MAX_RESCANS: Final = 10
"""How many rescans without a missed change it takes until the watcher counts as healthy."""

_GRACE_SECONDS: Final = 5.0
"""How long after a rescan the watcher may still report a change that the rescan found."""


class WatcherHealth:
    """Compares the changes that a rescan finds with those that the watcher reports until shortly after the rescan."""

    def __init__(self, dirty: DirtyPaths, state: ServiceState) -> None:
        self.due = NEVER
        """When to call :meth:`judge`, by :func:`time.monotonic`."""
        self._dirty = dirty
        self._state = state
        self._found: list[str] = []
        self._left = 0

    def rescan_begins(self) -> None:
        """Start recording the watcher's reports, unless an earlier rescan has not been judged yet."""
        if not self._found:
            self._dirty.start_recording()

    def rescan_ended(self, news: Collection[str]) -> None:
        """Add the pages that a rescan found changed. A healthy watcher also reports each of those pages."""
        self._found = sorted({*self._found, *news})
        self.due = min(self.due, time.monotonic() + (_GRACE_SECONDS if self._found else 0))

    def judge(self) -> bool:
        """Return whether the watcher has missed a change, and update the watcher's health in the state."""
        self.due = NEVER
        missed = self._dirty.stop_recording(self._found)
        self._found = []
        self._state.found_by_rescan += len(missed)
        if missed:
            if not self._state.blind:
                _log.warning(
                    "the watcher missed changes, which a rescan found: rescanning more often",
                    action="watcher.degraded",
                    pages=len(missed),
                    first=missed[0],
                    every_seconds=BLIND_SECONDS,
                )
            self._state.blind = True
            self._left = MAX_RESCANS
        elif self._state.blind:
            self._left -= 1
            if self._left <= 0:
                self._state.blind = False
                _log.info("the watcher no longer misses changes", action="watcher.recovered")
        return bool(missed)

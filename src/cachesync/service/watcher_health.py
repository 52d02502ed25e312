"""Does the watcher tell everything? What only a rescan has found, it has missed."""

import time
from collections.abc import Collection
from typing import Final

from cachesync.log import get_logger
from cachesync.service.debounce import DirtyPaths
from cachesync.service.state import ServiceState

_log = get_logger()

BLIND_SECONDS: Final = 30.0
"""How often to rescan while the watcher misses changes."""

_RESCANS: Final = 10
"""After so many rescans that found nothing the watcher is trusted again."""

_GRACE_SECONDS: Final = 5.0
"""How long the watcher may take to tell what a rescan has seen already."""

_NEVER: Final = float("inf")


class WatcherHealth:
    """Compares what rescans find with what the watcher tells until shortly after."""

    def __init__(self, dirty: DirtyPaths, state: ServiceState) -> None:
        self.due = _NEVER
        """When to :meth:`judge`, by :func:`time.monotonic`."""
        self._dirty = dirty
        self._state = state
        self._found: list[str] = []
        self._left = 0

    def rescan_begins(self) -> None:
        """Listen to the watcher from now on, if nothing is still to be judged."""
        if not self._found:
            self._dirty.listen()

    def rescan_ended(self, news: Collection[str]) -> None:
        """Take the pages that a rescan has found changed; the watcher tells each of them too, if it sees."""
        self._found = sorted({*self._found, *news})
        self.due = min(self.due, time.monotonic() + (_GRACE_SECONDS if self._found else 0))

    def judge(self) -> bool:
        """Tell whether the watcher has missed anything."""
        self.due = _NEVER
        missed = self._dirty.unheard(self._found)
        self._found = []
        self._state.found_by_rescan += len(missed)
        if missed:
            if not self._state.blind:
                _log.warning(
                    "the watcher missed changes, which a rescan found: rescanning more often",
                    pages=len(missed),
                    first=missed[0],
                    every_seconds=BLIND_SECONDS,
                )
            self._state.blind = True
            self._left = _RESCANS
        elif self._state.blind:
            self._left -= 1
            if self._left <= 0:
                self._state.blind = False
                _log.info("the watcher misses nothing any more")
        return bool(missed)

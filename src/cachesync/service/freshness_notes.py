"""Notes of the index's freshness, which the service writes to the index for processes that only read it."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec.structs import replace

from cachesync.context import shielded, within
from cachesync.errors import CachesyncError
from cachesync.index.base import Notes
from cachesync.index.freshness import Freshness, note_freshness, read_freshness
from cachesync.service.scheduler import NEVER
from cachesync.service.state import ServiceState, in_sync, lag, shortcomings

SETTLED_SECONDS: Final = 2.0
"""A change of freshness is noted after this delay: notes are at least this far apart, and brief changes are skipped."""

CHECK_SECONDS: Final = 1.0
"""How often a pass checks whether a note is due."""

_TIMEOUT: Final = 1.0
"""How long writing a note may take."""

_RETRY_SECONDS: Final = 10.0
"""How long to wait before retrying a note that could not be written."""

_MIN_GRACE: Final = 30.0
_MAX_SECONDS: Final = 86_400.0
"""The longest interval at which notes are expected, however rare rescans are. A note may be late by the same time."""


class FreshnessNotes:
    """Notes the freshness when it changes and after each rescan. A note that can't be written doesn't stop the service.

    Only the thread that writes to the index may call the methods.
    """

    def __init__(
        self,
        notes: Notes,
        state: ServiceState,
        index_trouble: Callable[[], str | None],
        rescan_interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``index_trouble`` returns why the index is unavailable; ``clock`` is the clock of the times in ``state``."""
        self._notes = notes
        self._state = state
        self._index_trouble = index_trouble
        every = min(rescan_interval, _MAX_SECONDS)
        grace = max(every, _MIN_GRACE)
        self._promised = every + grace
        """The seconds within which each note promises the next note. A rescan writes that note and may take a while."""
        self._longest = every + grace / 2
        """After this many seconds a note is written even without a rescan."""
        self._clock = clock
        self._before: Freshness | None = None
        """The note as it was before this service became the writer."""
        self._noted: Freshness | None = None
        """The last note; None if the next note is due even if the freshness hasn't changed."""
        self._changed_at = NEVER
        """When the freshness began to differ from the last note."""
        self._next_at = clock()
        self._not_before = self._check_at = 0.0

    def begin(self) -> None:
        """Read the previous writer's note, and note that a service is now the writer."""
        with suppress(CachesyncError), within(_TIMEOUT):
            before = read_freshness(self._notes)
            self._before = before and replace(before, due=None)  # the process that wrote it has exited
        self.note()

    def due(self) -> float:
        """Compare the freshness with the last note, and return when :meth:`note` is due, by the clock."""
        is_news = self._noted is None or not self._noted.equals_ignoring_time(self._now())
        self._changed_at = min(self._changed_at, self._clock()) if is_news else NEVER
        return max(min(self._changed_at + SETTLED_SECONDS, self._next_at), self._not_before)

    def note(self) -> None:
        """Note the index's freshness. A note that can't be written is retried later."""
        freshness = self._now()
        try:
            with within(_TIMEOUT):
                note_freshness(self._notes, freshness)
        except CachesyncError:
            self._not_before = self._clock() + _RETRY_SECONDS
        else:
            self._noted, self._changed_at = freshness, NEVER
            self._next_at = self._clock() + self._longest

    def note_if_due(self) -> None:
        """Write a note during a long pass if one is due. Frequent calls are cheap."""
        now = self._clock()
        if now >= self._check_at:
            self._check_at = now + CHECK_SECONDS
            if self.due() <= now:
                self.note()

    def rescanned(self) -> None:
        """Make a note due because all pages have been scanned."""
        self._noted = None

    def end(self) -> None:
        """Note that no service is following the pages any more."""
        with suppress(CachesyncError), shielded(_TIMEOUT):
            note_freshness(self._notes, self._now(is_last=True))

    def _now(self, *, is_last: bool = False) -> Freshness:
        state, now, moment = self._state.snapshot(), self._clock(), datetime.now(UTC)
        state.role = "serving"  # also in the last note: the index is as it was while the service ran
        before = self._before
        behind = lag(state, now)
        if before and not state.caught_up:  # changes that were waiting then are still waiting
            behind = max(behind, before.lag(moment))
        written = [each for each in (state.last_written, before and before.written) if each]
        return Freshness(
            noted=moment,
            due=None if is_last else moment + timedelta(seconds=self._promised),
            writer="service",
            in_sync=in_sync(state, self._index_trouble()),
            lag_seconds=behind,
            written=max(written, default=None),
            degraded=shortcomings(state),
        )

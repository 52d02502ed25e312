"""How fresh the index is, noted in it by the service, so that whoever only reads the index can tell."""

import math
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
from cachesync.service.state import ServiceState, in_sync, lag, shortcomings

_SETTLED_SECONDS: Final = 2.0
"""A change is noted when it is so old. So notes are never closer, and what is over by then isn't noted."""

_LOOK_SECONDS: Final = 1.0
"""How often a pass looks whether there is something to note."""

_PATIENCE: Final = 1.0
"""How long a note may take."""

_RETRY_SECONDS: Final = 10.0
"""How soon to try again where it failed."""

_LEAST_GRACE: Final = 30.0
_MOST_SECONDS: Final = 86_400.0
"""How long there may be no note at the most, however rare rescans are; and for as long again it may be late."""

_NEVER: Final = math.inf


class FreshnessNotes:
    """Notes it when it changes, and after each rescan. That it can't be noted keeps nobody from working.

    All methods are for the thread that changes the index.
    """

    def __init__(
        self,
        notes: Notes,
        state: ServiceState,
        index_trouble: Callable[[], str | None],
        rescan_interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``index_trouble`` says why the index can't be used, and ``clock`` is that of the moments in ``state``."""
        self._notes = notes
        self._state = state
        self._index_trouble = index_trouble
        every = min(rescan_interval, _MOST_SECONDS)
        grace = max(every, _LEAST_GRACE)
        self._promised = every + grace
        """In how many seconds the next note is there at the latest: that of a rescan, which may take a while."""
        self._patience = every + grace / 2
        """For how many seconds to wait for a rescan until it is noted without one."""
        self._clock = clock
        self._before: Freshness | None = None
        """What was noted before this service became the writer."""
        self._noted: Freshness | None = None
        self._rescanned = False
        """There was a rescan since it was noted."""
        self._news_at = _NEVER
        """Since when there is something to note."""
        self._again_at = clock()
        self._not_before = self._look_at = 0.0

    def begin(self) -> None:
        """Note that a service is the writer now, and go on from what was noted before."""
        with suppress(CachesyncError), within(_PATIENCE):
            before = read_freshness(self._notes)
            self._before = before and replace(before, due=None)  # whoever noted it has ended
        self.note()

    def due(self) -> float:
        """Look whether there is something to note, and return when to :meth:`note` it, by the clock."""
        is_news = self._rescanned or self._noted is None or not self._noted.is_as(self._now())
        self._news_at = min(self._news_at, self._clock()) if is_news else _NEVER
        return max(min(self._news_at + _SETTLED_SECONDS, self._again_at), self._not_before)

    def note(self) -> None:
        """Note how fresh the index is now; where that fails, it is due again in a while."""
        freshness = self._now()
        try:
            with within(_PATIENCE):
                note_freshness(self._notes, freshness)
        except CachesyncError:
            self._not_before = self._clock() + _RETRY_SECONDS
        else:
            self._noted, self._rescanned, self._news_at = freshness, False, _NEVER
            self._again_at = self._clock() + self._patience

    def meanwhile(self) -> None:
        """Note what is due while a pass is under way, which may take long. It costs next to nothing."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            if self.due() <= now:
                self.note()

    def rescanned(self) -> None:
        """All pages were looked at, which is to be noted."""
        self._rescanned = True

    def end(self) -> None:
        """Note that nobody follows the pages any more."""
        with suppress(CachesyncError), shielded(_PATIENCE):
            note_freshness(self._notes, self._now(is_last=True))

    def _now(self, *, is_last: bool = False) -> Freshness:
        state, now, moment = self._state.snapshot(), self._clock(), datetime.now(UTC)
        state.role = "serving"  # until now: that the service is about to end changes nothing of what is so
        before = self._before
        behind = lag(state, now)
        if before and not state.caught_up:  # whatever has waited since then
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

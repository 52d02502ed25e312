"""When the service's next reindex is due, whoever has made the last one, and whether or not a service ran since."""

from datetime import datetime

from cachesync.index.base import Notes
from cachesync.service.schedule import LAST_REINDEX, SCHEDULED_SINCE, Schedule, moment_of, text_of


class Timetable:
    """Counts scheduled times from the last reindex, which is noted in the index.

    All methods raise IndexUnavailableError where the index doesn't answer.
    """

    def __init__(self, schedule: Schedule, notes: Notes) -> None:
        self.last: datetime | None = None
        """When the last reindex was, as far as it was looked up."""
        self._schedule = schedule
        self._notes = notes
        self._counted_from: datetime | None = None
        """Scheduled times before this one are done with."""

    def upcoming(self, now: datetime) -> datetime | None:
        """Return the scheduled time that a reindex is due at, which may be past; None: at none."""
        if self.last is None:
            self.last = moment_of(self._notes.get(LAST_REINDEX))
        if self.last and self.last > now:  # a clock was ahead
            self.reindexed(now)
        return self._schedule.next_after(self._counting_from(now))

    def reindexed(self, now: datetime) -> None:
        """Remember when the index was rebuilt."""
        self.last = now
        self._notes.put(LAST_REINDEX, text_of(now))

    def pass_over(self, now: datetime) -> None:
        """Do without a reindex at the times until now."""
        self._counted_from = now

    def _counting_from(self, now: datetime) -> datetime:
        """Return the moment after which scheduled times count: the last reindex, or the first look by the schedule."""
        if self._counted_from is None:
            self._counted_from = moment_of(self._notes.get(SCHEDULED_SINCE))
        since = max((each for each in (self.last, self._counted_from) if each and each <= now), default=None)
        if since is None and self._schedule.is_on:
            self._notes.put(SCHEDULED_SINCE, text_of(now))
        self._counted_from = self._counted_from if since else now
        return since or now

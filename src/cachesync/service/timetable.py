"""When the service's next reindex is due, whoever has made the last one, and whether or not a service ran since."""

from datetime import datetime

from cachesync.index.base import Notes
from cachesync.service.schedule import LAST_REINDEX, SCHEDULED_SINCE, Schedule, moment_of, text_of


def noted(schedule: Schedule, notes: Notes) -> tuple[datetime | None, datetime | None]:
    """Return when the last reindex was and for when the next one is scheduled, as far as the index has it noted."""
    last = moment_of(notes.get(LAST_REINDEX))
    since = max((each for each in (last, moment_of(notes.get(SCHEDULED_SINCE))) if each), default=None)
    return last, schedule.next_after(since) if since else None


class Timetable:
    """Counts scheduled times from the last reindex, which is noted in the index."""

    def __init__(self, schedule: Schedule, notes: Notes) -> None:
        self.last: datetime | None = None
        """When the last reindex was, as far as it was looked up."""
        self._schedule = schedule
        self._notes = notes
        self._counted_from: datetime | None = None
        """Scheduled times until then are done with, though there was no reindex."""
        self._to_note: dict[str, datetime] = {}

    def look(self, now: datetime) -> datetime | None:
        """Return the scheduled time that a reindex is due at, which may be past; None: at none.

        What has happened since the last look is noted; so is the first look at an index that was never rebuilt, since
        times count from there.

        Raises:
            IndexUnavailableError: the index doesn't answer.
        """
        if self.last is None:
            self.last = moment_of(self._notes.get(LAST_REINDEX))
        if self.last and self.last > now:  # a clock was ahead
            self.reindexed(now)
        since = self._counting_from(now)
        for key, moment in list(self._to_note.items()):
            self._notes.put(key, text_of(moment))
            del self._to_note[key]
        return self._schedule.next_after(since)

    def reindexed(self, now: datetime) -> None:
        """Remember when the index was rebuilt."""
        self.last = self._to_note[LAST_REINDEX] = now

    def pass_over(self, now: datetime) -> None:
        """Do without a reindex at the times until now."""
        self._counted_from = self._to_note[SCHEDULED_SINCE] = now

    def _counting_from(self, now: datetime) -> datetime:
        """Return the moment after which scheduled times count: the last reindex, or the first look by the schedule."""
        if self._counted_from is None:
            self._counted_from = moment_of(self._notes.get(SCHEDULED_SINCE))
        since = max((each for each in (self.last, self._counted_from) if each and each <= now), default=None)
        if since is None and self._schedule.is_on:
            self._to_note[SCHEDULED_SINCE] = now
        self._counted_from = self._counted_from if since else now
        return since or now

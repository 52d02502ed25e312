"""When the next reindex is due: the schedule, counted from what the index has noted."""

from datetime import datetime
from typing import NamedTuple

from cachesync.index.base import Notes
from cachesync.service.schedule import LAST_REINDEX, SCHEDULED_SINCE, Schedule, moment_of, text_of


class Counted(NamedTuple):
    """From which moment scheduled times count, and by which schedule (:attr:`Schedule.text`)."""

    since: datetime | None = None
    by: str = ""

    def encoded(self) -> bytes:
        """Return what is noted of it."""
        assert self.since
        return text_of(self.since) + b" " + self.by.encode()

    @classmethod
    def noted(cls, notes: Notes) -> "Counted":
        """Read that again. Without a schedule in it, as earlier versions have noted it, it is of another schedule."""
        moment, _, by = (notes.get(SCHEDULED_SINCE) or b"").partition(b" ")
        return cls(moment_of(moment), by.decode("utf-8", "replace"))


def noted(schedule: Schedule, notes: Notes) -> tuple[datetime | None, datetime | None]:
    """Return when the last reindex was and for when the next one is scheduled, as far as the index has it noted."""
    last = moment_of(notes.get(LAST_REINDEX))
    counted = Counted.noted(notes)
    if counted.since is None or counted.by != schedule.text:
        return last, None
    return last, schedule.next_after(max(last or counted.since, counted.since))


class Timetable:
    """Counts scheduled times from the last reindex, which is noted in the index, but none before the schedule was."""

    def __init__(self, schedule: Schedule, notes: Notes) -> None:
        self.last: datetime | None = None
        """When the last reindex was, as far as it was looked up."""
        self._schedule = schedule
        self._notes = notes
        self._counted: Counted | None = None
        """Scheduled times until then are done with, though there was no reindex; None: it wasn't looked up yet."""
        self._to_note: dict[str, bytes] = {}

    def look(self, now: datetime) -> datetime | None:
        """Return the scheduled time that a reindex is due at, which may be past; None: at none.

        What has happened since the last look is noted; so is the first look by a schedule: times count from there.

        Raises:
            IndexUnavailableError: the index doesn't answer.
        """
        if self.last is None:
            self.last = moment_of(self._notes.get(LAST_REINDEX))
        if self.last and self.last > now:  # a clock was ahead
            self.reindexed(now)
        since = self._counting_from(now)
        for key, text in list(self._to_note.items()):
            self._notes.put(key, text)
            del self._to_note[key]
        return self._schedule.next_after(since)

    def reindexed(self, now: datetime) -> None:
        """Remember when the index was rebuilt."""
        self.last = now
        self._to_note[LAST_REINDEX] = text_of(now)

    def pass_over(self, now: datetime) -> None:
        """Do without a reindex at the times until now."""
        self._counted = Counted(now, self._schedule.text)
        self._to_note[SCHEDULED_SINCE] = self._counted.encoded()

    def _counting_from(self, now: datetime) -> datetime:
        """Return the moment after which scheduled times count: the last reindex, or the first look by the schedule."""
        if self._counted is None:
            self._counted = Counted.noted(self._notes)
        is_new = self._counted.by != self._schedule.text
        if is_new or (self._counted.since and self._counted.since > now):
            self.pass_over(now)
        return max((each for each in (self.last, self._counted.since) if each), default=now)

"""When the next reindex is due, according to a schedule and to the times noted in the index."""

from datetime import UTC, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim

from cachesync.index.base import Notes

LAST_REINDEX: Final = "last-reindex"
"""The key of the note with the time of the last reindex."""

SCHEDULED_SINCE: Final = "scheduled-since"
"""The key of the note with a moment and a schedule: the schedule's times before that moment are ignored. The moment is
when a service first used the schedule, or when a reindex was refused."""


def moment_of(text: bytes | None) -> datetime | None:
    """Parse the moment in a note; return None if the note is missing or invalid."""
    try:
        return datetime.fromisoformat(text.decode()).astimezone(UTC) if text else None
    except ValueError:
        return None


def text_of(moment: datetime) -> bytes:
    """Return a moment as the text of a note."""
    return moment.isoformat(timespec="seconds").encode()


class Schedule:
    """The times of a cron expression in a time zone. Without an expression there are no times.

    A time that is skipped when clocks go forward becomes the moment after the gap. When clocks go back, only the first
    occurrence of a repeated time counts.
    """

    def __init__(self, cron: str | None, timezone: str) -> None:
        self._cron = cron
        self._zone = ZoneInfo(timezone)
        self.text = f"{cron} {timezone}" if cron else ""
        """The expression and time zone, which identify the schedule; an empty string without an expression."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first scheduled time after the aware datetime ``moment``, in UTC; None if there is none."""
        if self._cron is None:
            return None
        for local in CronSim(self._cron, moment.astimezone(self._zone)):
            # CronSim yields the first occurrence of an hour that occurs twice, which may be before ``moment``.
            if (time := local.astimezone(UTC)) > moment:
                return time
        return None


class CountingStart(NamedTuple):
    """The moment from which a schedule's times count, and the schedule (:attr:`Schedule.text`)."""

    since: datetime | None = None
    by: str = ""

    def encoded(self) -> bytes:
        """Return the moment and the schedule as the text of a note."""
        assert self.since
        return text_of(self.since) + b" " + self.by.encode()

    @classmethod
    def noted(cls, notes: Notes) -> "CountingStart":
        """Read the note. Notes of earlier versions lack the schedule, so they count as notes of another schedule."""
        moment, _, by = (notes.get(SCHEDULED_SINCE) or b"").partition(b" ")
        return cls(moment_of(moment), by.decode("utf-8", "replace"))


def noted(schedule: Schedule, notes: Notes) -> tuple[datetime | None, datetime | None]:
    """Return the last and the next reindex time from the notes in the index, each None if it is unknown."""
    last = moment_of(notes.get(LAST_REINDEX))
    counted = CountingStart.noted(notes)
    if counted.since is None or counted.by != schedule.text:
        return last, None
    return last, schedule.next_after(max(last or counted.since, counted.since))


class Timetable:
    """Finds the next scheduled time after the last reindex, ignoring times before the schedule was first configured."""

    def __init__(self, schedule: Schedule, notes: Notes) -> None:
        self.last: datetime | None = None
        """The time of the last reindex; None if there was none or its note has not been read yet."""
        self._schedule = schedule
        self._notes = notes
        self._counted: CountingStart | None = None
        """The moment before which scheduled times are skipped; None until its note has been read."""
        self._to_note: dict[str, bytes] = {}

    def next_due(self, now: datetime) -> datetime | None:
        """Return the time of the next scheduled reindex, which may be in the past; None if there is none.

        The method also writes pending notes. For a new schedule, it notes ``now`` as the moment from which times count.

        Raises:
            IndexUnavailableError: the index doesn't answer.
        """
        if self.last is None:
            self.last = moment_of(self._notes.get(LAST_REINDEX))
        if self.last and self.last > now:  # noted while a clock was ahead
            self.reindexed(now)
        if self._counted is None:
            self._counted = CountingStart.noted(self._notes)
        is_new = self._counted.by != self._schedule.text
        if is_new or (self._counted.since and self._counted.since > now):
            self.skip_until(now)
        for key, text in list(self._to_note.items()):
            self._notes.put(key, text)
            del self._to_note[key]
        since = [each for each in (self.last, self._counted.since) if each]
        return self._schedule.next_after(max(since, default=now))

    def reindexed(self, now: datetime) -> None:
        """Record that a reindex has gone live. :meth:`next_due` writes the note."""
        self.last = now
        self._to_note[LAST_REINDEX] = text_of(now)

    def skip_until(self, now: datetime) -> None:
        """Skip the scheduled times until ``now``. :meth:`next_due` writes the note."""
        self._counted = CountingStart(now, self._schedule.text)
        self._to_note[SCHEDULED_SINCE] = self._counted.encoded()

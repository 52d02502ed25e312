"""The schedule of reindexes: a cron expression in a time zone."""

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

LAST_REINDEX: Final = "last-reindex"
"""The key of the note with the time of the last reindex."""

SCHEDULED_SINCE: Final = "scheduled-since"
"""The key of the note with a moment and a schedule: that schedule's times before the moment are ignored. The moment is
when a service first had the schedule, or when a reindex was refused."""


def moment_of(text: bytes | None) -> datetime | None:
    """Parse the moment in a note; None if there is none."""
    try:
        return datetime.fromisoformat(text.decode()).astimezone(UTC) if text else None
    except ValueError:
        return None


def text_of(moment: datetime) -> bytes:
    """Return a moment as the text of a note."""
    return moment.isoformat(timespec="seconds").encode()


class Schedule:
    """The times of a cron expression in a time zone; none without an expression.

    A time that is skipped when clocks go forward becomes the moment after the gap. A time that occurs twice when they
    go back counts once, the first time.
    """

    def __init__(self, cron: str | None, timezone: str) -> None:
        self._cron = cron
        self._zone = ZoneInfo(timezone)
        self.text = f"{cron} {timezone}" if cron else ""
        """The expression and time zone, which identify the schedule; empty without an expression."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after an aware ``moment``, in UTC; None if there is none."""
        if self._cron is None:
            return None
        for local in CronSim(self._cron, moment.astimezone(self._zone)):
            # CronSim yields the first occurrence of an hour that occurs twice, which may be before ``moment``.
            if (time := local.astimezone(UTC)) > moment:
                return time
        return None

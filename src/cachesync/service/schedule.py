"""When the index is to be rebuilt."""

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

LAST_REINDEX: Final = "last-reindex"
"""The key of the note that says when the index was last rebuilt by a reindex."""

SCHEDULED_SINCE: Final = "scheduled-since"
"""The key of the note with the moment from which scheduled times count, if the last reindex was earlier, and the
expression that they are counted by: when a service first had that expression, or a reindex came to nothing."""


def moment_of(text: bytes | None) -> datetime | None:
    """Return the moment that a note names; None where it names none."""
    try:
        return datetime.fromisoformat(text.decode()).astimezone(UTC) if text else None
    except ValueError:
        return None


def text_of(moment: datetime) -> bytes:
    """Return what is written down of a moment."""
    return moment.isoformat(timespec="seconds").encode()


class Schedule:
    """The times that a cron expression names in a time zone; none without an expression.

    Where clocks are put forward a time that is left out is the moment after the gap, and where they are put back a
    time that comes twice is its first.
    """

    def __init__(self, cron: str | None, timezone: str) -> None:
        self._cron = cron
        self._zone = ZoneInfo(timezone)
        self.text = f"{cron} {timezone}" if cron else ""
        """What tells it from other schedules; empty without an expression."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after an aware ``moment``, in UTC; None if there is none."""
        if self._cron is None:
            return None
        for local in CronSim(self._cron, moment.astimezone(self._zone)):
            # An hour that comes twice is told by its first, which may be before a moment in its second.
            if (time := local.astimezone(UTC)) > moment:
                return time
        return None

"""When the index is to be rebuilt."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim


class Schedule:
    """The times that a cron expression names in a time zone; none without an expression.

    Where clocks are put forward a time that is left out is the moment after the gap, and where they are put back a
    time that comes twice is its first.
    """

    def __init__(self, cron: str | None, timezone: str) -> None:
        self._cron = cron
        self._zone = ZoneInfo(timezone)
        self._looking_since: datetime | None = None

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after an aware ``moment``, in UTC; None if there is none."""
        if self._cron is None:
            return None
        for local in CronSim(self._cron, moment.astimezone(self._zone)):
            # An hour that comes twice is told by its first, which may be before a moment in its second.
            if (time := local.astimezone(UTC)) > moment:
                return time
        return None

    def due(self, last: datetime | None, now: datetime) -> bool:
        """Tell whether there was a time since the ``last`` run; times missed meanwhile are made up for by one run.

        Without a last run, or with one that the clock says is yet to come, times count from the first look on.
        """
        self._looking_since = min(self._looking_since or now, now)
        since = last if last and last <= now else self._looking_since
        time = self.next_after(since)
        return time is not None and time <= now

"""How fresh an index is, as whoever writes it notes it beside it, for readers that can ask nobody else."""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

from cachesync.errors import ForbiddenError
from cachesync.index.base import Notes

FRESHNESS: Final = "freshness"
"""The key of the note with :class:`Freshness`."""

Shortcoming = Literal[
    "trouble",  # pages can't be looked at
    "held",  # deletes are held back, since too much would be lost
    "rolled-back",  # a rollback holds the index as it is
    "empty",  # there are no pages at all
    "problems",  # some pages can't be used
    "unwatched",  # nothing watches the pages, and only rescans find what changes
    "polling",  # the pages are watched in another way than was wanted
    "reindex-failed",
    "blind",  # the watcher misses changes, and rescans find them
]
"""What somebody should look after though the index can be searched, in words that stay as they are."""

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """What is noted. It is shown to the public, so it names no machine, no path and nobody.

    Its moments are of the writer's clock, and those that it is asked about are of the reader's.
    """

    noted: _Moment
    """When this was so."""
    due: _Moment | None = None
    """When the next note is there at the latest; None: there need be none, since the writer has ended."""
    writer: Literal["service", "command"]
    """Who wrote last: a service, which follows the pages, or a command, which ended."""
    in_sync: bool
    """The index equalled the pages, as far as the writer knew."""
    lag_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """For how long the oldest change had waited; more than 0 wherever one had."""
    written: _Moment | None = None
    """When documents were last written or deleted; None: not since that is noted."""
    degraded: tuple[str, ...] = ()
    """Each is a :data:`Shortcoming`, unless a later version noted it."""

    @property
    def is_finished(self) -> bool:
        """A command brought the index up to date and ended: nothing waits, and nobody knows of later changes."""
        return self.writer == "command" and self.in_sync and not self.lag_seconds

    def is_followed(self, now: datetime) -> bool:
        """Tell whether a service follows the pages still.

        It doesn't where it has ended, or where its next note is overdue, whatever the reason.
        """
        return self.due is not None and now <= self.due

    def lag(self, now: datetime) -> float:
        """Return for how many seconds a change may have waited by now, as far as the note tells.

        Who follows the pages and had nothing waiting would have noted a change: so there is none. Otherwise time goes
        on for what waited, and where nobody follows the pages any more, for what may have changed since the note.
        """
        if self.is_followed(now) and not self.lag_seconds:
            return 0.0
        return self.lag_seconds + max(0.0, (now - self.noted).total_seconds())

    def is_as(self, other: "Freshness") -> bool:
        """Tell whether another note says the same, whenever it was noted."""
        return _said(self) == _said(other)


def _said(freshness: Freshness) -> tuple[object, ...]:
    behind = freshness.lag_seconds > 0
    return freshness.writer, freshness.in_sync, behind, freshness.written, freshness.degraded


def note_freshness(notes: Notes, freshness: Freshness) -> None:
    """Note how fresh the index is.

    Raises:
        CachesyncError: it can't be noted.
    """
    notes.put(FRESHNESS, msgspec.json.encode(freshness))


def read_freshness(notes: Notes) -> Freshness | None:
    """Return how fresh the index is; None: nobody has noted it, in words that this version knows, or we may not know.

    Raises:
        IndexUnavailableError: the index doesn't answer.
    """
    try:
        text = notes.get(FRESHNESS)
        return msgspec.json.decode(text, type=Freshness) if text else None
    except (ForbiddenError, msgspec.MsgspecError):
        return None

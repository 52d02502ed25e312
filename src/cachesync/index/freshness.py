"""How up to date an index is: a note that the writer stores beside it, for readers without access to the writer."""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

from cachesync.errors import ForbiddenError
from cachesync.index.base import Notes

FRESHNESS: Final = "freshness"
"""The key of the note with :class:`Freshness`."""

Shortcoming = Literal[
    "trouble",  # pages can't be scanned
    "held",  # deletes are withheld, since too many specs would be lost
    "rolled-back",  # a rollback has pinned the index
    "empty",  # there are no pages
    "problems",  # some pages can't be used
    "unwatched",  # the pages aren't watched, and only rescans find changes
    "polling",  # the watcher polls, though it was configured to use native events
    "reindex-failed",
    "blind",  # the watcher misses changes, and rescans find them
]
"""What an operator should attend to, though the index can be searched. These identifiers are stable."""

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of the note. They are shown to the public, so they name no host, path or person.

    The note's times are of the writer's clock; a ``now`` that is passed in is of the reader's clock.
    """

    noted: _Moment
    """When this note was written."""
    due: _Moment | None = None
    """By when the next note will be written at the latest; None if the writer has ended."""
    writer: Literal["service", "command"]
    """The last writer: a service, which follows the pages, or a command, which has ended."""
    in_sync: bool
    """Whether the index equalled the pages, as far as the writer knew."""
    lag_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """For how long the oldest change had waited; 0 only if no change was waiting."""
    written: _Moment | None = None
    """When documents were last written or deleted; None if not since this is noted."""
    degraded: tuple[str, ...] = ()
    """Each is a :data:`Shortcoming`, unless a later version wrote the note."""

    @property
    def is_finished(self) -> bool:
        """Whether a command brought the index up to date and ended, so that later changes are unknown."""
        return self.writer == "command" and self.in_sync and not self.lag_seconds

    def is_followed(self, now: datetime) -> bool:
        """Whether a service still follows the pages.

        It doesn't if it has ended, or if its next note is overdue for whatever reason.
        """
        return self.due is not None and now <= self.due

    def lag(self, now: datetime) -> float:
        """Return for how many seconds a change may have waited by now, according to the note.

        It is 0 while a service follows the pages and no change was waiting, since the service would have noted one.
        Otherwise the time since the note is added: for a change that was waiting or, without a service, any later one.
        """
        if self.is_followed(now) and not self.lag_seconds:
            return 0.0
        return self.lag_seconds + max(0.0, (now - self.noted).total_seconds())

    def equals_ignoring_time(self, other: "Freshness") -> bool:
        """Whether another note says the same, except for its times."""
        return _timeless(self) == _timeless(other)


def _timeless(freshness: Freshness) -> tuple[object, ...]:
    behind = freshness.lag_seconds > 0
    return freshness.writer, freshness.in_sync, behind, freshness.written, freshness.degraded


def note_freshness(notes: Notes, freshness: Freshness) -> None:
    """Write the note.

    Raises:
        CachesyncError: it can't be written.
    """
    notes.put(FRESHNESS, msgspec.json.encode(freshness))


def read_freshness(notes: Notes) -> Freshness | None:
    """Return the note; None if there is none that this version can decode, or the credentials don't allow reading it.

    Raises:
        IndexUnavailableError: the index doesn't respond.
    """
    try:
        text = notes.get(FRESHNESS)
        return msgspec.json.decode(text, type=Freshness) if text else None
    except (ForbiddenError, msgspec.MsgspecError):
        return None

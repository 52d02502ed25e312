"""How up to date an index is: a note that the writer stores beside the index for readers that can't ask the writer."""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

from cachesync.errors import ForbiddenError
from cachesync.index.base import Notes

FRESHNESS: Final = "freshness"
"""The key of the note with :class:`Freshness`."""

Shortcoming = Literal[
    "trouble",  # pages can't be scanned
    "held",  # deletes are withheld, because too many specs would be lost
    "rolled-back",  # a rollback has pinned the index
    "empty",  # there are no pages
    "problems",  # some pages can't be read
    "unwatched",  # the pages aren't watched, and only rescans find changes
    "polling",  # the watcher polls, though it was configured to use native events
    "reindex-failed",
    "blind",  # the watcher misses changes, and rescans find them
]
"""Something that an operator should attend to, although the index can be searched. The identifiers are stable."""

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of the note. The public can see the note, so it must not name a host, a path or a person.

    The note's times come from the writer's clock; a ``now`` that is passed in comes from the reader's clock.
    """

    noted: _Moment
    """When this note was written."""
    due: _Moment | None = None
    """The latest time at which the next note will be written; None if the writer has stopped."""
    writer: Literal["service", "command"]
    """The last writer: a service, which follows the pages, or a command, which has exited."""
    in_sync: bool
    """Whether the index equalled the pages, as far as the writer could tell."""
    lag_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """How long the oldest change had been waiting; 0 only if no change was waiting."""
    written: _Moment | None = None
    """When documents were last written or deleted; None if no writer has noted this yet."""
    degraded: tuple[str, ...] = ()
    """The shortcomings. Each is a :data:`Shortcoming`, unless a later version wrote the note."""

    @property
    def is_finished(self) -> bool:
        """Whether a command brought the index up to date and then exited, so later changes are unknown."""
        return self.writer == "command" and self.in_sync and not self.lag_seconds

    def is_followed(self, now: datetime) -> bool:
        """Whether a service still follows the pages.

        The result is False if the service has stopped, or if its next note is overdue for whatever reason.
        """
        return self.due is not None and now <= self.due

    def lag(self, now: datetime) -> float:
        """Return how many seconds a change may have been waiting by now, according to the note.

        The lag is 0 while a service follows the pages and no change was waiting, because the service would have noted a
        later change. Otherwise the time since the note is added: a change that was waiting may still be waiting and,
        without a service, any later change may be waiting.
        """
        if self.is_followed(now) and not self.lag_seconds:
            return 0.0
        return self.lag_seconds + max(0.0, (now - self.noted).total_seconds())

    def equals_ignoring_time(self, other: "Freshness") -> bool:
        """Whether another note says the same, apart from when it was written and is due, and how long the lag is."""
        return _timeless(self) == _timeless(other)


def _timeless(freshness: Freshness) -> tuple[object, ...]:
    behind = freshness.lag_seconds > 0
    return freshness.writer, freshness.in_sync, behind, freshness.written, freshness.degraded


def note_freshness(notes: Notes, freshness: Freshness) -> None:
    """Write the note.

    Raises:
        CachesyncError: the note can't be written.
    """
    notes.put(FRESHNESS, msgspec.json.encode(freshness))


def read_freshness(notes: Notes) -> Freshness | None:
    """Return the note, or None if it doesn't exist, this version can't decode it, or the credentials forbid reading it.

    Raises:
        IndexUnavailableError: the index doesn't respond.
    """
    try:
        text = notes.get(FRESHNESS)
        return msgspec.json.decode(text, type=Freshness) if text else None
    except (ForbiddenError, msgspec.MsgspecError):
        return None

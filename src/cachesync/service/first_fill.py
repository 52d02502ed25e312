"""The progress of the first fill, noted so that commands can show it while there is no index yet."""

import time
from contextlib import suppress
from typing import Final

import msgspec

from cachesync.context import within
from cachesync.errors import CachesyncError
from cachesync.index.base import Notes

_KEY: Final = "filling"
_EVERY_SECONDS: Final = 1.0


class FillProgress(msgspec.Struct, frozen=True):
    """How many pages of the first fill are done, and how many there are."""

    done: int
    pages: int


def noted_progress(notes: Notes) -> FillProgress | None:
    """Return the progress of the first fill; None if none is noted.

    Raises:
        IndexUnavailableError: the index doesn't answer.
    """
    try:
        return msgspec.json.decode(notes.get(_KEY) or b"null", type=FillProgress | None)
    except msgspec.MsgspecError:
        return None


class FirstFill:
    """Notes the progress at most once a second. If a note can't be written, the fill continues without it."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._noted_at: float | None = None

    def note(self, done: int, pages: int) -> None:
        """Note how many pages are done."""
        now = time.monotonic()
        if self._noted_at is None or now - self._noted_at >= _EVERY_SECONDS:
            self._noted_at = now
            with suppress(CachesyncError), within(_EVERY_SECONDS):
                self._notes.put(_KEY, msgspec.json.encode(FillProgress(done, pages)))

    def over(self) -> None:
        """Remove the note because the index now exists."""
        if self._noted_at is not None:
            self._noted_at = None
            with suppress(CachesyncError):
                self._notes.remove(_KEY)

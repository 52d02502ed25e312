"""The interface of an index. Each engine implements it, and one contract test suite covers them all.

An index is a series of *generations*: one is live, the others are being built or kept for a rollback.
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from cachesync.index.generation import Reader
from cachesync.index.lifecycle import Writer


class Status(NamedTuple):
    """The state of an index as a whole."""

    holder: str | None
    """The process that is the writer."""
    pinned: bool
    """Whether a rollback made the live generation live; nothing is synced until a reindex."""
    kept: list[str]
    """Generations that a rollback can go back to, the latest first."""
    service: bool
    """Whether the holder is a service, which keeps running and carries out the requests of commands."""
    sign: str | None
    """A value that a live holder changes every few seconds; None if there is no holder, or it is known to be alive."""


class Notes(Protocol):
    """Small messages between processes, stored beside the index. They outlive generations.

    Keys consist of ``a-z``, ``0-9`` and ``-``. Every method may raise IndexUnavailableError.
    """

    def get(self, key: str) -> bytes | None:
        """Return a note; None if there is none.

        Raises:
            ForbiddenError: the credentials don't allow reading it.
        """

    def put(self, key: str, text: bytes) -> None:
        """Write a note (UTF-8), replacing an earlier one atomically: readers never see a partial note."""

    def remove(self, key: str) -> None:
        """Remove a note, if it exists."""

    def list_keys(self) -> list[str]:
        """Return the keys of all notes, in any order. It takes longer than reading one note."""


OnWait = Callable[[str], None]
"""Called at least every second, while waiting for another writer, with that process's description."""


def ignore(_holder: str) -> None:
    """Ignore which process is being waited for."""


class Index(Protocol):
    """An index at a URL. Creating the object accesses nothing."""

    engine: str
    url: str

    def exists(self) -> bool:
        """Whether there is a live generation, whatever its state."""

    def reader(self, *, refresh: bool = False) -> Reader:
        """Open the live generation for reading; if ``refresh``, with everything written so far.

        Raises:
            NoIndexError: there is none yet.
            IndexUnavailableError: it can't be used.
        """

    def made(self, generation: str) -> datetime | None:
        """Return when a generation was created; None if that is unknown, or the generation doesn't exist."""

    def status(self) -> Status:
        """Return which process is the writer, and the rest of the index's state."""

    def require_rights(self) -> None:
        """Make sure that we are allowed to write, as far as that can be checked without writing.

        Raises:
            IndexUnavailableError: we aren't; the message names what is missing.
        """

    def writer(self, wait: float, *, serving: bool = False, on_wait: OnWait = ignore) -> AbstractContextManager[Writer]:
        """Become the one writer, waiting up to ``wait`` seconds for another to end. This alone writes no document.

        Args:
            wait: may be ``math.inf``.
            serving: the writer is a service. It polls less often, owns the index from the beginning, and
                :meth:`status` reports it.
            on_wait: called with the process that is being waited for.

        Raises:
            IndexUnavailableError: there is still another writer, or we aren't allowed to write.
        """

    def close(self) -> None:
        """Close connections. Using the index again opens new ones."""

    def notes(self) -> Notes:
        """Open the notes stored beside the index."""

    def signal(self) -> None:
        """Ask the writer, if it is a service, to check for requests, which it does within a few seconds."""


def note_key(key: str) -> str:
    """Return the key of a note if it is valid.

    Raises:
        ValueError: it is not.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not a valid key: expected a-z, 0-9 and -")
    return key


_KEY: Final = re.compile("[a-z0-9-]+")

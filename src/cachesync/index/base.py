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
    """Whether a rollback has pinned the index to its live generation; nothing is synced until a reindex."""
    kept: list[str]
    """The generations that a rollback can go back to, latest first."""
    service: bool
    """Whether the holder is a service, which keeps running and carries out the requests of commands."""
    sign: str | None
    """The heartbeat: a value that a live holder changes every few seconds. None if there is no holder, or if the engine
    detects a dead holder without a heartbeat."""


class Notes(Protocol):
    """Small messages between processes, stored beside the index. Notes outlive generations.

    Keys consist of ``a-z``, ``0-9`` and ``-``. Every method may raise IndexUnavailableError.
    """

    def get(self, key: str) -> bytes | None:
        """Return a note, or None if it doesn't exist.

        Raises:
            ForbiddenError: the credentials don't allow reading the note.
        """

    def put(self, key: str, text: bytes) -> None:
        """Write a note (UTF-8), atomically replacing any earlier one: readers never see a partial note."""

    def remove(self, key: str) -> None:
        """Remove a note, if it exists."""

    def list_keys(self) -> list[str]:
        """Return the keys of all notes, in any order. Listing keys takes longer than reading one note."""


OnWait = Callable[[str], None]
"""Called with a description of the other writer, at least every second while we wait for it."""


def ignore(_holder: str) -> None:
    """Do nothing. This is the default for ``on_wait``."""


class Index(Protocol):
    """An index at a URL. Creating the object doesn't access the index."""

    engine: str
    url: str

    def exists(self) -> bool:
        """Whether there is a live generation, whatever its state."""

    def reader(self, *, refresh: bool = False) -> Reader:
        """Open the live generation for reading. If ``refresh``, searches find everything written so far.

        Raises:
            NoIndexError: there is no live generation yet.
            IndexUnavailableError: the live generation can't be read.
        """

    def made(self, generation: str) -> datetime | None:
        """Return when a generation was created, or None if the time is unknown or the generation doesn't exist."""

    def status(self) -> Status:
        """Return which process is the writer, and the rest of the index's state."""

    def require_rights(self) -> None:
        """Check that we are allowed to write, as far as this is possible without writing.

        Raises:
            IndexUnavailableError: we aren't allowed to write; the message names what is missing.
        """

    def writer(self, wait: float, *, serving: bool = False, on_wait: OnWait = ignore) -> AbstractContextManager[Writer]:
        """Become the one writer, waiting up to ``wait`` seconds for another writer to stop. No document is written yet.

        Args:
            wait: the number of seconds, which may be ``math.inf``.
            serving: the writer is a service. A service polls less often, owns the index from the beginning, and is
                reported by :meth:`status`.
            on_wait: called with a description of the other writer while we wait for it.

        Raises:
            IndexUnavailableError: another process is still the writer, or we aren't allowed to write.
        """

    def close(self) -> None:
        """Close all connections. Using the index afterwards opens new ones."""

    def notes(self) -> Notes:
        """Open the notes stored beside the index."""

    def signal(self) -> None:
        """Ask the writer to check for requests. If the writer is a service, it checks within a few seconds."""


def note_key(key: str) -> str:
    """Return ``key`` unchanged if it is a valid key of a note.

    Raises:
        ValueError: the key is invalid.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not a valid key: expected a-z, 0-9 and -")
    return key


_KEY: Final = re.compile("[a-z0-9-]+")

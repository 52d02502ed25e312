"""An embedded index: a folder with its generations, the lock of its writer, and notes between processes.

The writer locks ``DIR/NAME/lock``, and a service also locks ``DIR/NAME/service``. The notes are in ``DIR/NAME/notes``.
"""

import contextlib
import os
import pwd
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cachesync.errors import IndexUnavailableError, IndexUnusableError, NoIndexError, UsageError
from cachesync.index.base import Notes, OnWait, Status, ignore
from cachesync.index.embedded import lock
from cachesync.index.embedded.catalog import META, live_folder, pins, read_catalog
from cachesync.index.embedded.files import SmallFiles
from cachesync.index.embedded.lock import WriterLock
from cachesync.index.embedded.store import NOTES, EmbeddedStore, open_generation
from cachesync.index.generation import Reader
from cachesync.index.lifecycle import Writer

_ROOT: Final = 0


class EmbeddedIndex:
    """The index called ``name`` in a folder."""

    engine = "embedded"

    def __init__(self, folder: Path, name: str, keep_generations: int = 1) -> None:
        """Keep ``keep_generations`` generations that a rollback can go back to."""
        self.url = f"embedded:{os.path.normpath(folder)}"
        self._folder = folder / name
        self._keep = keep_generations

    def exists(self) -> bool:
        """Whether there is a live generation."""
        self._require_ours()
        return live_folder(self._folder) is not None

    def reader(self, *, refresh: bool = False) -> Reader:  # noqa: ARG002  a new reader always has everything written
        """Open the live generation for reading."""
        self._require_ours()
        live = live_folder(self._folder)
        while live:
            try:
                return open_generation(live)
            except IndexUnusableError:
                live, before = live_folder(self._folder), live
                if live == before:  # otherwise that generation was replaced while being opened
                    raise
        raise NoIndexError(f"no index in {self._folder} yet: `cachesync sync` makes one")

    def made(self, generation: str) -> datetime | None:
        """Return when a generation's metadata was written, which happens when the generation is created."""
        try:
            return datetime.fromtimestamp((self._folder / generation / META).stat().st_mtime, UTC)
        except OSError:
            return None

    def status(self) -> Status:
        """Return which process is the writer, and which generations are kept."""
        self._require_ours()
        catalog = read_catalog(self._folder)
        serving = lock.is_serving(self._folder)
        holder = lock.holder_of(self._folder) or ("another process" if serving else None)  # in another container
        return Status(
            holder=holder,
            pinned=catalog.live is not None and catalog.live.name in pins(self._folder),
            kept=[entry.name for entry in catalog.kept()] if catalog.live else [],
            service=serving,
            sign=None,
        )

    @contextlib.contextmanager
    def writer(self, wait: float, *, serving: bool = False, on_wait: OnWait = ignore) -> Iterator[Writer]:
        """Become the one writer."""
        self.require_rights()
        writer_lock = WriterLock(self._folder, serving=serving)
        try:
            writer_lock.acquire(wait, on_wait)
            yield Writer(EmbeddedStore(self._folder, writer_lock), self._keep)
        finally:
            writer_lock.release()

    def require_rights(self) -> None:
        """Reject writing as root to another user's index, because that user couldn't replace root's files afterwards.

        For other users, the first write fails if they lack permissions.
        """
        self._require_ours()
        place = next((each for each in (self._folder, self._folder.parent) if each.is_dir()), None)
        if os.geteuid() != _ROOT or place is None:
            return
        owner = place.stat().st_uid
        if owner != _ROOT:
            raise IndexUnavailableError(
                f"{place} belongs to the user {_user_name(owner)}, who couldn't replace what root has written: "
                f"run this as that user, by sudo -u or setpriv --reuid={owner}"
            )

    def close(self) -> None:
        """Do nothing: nothing is kept open."""

    def notes(self) -> Notes:
        """Open the notes, which are in the folder."""
        return SmallFiles(self._folder / NOTES, self._prepare)

    def signal(self) -> None:
        """Do nothing: the writer notices that the notes have changed."""

    def _prepare(self) -> None:
        self._require_ours()
        lock.prepare(self._folder)

    def _require_ours(self) -> None:
        """Check that the folder, unless it is empty, is an index of ours.

        Raises:
            UsageError: the folder isn't an index of ours.
            IndexUnavailableError: the folder can't be read.
        """
        try:
            foreign = any(self._folder.iterdir()) and not lock.is_ours(self._folder)
        except FileNotFoundError:
            foreign = False
        except NotADirectoryError:
            foreign = True
        except OSError as error:
            raise IndexUnavailableError(f"cannot read {self._folder}: {error.strerror}") from error
        if foreign:
            raise UsageError(
                f"{self._folder} is not a cachesync index, and was left alone: choose another index.url or index.name"
            )


def _user_name(user: int) -> str:
    """Return a user's name, or the user's number if there is no name for it."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)

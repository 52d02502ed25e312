"""The steps of a generation's life cycle in a folder: to create, link to and remove the generation."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import tantivy

from cachesync.documents import FIELDS, fingerprint
from cachesync.errors import IndexUnavailableError, IndexUnusableError
from cachesync.index.catalog import Catalog, GenerationEntry, number_in
from cachesync.index.embedded.catalog import (
    BUILDING,
    LIVE,
    META,
    PIN,
    REMOVED,
    is_there,
    live_folder,
    pins,
    read_catalog,
)
from cachesync.index.embedded.errors import tantivy_errors
from cachesync.index.embedded.files import SmallFiles, remove_tree, write_atomically
from cachesync.index.embedded.generation import EmbeddedGeneration
from cachesync.index.embedded.lock import WriterLock
from cachesync.index.embedded.schema import schema
from cachesync.log import get_logger

_log = get_logger()

NOTES: Final = "notes"
_TANTIVY_META: Final = "meta.json"

LAYOUT: Final = 1
"""Raise this number when an index with an older layout becomes unusable, even until the next ``reindex``."""

_ROOM: Final = 1.2
"""How much disk space a new generation needs, as a multiple of the live one's size."""


class _GenerationMeta(msgspec.Struct):
    """The fields and layout with which a generation was made."""

    fingerprint: str
    fields: list[str]
    layout: int


# Many methods: one for each step of the GenerationStore protocol.
class EmbeddedStore:
    """The generations of an index in a folder, see :class:`cachesync.index.lifecycle.GenerationStore`."""

    def __init__(self, folder: Path, writer_lock: WriterLock) -> None:
        self.name = folder.name
        self._folder = folder
        self._lock = writer_lock
        self._notes = SmallFiles(folder / NOTES)
        self._new_link = folder / f"{LIVE}.new"
        self._new_pin = folder / f"{PIN}.new"

    def tidy(self) -> None:
        """Remove temporary files, the mark of a build that has since gone live, and partly removed generations."""
        self._lock.confirm()
        live = live_folder(self._folder)
        with _changing(self._folder):
            for left in (self._new_link, self._new_pin, *([live / BUILDING] if live else [])):
                if os.path.lexists(left):  # on a read-only file system, even removing a missing file fails
                    left.unlink(missing_ok=True)
            for folder in self._folder.glob(f"*{REMOVED}"):
                if number_in(self.name, folder.name.removesuffix(REMOVED)) is not None:
                    remove_tree(folder)

    def claim(self) -> None:
        """Check that we hold the lock."""
        self._lock.confirm()

    def confirm(self) -> None:
        """Check that we hold the lock."""
        self._lock.confirm()

    def catalog(self) -> Catalog:
        """List the generations."""
        return read_catalog(self._folder)

    def open(self, entry: GenerationEntry) -> EmbeddedGeneration:
        """Open a generation, and repair what a killed writer has left in it."""
        generation = open_generation(self._folder / entry.name)
        generation.tidy()
        return generation

    def open_ledger(self, entry: GenerationEntry) -> EmbeddedGeneration:
        """Open a generation, whichever version made it."""
        return EmbeddedGeneration(self._folder / entry.name)

    def require_room(self, live: str) -> None:
        """Check that the file system has room for a second generation."""
        if not (self._folder / live).is_dir():  # somebody has removed it
            return
        with _changing(self._folder):
            files = [file for file in (self._folder / live).iterdir() if file.is_file()]
            needed = sum(file.stat().st_size for file in files) * _ROOM
            place = os.statvfs(self._folder)
        free = place.f_bavail * place.f_frsize
        if free < needed:
            raise IndexUnavailableError(
                f"no room for a new generation in {self._folder}: it needs about {needed / 1e6:,.0f} MB, "
                f"and {free / 1e6:,.0f} MB are free"
            )

    def reserve(self, highest: int) -> str:
        """Return the name with the next number."""
        return f"{self.name}-{highest + 1}"

    def create(self, name: str) -> EmbeddedGeneration:
        """Create a new generation's folder. The files that mark the folder as unfinished and ours are written first."""
        folder = self._folder / name
        try:
            folder.mkdir()
            (folder / BUILDING).touch()
            (folder / META).write_bytes(msgspec.json.encode(_GenerationMeta(fingerprint(), list(FIELDS), LAYOUT)))
            tantivy.Index(schema(), str(folder))
        except (OSError, ValueError) as error:
            raise IndexUnavailableError(f"cannot make an index in {self._folder}: {error}") from error
        return EmbeddedGeneration(folder)

    def settle(self, name: str) -> None:
        """Do nothing: everything that was written is already on disk."""

    def point(self, name: str) -> None:
        """Point the link to a generation by one rename."""
        self._lock.confirm()
        if not (self._folder / name).is_dir():
            raise IndexUnusableError(f"{self._folder / name} is gone and can't go live")
        with _changing(self._folder):
            self._new_link.unlink(missing_ok=True)
            self._new_link.symlink_to(name)
            self._new_link.replace(self._folder / LIVE)
        with contextlib.suppress(OSError):  # the next writer tidies up
            (self._folder / name / BUILDING).unlink(missing_ok=True)

    def points_to(self, name: str | None) -> bool:
        """Whether the lock, the link and the metadata of this generation are in place."""
        return (
            name is not None
            and self._lock.is_in_place
            and live_folder(self._folder) == self._folder / name
            and all(is_there(self._folder / name / file) for file in (META, _TANTIVY_META))
        )

    def remove(self, name: str) -> None:
        """Rename and remove a generation. Files that can't be removed do no harm, and are left for the next writer."""
        folder = self._folder / name
        if folder.is_symlink():  # somebody has moved it elsewhere, so its files aren't ours to remove
            return
        removed = folder.with_name(f"{folder.name}{REMOVED}")
        with _changing(self._folder):
            if not removed.exists():  # if it exists, another generation had this number
                with contextlib.suppress(FileNotFoundError):  # another thread of the writer was first
                    folder.rename(removed)
            remove_tree(removed)
            if removed.exists():
                _log.warning(
                    "older generations are left for the next run to remove",
                    action="generation.left",
                    reason=f"{removed} can't be removed",
                )

    def pins(self, name: str) -> bool:
        """Whether the index is pinned while this generation is live."""
        return name in pins(self._folder)

    def pin(self, names: Sequence[str]) -> None:
        """Write the names of the generations that pin the index."""
        with _changing(self._folder):
            write_atomically(self._folder / PIN, self._new_pin, " ".join(names).encode())

    def signals(self) -> int:
        """Return a digest of the keys and modification times of all notes."""
        return self._notes.state()


@contextlib.contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """Translate errors that occur while a folder is changed.

    Raises:
        IndexUnavailableError: the file system reported an error.
    """
    try:
        yield
    except OSError as error:
        raise IndexUnavailableError(f"cannot change the index in {folder}: {error}") from error


def open_generation(folder: Path) -> EmbeddedGeneration:
    """Open a generation.

    Raises:
        IndexUnusableError: the generation is corrupt, or has another layout.
    """
    with tantivy_errors(folder):
        meta = msgspec.json.decode((folder / META).read_bytes(), type=_GenerationMeta)
    if meta.layout != LAYOUT:
        raise IndexUnusableError(f"this version can't use the index in {folder}; `cachesync sync` rebuilds it")
    return EmbeddedGeneration(folder, meta.fields, outdated=meta.fingerprint != fingerprint())

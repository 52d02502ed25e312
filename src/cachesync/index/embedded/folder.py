"""The folder of an embedded index: its generations, which of them is live, and who writes.

``DIR/NAME/live`` is a symbolic link to the live generation's folder ``DIR/NAME/NAME-1``, so going live is one rename.
``DIR/NAME/lock`` is locked by the one writer; the system frees it however that process ends.
"""

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import tantivy

from cachesync.documents import fingerprint
from cachesync.errors import IndexUnavailableError, IndexUnusableError, UsageError
from cachesync.index.base import Generation, Reader, Writer
from cachesync.index.embedded.generation import EmbeddedGeneration, tantivy_errors
from cachesync.index.embedded.schema import schema
from cachesync.log import get_logger

_log = get_logger()

_META: Final = "cachesync.json"
_LIVE: Final = "live"
_LOCK: Final = "lock"
_POLL_SECONDS: Final = 0.1


class _Meta(msgspec.Struct):
    """What made a generation."""

    fingerprint: str


class EmbeddedIndex:
    """The index called ``name`` in a folder."""

    engine = "embedded"

    def __init__(self, folder: Path, name: str) -> None:
        self.url = f"embedded:{folder}"
        self._folder = folder / name

    def exists(self) -> bool:
        """Tell whether there is a live generation."""
        self._require_ours()
        return _live(self._folder) is not None

    def reader(self) -> Reader:
        """Open the live generation for reading."""
        self._require_ours()
        live = _live(self._folder)
        while live:
            try:
                return _open(live)
            except IndexUnusableError:
                live, before = _live(self._folder), live
                if live == before:  # else it was replaced and removed while it was being opened
                    raise
        raise IndexUnavailableError(f"no index in {self._folder} yet: `cachesync sync` makes one")

    @contextlib.contextmanager
    def writer(self, wait: float) -> Iterator[Writer]:
        """Become the one writer."""
        self._require_ours()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise IndexUnavailableError(f"cannot write to {self._folder}: {error.strerror}") from error
        try:
            self._acquire(lock, wait)
            yield _EmbeddedWriter(self._folder)
        finally:
            os.close(lock)

    def _require_ours(self) -> None:
        """Make sure that what is in our place is ours.

        Raises:
            UsageError: it isn't.
            IndexUnavailableError: it can't be looked at.
        """
        try:
            foreign = any(self._folder.iterdir()) and not (self._folder / _LOCK).is_file()
        except FileNotFoundError:
            foreign = False
        except NotADirectoryError:
            foreign = True
        except OSError as error:
            raise IndexUnavailableError(f"cannot read {self._folder}: {error.strerror}") from error
        if foreign:
            raise UsageError(
                f"{self._folder} is no index of cachesync, and was left alone: choose another index.url or index.name"
            )

    def _acquire(self, lock: int, wait: float) -> None:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise IndexUnavailableError(
                        f"{_holder(lock)} is still writing to {self._folder} after {wait:g} s: try again when it ends"
                    ) from None
                time.sleep(_POLL_SECONDS)


def _holder(lock: int) -> str:
    """Name the process that holds a lock. Linux tells; writing it into the file would be a write for every look."""
    inode = os.fstat(lock).st_ino
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            if match := re.search(rf"FLOCK\s.*\s(\d+) \S+:{inode} ", line):
                return f"process {match[1]}"
    return "another process"


def _live(folder: Path) -> Path | None:
    """Return the live generation's folder, if there is one.

    Raises:
        IndexUnavailableError: that can't be told, which is no reason to build another.
    """
    try:
        return folder / (folder / _LIVE).readlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IndexUnavailableError(f"cannot read {folder / _LIVE}: {error.strerror}") from error


def _open(folder: Path) -> EmbeddedGeneration:
    """Open a generation.

    Raises:
        IndexUnusableError: it is damaged, or was made by a version whose documents differ.
    """
    with tantivy_errors(folder):
        meta = msgspec.json.decode((folder / _META).read_bytes(), type=_Meta)
    if meta.fingerprint != fingerprint():
        raise IndexUnusableError(
            f"another version of cachesync made the index in {folder}; `cachesync sync` builds it anew"
        )
    return EmbeddedGeneration(folder)


class _EmbeddedWriter:
    """The one writer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def live(self) -> Generation | None:
        """Open the live generation, if it is whole and made by this version."""
        folder = _live(self._folder)
        if folder is None:
            return None
        try:
            return _open(folder)
        except IndexUnusableError as error:
            _log.warning("the index can't be used and is built anew", reason=str(error))
            return None

    def replaced(self) -> Reader | None:
        """Open the live generation, whoever made it."""
        folder = _live(self._folder)
        return EmbeddedGeneration(folder) if folder else None

    def build(self) -> Generation:
        """Make the folder of a new generation. Its ``cachesync.json`` comes first: from then on it is known as ours."""
        try:
            self._remove_all_but(_live(self._folder))
            folder = self._folder / f"{self._folder.name}-{max(self._generations(), default=0) + 1}"
            folder.mkdir()
            (folder / _META).write_bytes(msgspec.json.encode(_Meta(fingerprint())))
            tantivy.Index(schema(), str(folder))
        except (OSError, ValueError) as error:
            raise IndexUnavailableError(f"cannot make an index in {self._folder}: {error}") from error
        return EmbeddedGeneration(folder)

    def promote(self, generation: Generation) -> None:
        """Point the link at a generation by one rename."""
        fresh = self._folder / f"{_LIVE}.new"
        try:
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(generation.generation)
            fresh.replace(self._folder / _LIVE)
            self._remove_all_but(self._folder / generation.generation)
        except OSError as error:
            raise IndexUnavailableError(f"cannot change the index in {self._folder}: {error}") from error

    def _generations(self) -> dict[int, Path]:
        pattern = re.compile(re.escape(self._folder.name) + r"-(\d+)")
        found = ((pattern.fullmatch(entry.name), entry) for entry in self._folder.iterdir())
        return {int(match[1]): entry for match, entry in found if match}

    def _remove_all_but(self, kept: Path | None) -> None:
        """Remove replaced generations and what interrupted builds left."""
        for folder in self._generations().values():
            ours = folder.is_dir() and not folder.is_symlink()
            if ours and folder != kept and ((folder / _META).exists() or not any(folder.iterdir())):
                shutil.rmtree(folder)

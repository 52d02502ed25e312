"""The folder of an embedded index: its generations, which of them is live, and who writes.

``DIR/NAME`` is a symbolic link to the live generation's folder ``DIR/NAME-1``, so going live is one rename.
``DIR/NAME.lock`` is locked by the one writer; the system frees it however that process ends.
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
from cachesync.errors import IndexDamagedError, IndexUnavailableError, UsageError
from cachesync.index.base import Generation, Reader, Writer
from cachesync.index.embedded.generation import EmbeddedGeneration, reading
from cachesync.index.embedded.schema import schema
from cachesync.log import get_logger

_log = get_logger()

_META: Final = "cachesync.json"
_POLL_SECONDS: Final = 0.1


class _Meta(msgspec.Struct):
    """What made a generation."""

    fingerprint: str


class EmbeddedIndex:
    """The index called ``name`` in a folder."""

    engine = "embedded"

    def __init__(self, folder: Path, name: str) -> None:
        self.url = f"embedded:{folder}"
        self._folder = folder
        self._alias = folder / name
        self._lock = folder / f"{name}.lock"

    def reader(self) -> Reader:
        """Open the live generation for reading."""
        live = self._live()
        while live:
            try:
                return _open(live)
            except IndexDamagedError:
                live, before = self._live(), live
                if live == before:  # else it was replaced and removed while it was being opened
                    raise
        raise IndexUnavailableError(f"no index in {self._folder} yet: `cachesync sync` makes one")

    @contextlib.contextmanager
    def writer(self, wait: float) -> Iterator[Writer]:
        """Become the one writer."""
        self._live()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise IndexUnavailableError(f"cannot write to {self._folder}: {error.strerror}") from error
        try:
            self._acquire(lock, wait)
            yield _EmbeddedWriter(self._folder, self._alias, lock)
        finally:
            os.close(lock)

    def _acquire(self, lock: int, wait: float) -> None:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = os.pread(lock, 32, 0).decode().strip()
                    who = f"process {holder}" if holder else "another process"
                    raise IndexUnavailableError(
                        f"{who} has been writing to {self._folder} for {wait:g} s: try again when it ends"
                    ) from None
                time.sleep(_POLL_SECONDS)

    def _live(self) -> Path | None:
        """Return the live generation's folder, if there is one.

        Raises:
            UsageError: something that isn't ours is where the alias belongs.
        """
        try:
            return self._folder / self._alias.readlink()
        except FileNotFoundError:
            return None
        except OSError:
            raise UsageError(
                f"{self._alias} is no index of cachesync, and was left alone: choose another index.url or index.name"
            ) from None


def _open(folder: Path) -> EmbeddedGeneration:
    """Open a generation.

    Raises:
        IndexDamagedError: it can't be read, or was made by a version whose documents differ.
    """
    with reading(folder):
        meta = msgspec.json.decode((folder / _META).read_bytes(), type=_Meta)
    if meta.fingerprint != fingerprint():
        raise IndexDamagedError(
            f"another version of cachesync made the index in {folder}; `cachesync sync` makes it anew"
        )
    return EmbeddedGeneration(folder)


class _EmbeddedWriter:
    """The one writer."""

    def __init__(self, folder: Path, alias: Path, lock: int) -> None:
        self._folder = folder
        self._alias = alias
        self._lock = lock

    def live(self) -> Generation | None:
        """Open the live generation, if it is whole and made by this version."""
        if not self._alias.is_symlink():
            return None
        try:
            return _open(self._folder / self._alias.readlink())
        except IndexDamagedError as error:
            _log.warning("the index can't be used and is made anew", reason=str(error))
            return None

    def build(self) -> Generation:
        """Make the folder of a new generation. Its ``cachesync.json`` comes first: from then on it is known as ours."""
        try:
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
            self._remove_all_but(self._alias.resolve())
            folder = self._folder / f"{self._alias.name}-{max(self._numbers(), default=0) + 1}"
            folder.mkdir()
            (folder / _META).write_bytes(msgspec.json.encode(_Meta(fingerprint())))
            tantivy.Index(schema(), str(folder))
        except (OSError, ValueError) as error:
            raise IndexUnavailableError(f"cannot make an index in {self._folder}: {error}") from error
        return EmbeddedGeneration(folder)

    def promote(self, generation: Generation) -> None:
        """Point the alias at a generation by one rename."""
        fresh = self._alias.with_name(f"{self._alias.name}.new")
        try:
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(generation.generation)
            fresh.replace(self._alias)
            self._remove_all_but(self._folder / generation.generation)
        except OSError as error:
            raise IndexUnavailableError(f"cannot change the index in {self._folder}: {error}") from error

    def _numbers(self) -> list[int]:
        pattern = re.compile(re.escape(self._alias.name) + r"-(\d+)")
        return [int(match[1]) for entry in self._folder.iterdir() if (match := pattern.fullmatch(entry.name))]

    def _remove_all_but(self, kept: Path) -> None:
        """Remove replaced generations and what interrupted builds left."""
        for number in self._numbers():
            folder = self._folder / f"{self._alias.name}-{number}"
            if folder.name != kept.name and ((folder / _META).exists() or not any(folder.iterdir())):
                shutil.rmtree(folder)

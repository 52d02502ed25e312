"""Files of an embedded index: small ones, by which processes tell each other something, and how trees are removed."""

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cachesync.errors import ForbiddenError, IndexUnavailableError
from cachesync.index.base import note_key

_STALE_SECONDS: Final = 3600.0


def write_whole(file: Path, fresh: Path, text: bytes) -> None:
    """Write a file by way of a fresh one: whatever happens, it holds what it held or this, as a whole.

    Raises:
        OSError: it can't be written.
    """
    try:
        with fresh.open("wb") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all that is in it, as far as that can be."""
    from shutil import rmtree  # noqa: PLC0415  it brings libraries for archives; who only searches does without

    rmtree(folder, ignore_errors=True)


class SmallFiles:
    """The files of a folder, by their names. Each is replaced as a whole."""

    def __init__(self, folder: Path, prepare: Callable[[], None] = lambda: None) -> None:
        """``prepare`` makes what the folder is to be in."""
        self._folder = folder
        self._prepare = prepare

    def get(self, key: str) -> bytes | None:
        """Return what a file holds; None where there is none."""
        try:
            return (self._folder / note_key(key)).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            kind = ForbiddenError if isinstance(error, PermissionError) else IndexUnavailableError
            raise kind(f"cannot read {self._folder / key}: {error.strerror}") from error

    def put(self, key: str, text: bytes) -> None:
        """Write a file."""
        file = self._folder / note_key(key)
        fresh = self._folder / _fresh_name(key)
        try:
            self._prepare()
            self._folder.mkdir(exist_ok=True)
            self._tidy()
            write_whole(file, fresh, text)
        except OSError as error:
            raise IndexUnavailableError(f"cannot write {file}: {error.strerror}") from error

    def _tidy(self) -> None:
        """Remove files that were begun so long ago that nobody can be writing them still."""
        for fresh in filter(_is_fresh, self._folder.iterdir()):
            with contextlib.suppress(OSError):  # it was just removed, or is in nobody's way
                if time.time() - fresh.stat().st_mtime > _STALE_SECONDS:
                    fresh.unlink()

    def remove(self, key: str) -> None:
        """Remove a file, if it is there."""
        file = self._folder / note_key(key)
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise IndexUnavailableError(f"cannot remove {file}: {error.strerror}") from error

    def list_keys(self) -> list[str]:
        """Return the files' names."""
        return [name for name, _ in self._files()]

    def state(self) -> int:
        """Return a digest of which files there are, and when each was written."""
        return hash(tuple(sorted(self._files())))

    def _files(self) -> list[tuple[str, int]]:
        """Return each file's name, and when it was written."""
        found = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # it was just removed
                        if not entry.name.startswith("."):
                            found.append((entry.name, entry.stat().st_mtime_ns))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise IndexUnavailableError(f"cannot read {self._folder}: {error.strerror}") from error
        return found


def _fresh_name(key: str) -> str:
    """Return how a file is called while it is written. No key begins with a dot."""
    return f".{key}.{os.getpid()}.{threading.get_ident()}"


def _is_fresh(file: Path) -> bool:
    """Tell whether a file is called so; others' files are left alone."""
    return re.fullmatch(r"\.[^.]+\.\d+\.\d+", file.name) is not None

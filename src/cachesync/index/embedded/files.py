"""Files of an embedded index: atomic writes, the small files that hold notes, and the removal of folders."""

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
_TEMPORARY: Final = re.compile(r"\.[^.]+\.\d+\.\d+")
"""The name of a file that is being written: its key, which has no dot, the process and the thread."""


def write_atomically(file: Path, temporary: Path, text: bytes) -> None:
    """Write a file through a temporary one: whatever happens, the file has either its old contents or the new ones.

    Raises:
        OSError: the file can't be written.
    """
    try:
        with temporary.open("wb") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def remove_tree(folder: Path) -> None:
    """Remove a folder and its contents, as far as possible."""
    from shutil import rmtree  # noqa: PLC0415  it imports archive libraries, which a search doesn't need

    rmtree(folder, ignore_errors=True)


class SmallFiles:
    """The files of a folder, by name. Every file is replaced atomically."""

    def __init__(self, folder: Path, prepare: Callable[[], None] = lambda: None) -> None:
        """``prepare`` creates the folder's parent."""
        self._folder = folder
        self._prepare = prepare

    def get(self, key: str) -> bytes | None:
        """Return the contents of a file, or None if it doesn't exist."""
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
        temporary = self._folder / f".{key}.{os.getpid()}.{threading.get_ident()}"
        try:
            self._prepare()
            self._folder.mkdir(exist_ok=True)
            self._clean_up()
            write_atomically(file, temporary, text)
        except OSError as error:
            raise IndexUnavailableError(f"cannot write {file}: {error.strerror}") from error

    def _clean_up(self) -> None:
        """Remove temporary files that are so old that no process can still be writing to them."""
        for file in self._folder.iterdir():
            with contextlib.suppress(OSError):  # the file was just removed, or does no harm
                if _TEMPORARY.fullmatch(file.name) and time.time() - file.stat().st_mtime > _STALE_SECONDS:
                    file.unlink()

    def remove(self, key: str) -> None:
        """Remove a file, if it exists."""
        file = self._folder / note_key(key)
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise IndexUnavailableError(f"cannot remove {file}: {error.strerror}") from error

    def list_keys(self) -> list[str]:
        """Return the files' names."""
        return [name for name, _ in self._files()]

    def state(self) -> int:
        """Return a digest of the names and modification times of all files."""
        return hash(tuple(sorted(self._files())))

    def _files(self) -> list[tuple[str, int]]:
        """Return each file's name and modification time."""
        found = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # the file was just removed
                        if not entry.name.startswith("."):
                            found.append((entry.name, entry.stat().st_mtime_ns))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise IndexUnavailableError(f"cannot read {self._folder}: {error.strerror}") from error
        return found

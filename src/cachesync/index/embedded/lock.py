"""Who writes to an embedded index: locks on files, which the system frees however a process ends."""

import fcntl
import os
import re
import time
from pathlib import Path
from typing import Final

from cachesync.context import current
from cachesync.errors import IndexUnavailableError, OvertakenError
from cachesync.index.base import OnWait
from cachesync.log import get_logger

_log = get_logger()

_WRITER: Final = "lock"
_SERVICE: Final = "service"
_POLL_SECONDS: Final = 0.1
_SERVICE_POLL_SECONDS: Final = 1.0
"""A service may stand by for weeks."""


class Hold:
    """A process's hold on the folder of an index. It is the writer's as long as it is acquired and in place."""

    def __init__(self, folder: Path, *, serving: bool) -> None:
        self._folder = folder
        self._paths = [folder / name for name in ([_WRITER, _SERVICE] if serving else [_WRITER])]
        self._poll = _SERVICE_POLL_SECONDS if serving else _POLL_SECONDS
        self._files: list[int] = []

    def acquire(self, wait: float, on_wait: OnWait) -> None:
        """Wait up to ``wait`` seconds until nobody else holds the folder; ``on_wait`` is told who does.

        Raises:
            IndexUnavailableError: another still holds it.
        """
        deadline = time.monotonic() + wait
        told = False
        while not self._taken():
            holder = holder_of(self._folder) or "another process"
            left = deadline - time.monotonic()
            if left <= 0:
                raise IndexUnavailableError(
                    f"{holder} is still writing to {self._folder} after {wait:g} s: try again when it ends"
                )
            if not told:
                _log.info("waiting for another writer to end", holder=holder)
            told = True
            on_wait(holder)
            current().wait(min(self._poll, left))

    @property
    def is_in_place(self) -> bool:
        """What is locked is what others find: nobody has removed the folder."""
        try:
            return bool(self._files) and all(map(_is_at, self._files, self._paths))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise IndexUnavailableError(f"cannot read {self._folder}: {error.strerror}") from error

    def confirm(self) -> None:
        """Make sure that the folder is ours still. Where it was removed it is made again.

        Raises:
            OvertakenError: another was quicker.
        """
        if self.is_in_place:
            return
        self.release()
        if not self._taken():
            raise OvertakenError(f"{holder_of(self._folder)} has taken over as the writer of {self._folder}")

    def release(self) -> None:
        """Let others write."""
        while self._files:
            os.close(self._files.pop())

    def _taken(self) -> bool:
        """Lock what is there, or is made; False where another process has."""
        prepare(self._folder)
        while True:
            for path in self._paths:
                try:
                    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                except OSError as error:
                    self.release()
                    raise IndexUnavailableError(f"cannot write to {self._folder}: {error.strerror}") from error
                self._files.append(file)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self.release()
                    return False
            if self.is_in_place:
                return True
            self.release()  # it was removed between the two calls
            prepare(self._folder)


def prepare(folder: Path) -> None:
    """Make the folder of an index, and what tells that it is ours.

    Raises:
        IndexUnavailableError: that can't be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(folder / _WRITER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))
    except OSError as error:
        raise IndexUnavailableError(f"cannot write to {folder}: {error.strerror}") from error


def is_ours(folder: Path) -> bool:
    """Tell whether a folder that isn't empty is that of an index."""
    return (folder / _WRITER).is_file()


def holder_of(folder: Path) -> str | None:
    """Name the process that writes, if one does. Linux tells; writing it down would be a write for every look."""
    lock = folder / _WRITER
    try:
        inode = lock.stat().st_ino
        locks = Path("/proc/locks").read_text().splitlines()
    except FileNotFoundError:  # nobody has ever written here; the kernel's list is always there
        return None
    except OSError:
        return "another process"
    matches = (re.search(rf"FLOCK\s.*\s(\d+) \S+:{inode} ", line) for line in locks if "->" not in line)
    return next((f"process {match[1]}" for match in matches if match), None)


def is_serving(folder: Path) -> bool:
    """Tell whether the process that writes is a service."""
    try:
        file = os.open(folder / _SERVICE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _is_at(file: int, path: Path) -> bool:
    there, ours = path.stat(), os.fstat(file)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

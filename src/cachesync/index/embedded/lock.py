"""The writer's locks on the files of an embedded index. The system releases them, however a process exits."""

import fcntl
import os
import re
from pathlib import Path
from typing import Final

from cachesync.errors import IndexUnavailableError, OvertakenError
from cachesync.index.base import OnWait
from cachesync.index.standby import Standby

_WRITER: Final = "lock"
_SERVICE: Final = "service"
_POLL_SECONDS: Final = 0.1


class WriterLock:
    """A process's locks on an index's folder. The process is the writer while it holds them and they are in place."""

    def __init__(self, folder: Path, *, serving: bool) -> None:
        self._folder = folder
        self._paths = [folder / name for name in ([_WRITER, _SERVICE] if serving else [_WRITER])]
        self._serving = serving
        self._files: list[int] = []

    def acquire(self, wait: float, on_wait: OnWait) -> None:
        """Acquire the lock, waiting up to ``wait`` seconds for another holder. ``on_wait`` is called with that holder.

        Raises:
            IndexUnavailableError: another process still holds the lock.
        """
        standby = Standby(str(self._folder), wait, on_wait, _POLL_SECONDS, serving=self._serving)
        while not self._try_acquire():
            standby.wait(holder_of(self._folder) or "another process")

    @property
    def is_in_place(self) -> bool:
        """Whether the locked files are those that other processes find, that is, the folder wasn't removed."""
        try:
            return bool(self._files) and all(map(_is_at, self._files, self._paths))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise IndexUnavailableError(f"cannot read {self._folder}: {error.strerror}") from error

    def confirm(self) -> None:
        """Check that we still hold the lock. If the folder was removed, recreate and relock it.

        Raises:
            OvertakenError: another process has locked the folder first.
        """
        if self.is_in_place:
            return
        self.release()
        if not self._try_acquire():
            raise OvertakenError(f"{holder_of(self._folder)} has taken over as the writer of {self._folder}")

    def release(self) -> None:
        """Release the locks, so that other processes may write."""
        while self._files:
            os.close(self._files.pop())

    def _try_acquire(self) -> bool:
        """Lock the files, creating them if needed. Return False if another process holds a lock."""
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
            self.release()  # the folder was removed between opening and locking
            prepare(self._folder)


def prepare(folder: Path) -> None:
    """Create the folder of an index, and the lock file that marks it as ours.

    Raises:
        IndexUnavailableError: the folder or the lock file can't be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(folder / _WRITER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))
    except OSError as error:
        raise IndexUnavailableError(f"cannot write to {folder}: {error.strerror}") from error


def is_ours(folder: Path) -> bool:
    """Whether a folder that isn't empty is an index of ours."""
    return (folder / _WRITER).is_file()


def holder_of(folder: Path) -> str | None:
    """Return the writer's process, if any. The kernel lists locks, so we needn't write the holder to a file."""
    lock = folder / _WRITER
    try:
        inode = lock.stat().st_ino
        locks = Path("/proc/locks").read_text().splitlines()
    except FileNotFoundError:  # without a lock file, there was never a writer; the kernel's list always exists
        return None
    except OSError:
        return "another process"
    matches = (re.search(rf"FLOCK\s.*\s(\d+) \S+:{inode} ", line) for line in locks if "->" not in line)
    return next((f"process {match[1]}" for match in matches if match), None)


def is_serving(folder: Path) -> bool:
    """Whether the writer is a service."""
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
    return os.path.samestat(os.fstat(file), path.stat())

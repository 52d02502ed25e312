"""A thin wrapper around Linux's inotify, see inotify(7)."""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from typing import Final, Self

MODIFY: Final = 0x2
ATTRIB: Final = 0x4
CLOSE_WRITE: Final = 0x8
MOVED_FROM: Final = 0x40
MOVED_TO: Final = 0x80
CREATE: Final = 0x100
DELETE: Final = 0x200
DELETE_SELF: Final = 0x400
MOVE_SELF: Final = 0x800
UNMOUNT: Final = 0x2000
Q_OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
ONLYDIR: Final = 0x01000000
DONT_FOLLOW: Final = 0x02000000
EXCL_UNLINK: Final = 0x04000000
ISDIR: Final = 0x40000000

_READ_BYTES: Final = 1 << 20
_HEAD: Final = struct.Struct("@iIII")


class Inotify:
    """An inotify instance with its own queue. Closing the instance removes all its watches."""

    def __init__(self) -> None:
        """Create an instance.

        Raises:
            OSError: the user has too many instances, or this system has no inotify.
        """
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._add = self._libc.inotify_add_watch
            self._add.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
            self._remove = self._libc.inotify_rm_watch
            self._remove.argtypes = (ctypes.c_int, ctypes.c_int)
            self.fd: int = _checked(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        except AttributeError:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def add(self, path: str, mask: int) -> int:
        """Watch ``path`` and return the watch, which is the existing one if the path's inode is already watched.

        Raises:
            OSError: the path doesn't exist, permission is denied, or there are too many watches (ENOSPC).
        """
        return _checked(self._add(self.fd, os.fsencode(path), mask), path)

    def remove(self, watch: int) -> None:
        """Remove a watch, which the kernel may already have removed."""
        self._remove(self.fd, watch)

    def read(self) -> bytes:
        """Return as much of the queue as fits into one read, or nothing if the queue is empty."""
        try:
            return os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return b""


def events(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield the watch, mask and name of each event. The name is empty if the event is about the folder itself."""
    position, end = 0, len(data)
    while position < end:
        watch, mask, _, length = _HEAD.unpack_from(data, position)
        position += _HEAD.size
        yield watch, mask, os.fsdecode(data[position : position + length].rstrip(b"\0"))
        position += length


def _checked(result: int, path: str | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result

"""The bytes of a page, and whether its signature can be trusted from now on."""

import os
import stat
import time
from pathlib import Path
from typing import Final, NamedTuple

from cachesync.ledger import Signature
from cachesync.sync.scan import Entry, signature_of

_SECOND: Final = 1_000_000_000
_FINE_SLACK: Final = _SECOND // 10
_COARSE_SLACK: Final = 2 * _SECOND


class Content(NamedTuple):
    """A page as it was read."""

    data: bytes
    signature: Signature
    settled: bool


class Unreadable(NamedTuple):
    """A page that couldn't be read, and why."""

    message: str


class Moving(NamedTuple):
    """A page that is gone or was written to while it was read: to be looked at again."""


def freshness(signature: Signature, now_ns: int) -> float:
    """Return the seconds until a change would show in this signature for certain; 0 where it would already.

    Two writes within one tick of the file system's clock leave the same times. A tick is some ms on today's file
    systems and up to 2 s where times are whole seconds. So a page that was just written is better read a moment
    later: git's racy-timestamp rule, turned round. A time in the future was set by somebody and says nothing.
    """
    wait = 0
    for changed_ns in (signature.mtime_ns, signature.ctime_ns):
        slack = _FINE_SLACK if changed_ns % _SECOND else _COARSE_SLACK
        age = now_ns - changed_ns
        if -slack <= age < slack:
            wait = max(wait, slack - age)
    return wait / _SECOND


def read(root: Path, entry: Entry, max_bytes: int) -> Content | Unreadable | Moving:
    """Read a page whole, and make sure that it was one file in one state all the while."""
    if entry.fault:
        return Unreadable(entry.fault)
    try:
        handle = os.open(root / entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return Moving()
    except OSError as error:
        return Unreadable(f"cannot be read: {error.strerror}")
    try:
        now = time.time_ns()
        before = os.fstat(handle)
        if not stat.S_ISREG(before.st_mode):
            return Moving()
        if before.st_size > max_bytes:
            return Unreadable(f"{before.st_size:,} bytes: expected at most {max_bytes:,} (pages.max_bytes)")
        data = _read_all(handle, before.st_size)
        after = os.fstat(handle)
    except OSError as error:
        return Unreadable(f"cannot be read: {error.strerror}")
    finally:
        os.close(handle)
    signature = signature_of(after)
    if signature_of(before) != signature or len(data) != after.st_size:
        return Moving()
    return Content(data, signature, settled=freshness(signature, now) == 0)


def _read_all(handle: int, size: int) -> bytes:
    """Read ``size`` bytes and one more, which shows that the file grew."""
    chunks = []
    left = size + 1
    while left and (chunk := os.read(handle, left)):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)

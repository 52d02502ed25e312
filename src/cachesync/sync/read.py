"""Read a page, and decide whether its signature can be trusted."""

import errno
import os
import stat
import time
from typing import Final, NamedTuple

from cachesync.ledger import Signature
from cachesync.sync.scan import Entry, Source, signature_of

_SECOND: Final = 1_000_000_000
_FINE_SLACK: Final = _SECOND // 10
_COARSE_SLACK: Final = 2 * _SECOND
MAX_WAIT: Final = _COARSE_SLACK / _SECOND
"""The longest useful wait, in seconds, until a page's signature can be trusted."""


class Content(NamedTuple):
    """The content of a page, its signature, and whether that can be trusted from now on."""

    data: bytes
    signature: Signature
    settled: bool


class Unreadable(NamedTuple):
    """Why a page couldn't be read."""

    message: str


class Changing(NamedTuple):
    """The page was deleted or written to while it was read, so it must be scanned again."""


def unsettled_seconds(signature: Signature, now_ns: int) -> float:
    """Return the seconds until any further write is certain to change this signature; 0 if it is already.

    Two writes within one tick of the file system's clock leave the same times. A tick is a few ms on today's file
    systems, and up to 2 s where times are whole seconds. So it is better to wait before reading a page that was just
    written: git's racy-timestamp rule, reversed. A modification time in the future was set explicitly and is ignored; a
    change time in the future means that the clock was ahead, and can't be trusted until it is past.
    """
    mtime_age, ctime_age = now_ns - signature.mtime_ns, now_ns - signature.ctime_ns
    if mtime_age >= _COARSE_SLACK and ctime_age >= _COARSE_SLACK:  # as nearly all pages are
        return 0
    wait = max(0, _slack(signature.ctime_ns) - ctime_age)
    mtime_slack = _slack(signature.mtime_ns)
    if mtime_age >= -mtime_slack:
        wait = max(wait, mtime_slack - mtime_age)
    return wait / _SECOND


def _slack(time_ns: int) -> int:
    return _FINE_SLACK if time_ns % _SECOND else _COARSE_SLACK


def read(source: Source, entry: Entry) -> Content | Unreadable | Changing:
    """Read a whole page, and make sure that it was not replaced or written to meanwhile."""
    if entry.fault:
        return Unreadable(entry.fault)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(f"{source.root}/{entry.path}", flags if entry.link else flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in _GONE:
            return Changing()
        return Unreadable(f"cannot be read: {error.strerror}")
    try:
        now = time.time_ns()
        before = os.fstat(handle)
        if not stat.S_ISREG(before.st_mode) or before.st_size > source.max_bytes:  # the scan found neither
            return Changing()
        data = _read_all(handle, before.st_size)
        after = os.fstat(handle)
    except OSError as error:
        return Unreadable(f"cannot be read: {error.strerror}")
    finally:
        os.close(handle)
    signature = signature_of(after)
    if signature_of(before) != signature or len(data) != after.st_size:
        return Changing()
    return Content(data, signature, settled=unsettled_seconds(signature, now) == 0)


_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""How opening a page fails if it was deleted, or replaced by a symbolic link, since it was scanned."""


def _read_all(handle: int, size: int) -> bytes:
    """Read a file to its end, but at most one byte more than ``size``: the extra byte reveals that it grew."""
    data = os.read(handle, size + 1)
    while len(data) < size and (chunk := os.read(handle, size + 1 - len(data))):
        data += chunk
    return data

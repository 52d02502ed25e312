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
    """A page's content and signature, and whether the signature can be trusted from now on."""

    data: bytes
    signature: Signature
    settled: bool


class Unreadable(NamedTuple):
    """The reason why a page couldn't be read."""

    message: str


class Changing(NamedTuple):
    """The page was deleted or written to while it was being read, so it must be scanned again."""


def unsettled_seconds(signature: Signature, now_ns: int) -> float:
    """Return how many seconds remain until any further write is certain to change this signature; 0 if none remain.

    Two writes within one tick of the file system's clock leave the same times. A tick is a few ms on today's file
    systems, and up to 2 s on those that store times in whole seconds. It is therefore better to wait before reading a
    page that was just written: git's racy-timestamp rule in reverse. A modification time in the future was set
    explicitly and is ignored. A change time in the future means that the clock was ahead; the signature can't be
    trusted until that time has passed.
    """
    mtime_age, ctime_age = now_ns - signature.mtime_ns, now_ns - signature.ctime_ns
    if mtime_age >= _COARSE_SLACK and ctime_age >= _COARSE_SLACK:  # true of nearly all pages
        return 0
    wait = max(0, _slack(signature.ctime_ns) - ctime_age)
    mtime_slack = _slack(signature.mtime_ns)
    if mtime_age >= -mtime_slack:
        wait = max(wait, mtime_slack - mtime_age)
    return wait / _SECOND


def _slack(time_ns: int) -> int:
    return _FINE_SLACK if time_ns % _SECOND else _COARSE_SLACK


def read(source: Source, entry: Entry) -> Content | Unreadable | Changing:
    """Read a whole page, and check that it wasn't replaced or written to during the read."""
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
        if not stat.S_ISREG(before.st_mode) or before.st_size > source.max_bytes:  # neither was true during the scan
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
"""The errors of opening a page that was deleted, or replaced by a symbolic link, since it was scanned."""


def _read_all(handle: int, size: int) -> bytes:
    """Read a file to its end, but at most one byte more than ``size``: the extra byte reveals that the file grew."""
    data = os.read(handle, size + 1)
    while len(data) < size and (chunk := os.read(handle, size + 1 - len(data))):
        data += chunk
    return data

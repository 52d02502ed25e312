"""Checks whether native watching is possible and complete, with messages that name the settings to change."""

import errno
import os
from pathlib import Path
from typing import Final

from cachesync.errors import CachesyncError
from cachesync.sync.scan import Source
from cachesync.watch.mounts import mounts

_WATCHES: Final = ("fs.inotify.max_user_watches", "user.max_inotify_watches")
_INSTANCES: Final = ("fs.inotify.max_user_instances", "user.max_inotify_instances")
_NO_LIMIT: Final = 2**31 - 1


class CannotWatchError(CachesyncError):
    """The pages can't be watched natively; the message says why."""


def require_local(source: Source) -> None:
    """Check that the pages are written to only through this kernel.

    Raises:
        CannotWatchError: the root, or a folder that leads to pages, is on a file system that others can write to.
    """
    for mount in mounts(source):
        if mount.blind:
            raise CannotWatchError(
                f"{mount.point} is {mount.type}, where changes by others are not reported; "
                "watch.mode: native watches it anyway"
            )


def require_watches(folders: int) -> None:
    """Check that each folder can have a watch.

    Raises:
        CannotWatchError: there are too many folders.
    """
    if folders > _limit(_WATCHES)[0]:
        raise too_few_watches(folders)


def too_few_watches(folders: int) -> CannotWatchError:
    """Return the error that says how many watches are needed."""
    limit, name = _limit(_WATCHES)
    enough = _round(folders + max(folders, limit if limit < _NO_LIMIT else 0))
    return CannotWatchError(
        f"{folders:,} folders need a watch each, and {name} allows a user {limit:,} in all; "
        f"to watch them: sysctl -w {name}={enough}, then start again"
    )


def no_instance(error: OSError) -> CannotWatchError:
    """Return the error that says why inotify is unavailable."""
    if error.errno not in {errno.EMFILE, errno.ENFILE}:
        return CannotWatchError(f"this system has no inotify ({error.strerror})")
    limit, name = _limit(_INSTANCES)
    return CannotWatchError(
        f"{error.strerror}: {name} allows a user {limit:,} instances of inotify; "
        f"to watch the pages: sysctl -w {name}={_round(2 * limit)}, then start again"
    )


def _limit(names: tuple[str, ...]) -> tuple[int, str]:
    return min((_sysctl(name), name) for name in names)


def _sysctl(name: str) -> int:
    try:
        return int(Path("/proc/sys", *name.split(".")).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return _NO_LIMIT


def _round(number: int) -> int:
    return min(1 << (number - 1).bit_length(), _NO_LIMIT)


def queue_length() -> str:
    """Return the length of an inotify queue as a phrase for a message."""
    length = _sysctl("fs.inotify.max_queued_events")
    return f"fs.inotify.max_queued_events = {length}" if length < _NO_LIMIT else os.strerror(errno.EOVERFLOW)

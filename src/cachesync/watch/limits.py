"""Where watching natively would miss changes or isn't possible, in words for who can change that."""

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
    """The pages can't be watched natively; its text is the reason."""


def require_local(source: Source) -> None:
    """Make sure that all who write the pages write them through this kernel.

    Raises:
        CannotWatchError: the root, or a folder that leads to pages, lies on a file system where others may write.
    """
    for mount in mounts(source):
        if mount.blind:
            raise CannotWatchError(
                f"{mount.point} is {mount.type}, where changes that others make are not told; "
                "watch.mode: native watches it all the same"
            )


def require_watches(folders: int) -> None:
    """Make sure that there can be a watch for each folder.

    Raises:
        CannotWatchError: there can't.
    """
    if folders > _limit(_WATCHES)[0]:
        raise too_few_watches(folders)


def too_few_watches(folders: int) -> CannotWatchError:
    """Say how many watches there must be."""
    limit, name = _limit(_WATCHES)
    enough = _round(folders + max(folders, limit if limit < _NO_LIMIT else 0))
    return CannotWatchError(
        f"{folders:,} folders need a watch each, and {name} allows a user {limit:,} in all; "
        f"to watch them: sysctl -w {name}={enough}, then start again"
    )


def no_instance(error: OSError) -> CannotWatchError:
    """Say why there is no inotify."""
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
    """Say how much fits into a queue."""
    length = _sysctl("fs.inotify.max_queued_events")
    return f"fs.inotify.max_queued_events = {length}" if length < _NO_LIMIT else os.strerror(errno.EOVERFLOW)

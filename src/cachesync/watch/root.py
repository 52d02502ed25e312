"""The identity of the watched root, and waiting for a missing root."""

import stat
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final, Literal, NamedTuple

from cachesync.errors import UsageError
from cachesync.sync.scan import require_root
from cachesync.watch.messages import Message, WatchState

CHECK_SECONDS: Final = 2.0
"""How often to check the root: changes to the folders above it cause no event."""


class WatchedRoot(NamedTuple):
    """The identity of a root. Another root at the same path has a different identity."""

    device: int
    inode: int
    link: tuple[int, int] | None
    """The identity of the root's symbolic link, if there is one. A link that was changed and changed back differs."""


def root_at(path: Path) -> WatchedRoot:
    """Return the identity of the root at ``path``.

    Raises:
        OSError: there is no root at ``path``.
    """
    itself = path.lstat()
    status = path.stat()
    link = (itself.st_ino, itself.st_ctime_ns) if stat.S_ISLNK(itself.st_mode) else None
    return WatchedRoot(status.st_dev, status.st_ino, link)


def is_at(path: Path, root: WatchedRoot) -> bool:
    """Return whether the root at ``path`` is still ``root``."""
    try:
        return root_at(path) == root
    except OSError:
        return False


def await_root(path: Path, mode: Literal["native", "polling"]) -> Generator[Message, None, WatchedRoot]:
    """Wait for a root that can be listed, and return it. Yield the reason for waiting whenever the reason changes."""
    reported = None
    while True:
        try:
            require_root(path)
            return root_at(path)
        except (UsageError, OSError) as error:
            reason = str(error).partition("\n")[0]
        if reason != reported:
            yield Message(state=WatchState(mode, False, reason))
            reported = reason
        time.sleep(CHECK_SECONDS)

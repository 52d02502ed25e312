"""Which folder the root is, and waiting for one that isn't there."""

import stat
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final, Literal, NamedTuple

from cachesync.errors import UsageError
from cachesync.sync.scan import require_root
from cachesync.watch.messages import Message, WatchState

LOOK_SECONDS: Final = 2.0
"""How often the root is looked at: what becomes of the folders above it is told by no event."""


class WatchedRoot(NamedTuple):
    """What tells a root from another one at the same place."""

    device: int
    inode: int
    link: tuple[int, int] | None
    """The symbolic link that it is: a link that was turned away and back is another one."""


def root_at(path: Path) -> WatchedRoot:
    """Return the root that is there.

    Raises:
        OSError: there is none.
    """
    itself = path.lstat()
    status = path.stat()
    link = (itself.st_ino, itself.st_ctime_ns) if stat.S_ISLNK(itself.st_mode) else None
    return WatchedRoot(status.st_dev, status.st_ino, link)


def is_at(path: Path, root: WatchedRoot) -> bool:
    """Tell whether this root is there, and no other."""
    try:
        return root_at(path) == root
    except OSError:
        return False


def await_root(path: Path, mode: Literal["native", "polling"]) -> Generator[Message, None, WatchedRoot]:
    """Wait until there is a root that can be listed, and return it; yield why it is waited, each reason once."""
    said = None
    while True:
        try:
            require_root(path)
            return root_at(path)
        except (UsageError, OSError) as error:
            reason = str(error).partition("\n")[0]
        if reason != said:
            yield Message(state=WatchState(mode, False, reason))
            said = reason
        time.sleep(LOOK_SECONDS)

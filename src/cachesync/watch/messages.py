"""What the watcher's two processes say to each other, a line of JSON each."""

from typing import Literal

import msgspec

Mode = Literal["auto", "native", "polling"]
"""How to watch. ``native``: inotify wherever there is one. ``auto``: inotify where it sees all writes."""


class WatchSettings(msgspec.Struct, frozen=True):
    """What the child is to watch: the first line on its stdin, and the only one."""

    root: bytes
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    ignore: tuple[str, ...]
    max_bytes: int
    mode: Mode


class WatchState(msgspec.Struct, frozen=True):
    """How the child watches."""

    mode: Literal["native", "polling"]
    watching: bool
    reason: str | None = None
    folders: int = 0


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line on the child's stdout. What is dirty was so before the state was this."""

    dirty: tuple[str, ...] = ()
    """Paths below the root. With a slash at its end: this folder and all in it; empty: everything."""
    state: WatchState | None = None
    overflows: int = 0
    """How many queues have overflown since the last message."""


def tellable(path: str) -> str:
    """Return a dirty path as it can be told: a name that isn't UTF-8 gives way to the nearest folder that is."""
    while not _is_text(path):
        path = path[: path.rstrip("/").rfind("/") + 1]
    return path


def _is_text(path: str) -> bool:
    if path.isascii():
        return True
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True

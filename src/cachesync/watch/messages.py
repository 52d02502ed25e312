"""The messages between the watcher's two processes. Each message is a line of JSON."""

from typing import Literal

import msgspec

Mode = Literal["auto", "native", "polling"]
"""How to watch. ``native``: by inotify if it is available. ``auto``: by inotify if inotify sees all writes."""


class WatchSettings(msgspec.Struct, frozen=True):
    """The child's settings, which are the only line on its stdin."""

    root: bytes
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    ignore: tuple[str, ...]
    max_bytes: int
    mode: Mode


class WatchState(msgspec.Struct, frozen=True):
    """How the child watches the pages."""

    mode: Literal["native", "polling"]
    watching: bool
    """False: the child hasn't started to watch, there is no root, or the process is being restarted."""
    reason: str | None = None
    """Why the child isn't watching, or why it polls instead of watching natively."""
    folders: int = 0
    """How many folders are watched; 0 while polling."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line on the child's stdout. The dirty paths come before the new state."""

    dirty: tuple[str, ...] = ()
    """Paths below the root. A trailing slash means a folder and everything below it; an empty path means everything."""
    state: WatchState | None = None
    overflows: int = 0
    """How many times a queue has overflowed since the last message."""


def sendable(path: str) -> str:
    """Return a path that can be sent as JSON: the dirty path or, if it isn't UTF-8, the nearest folder that is."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return sendable(path[: path.rstrip("/").rfind("/") + 1])
    return path

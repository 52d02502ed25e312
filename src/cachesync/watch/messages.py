"""The messages between the watcher's two processes, a line of JSON each."""

from typing import Literal

import msgspec

Mode = Literal["auto", "native", "polling"]
"""How to watch. ``native``: by inotify if available. ``auto``: by inotify if it sees all writes."""


class WatchSettings(msgspec.Struct, frozen=True):
    """The child's settings, the only line on its stdin."""

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
    """False: it hasn't started yet, there is no root, or the process is being restarted."""
    reason: str | None = None
    """Why it isn't watching, or why it polls instead of watching natively."""
    folders: int = 0
    """How many folders are watched; 0 while polling."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line on the child's stdout. The dirty paths come before the new state."""

    dirty: tuple[str, ...] = ()
    """Paths below the root. With a trailing slash: a folder and all that is below it; empty: everything."""
    state: WatchState | None = None
    overflows: int = 0
    """How many queues have overflowed since the last message."""


def sendable(path: str) -> str:
    """Return a dirty path that can be sent as JSON: one that isn't UTF-8 is replaced by the nearest folder that is."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return sendable(path[: path.rstrip("/").rfind("/") + 1])
    return path

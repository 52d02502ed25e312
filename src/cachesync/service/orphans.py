"""Children that others have left to this process: the first of a container inherits all whose parent has ended."""

import os
from collections.abc import Callable, Collection
from contextlib import suppress


def reap(ours: Callable[[], Collection[int | None]]) -> None:
    """Take note of each child that has ended, but for ``ours``, which somebody here waits for; else it stays a zombie.

    Where one of ours has ended and isn't waited for yet, those behind it are left for the next time.
    """
    while (pid := _ended()) is not None and pid not in ours():
        with suppress(ChildProcessError):  # it was ours, and has been waited for just now
            os.waitpid(pid, os.WNOHANG)


def _ended() -> int | None:
    """Return a child that has ended, and leave it."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None

"""Reaps orphaned processes: a container's first process inherits all processes whose parents have exited."""

import os
from collections.abc import Callable, Collection
from contextlib import suppress


def reap(ours: Callable[[], Collection[int | None]]) -> None:
    """Reap exited children, which would otherwise stay zombies, except ``ours``, for which other code waits.

    If one of ``ours`` has exited and hasn't been waited for yet, the children behind it are left for the next call.
    """
    while (pid := _ended()) is not None and pid not in ours():
        with suppress(ChildProcessError):  # one of ours, for which other code has just waited
            os.waitpid(pid, os.WNOHANG)


def _ended() -> int | None:
    """Return the process ID of a child that has exited, without reaping it; None if no child has exited."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None

"""Reaps orphaned processes: the first process of a container inherits all processes whose parent has ended."""

import os
from collections.abc import Callable, Collection
from contextlib import suppress


def reap(ours: Callable[[], Collection[int | None]]) -> None:
    """Reap each child that has ended, so that it does not stay a zombie, except ``ours``, which other code waits for.

    If one of ours has ended and has not been waited for yet, the children behind it are left for the next call.
    """
    while (pid := _ended()) is not None and pid not in ours():
        with suppress(ChildProcessError):  # it was one of ours, and has just been waited for
            os.waitpid(pid, os.WNOHANG)


def _ended() -> int | None:
    """Return the process id of a child that has ended, without reaping it; None if there is none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None

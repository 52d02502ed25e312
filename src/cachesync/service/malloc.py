"""How much memory glibc keeps for threads that come and go."""

import contextlib
import ctypes
import os
from typing import Final

_M_ARENA_MAX: Final = -8
"""In glibc's malloc.h."""

_ARENAS: Final = 2


def keep_few() -> None:
    """Let all threads that are started from now on share a few arenas, unless the environment says how many.

    By itself glibc gives threads arenas of their own, up to eight for each core [mallopt(3)], and each keeps much of
    what it had in its busiest moment. A commit of tantivy starts threads, and so all arenas come to that. With two the
    service needs half the memory after some storms, and no more CPU. Other C libraries have no arenas to share.
    """
    if "MALLOC_ARENA_MAX" in os.environ or "glibc.malloc.arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)

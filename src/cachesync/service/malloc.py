"""Limits the memory that glibc's malloc keeps for threads that have finished."""

import contextlib
import ctypes
import os
from typing import Final

_M_ARENA_MAX: Final = -8
"""The value of ``M_ARENA_MAX`` in glibc's malloc.h."""

_ARENAS: Final = 2


def limit_arenas() -> None:
    """Make all threads that start from now on share a few malloc arenas, unless the environment sets their number.

    By default, glibc gives threads arenas of their own, up to eight per core [mallopt(3)], and each arena keeps much of
    its peak memory. Each commit of tantivy starts threads, so every arena eventually reaches its peak. With two arenas,
    the service needs half the memory after some bursts and no more CPU. Other C libraries don't have arenas.
    """
    if "MALLOC_ARENA_MAX" in os.environ or "glibc.malloc.arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)

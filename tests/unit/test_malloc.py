"""The number of malloc arenas of threads."""

import ctypes
import os
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys, threading
from cachesync.service.malloc import limit_arenas

if "few" in sys.argv:
    limit_arenas()
together = threading.Barrier(6)

def allocate():
    blocks = [bytearray(50_000) for _ in range(10)]
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(6)]
for each in threads:
    each.start()
for each in threads:
    each.join()
ctypes.CDLL(None).malloc_stats()
"""


def arenas(*arguments: str, **environment: str) -> int:
    kept = {name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, check=True)
    return done.stderr.count("Arena ")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="only glibc has arenas and tells of them")
def test_threads_share_few_arenas_unless_the_environment_sets_a_number() -> None:
    assert arenas() > 4
    assert arenas("few") <= 2
    assert arenas("few", MALLOC_ARENA_MAX="4") == 4
    assert arenas("few", GLIBC_TUNABLES="glibc.malloc.arena_max=4") == 4

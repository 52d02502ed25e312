"""Measure times, and programs that run in their own process."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, NamedTuple


class Cost(NamedTuple):
    """Seconds of wall-clock and of CPU time."""

    wall: float
    cpu: float

    def since(self, earlier: "Cost") -> "Cost":
        """Return the cost from an earlier time to this one."""
        return Cost(self.wall - earlier.wall, self.cpu - earlier.cpu)


def now() -> Cost:
    """Return the wall-clock time, and the CPU time of all threads of this process."""
    return Cost(time.perf_counter(), time.process_time())


# A child's ru_maxrss starts with that of the process that forked it, so the child reports its own peak.
_RUN_AND_REPORT_PEAK: Final = """
import sys
from cachesync.cli import run
sys.argv[0] = "cachesync"
code = run()
sys.stderr.write(open("/proc/self/status").read())
sys.exit(code)
"""


def cachesync(command: str, root: Path, **index: str) -> tuple[Cost, dict[str, Any]]:
    """Run a writing command in its own process, with defaults except for the pages and these keys of ``index``.

    ``peak_mb``, its peak memory, is added to its report.
    """
    keys = {f"CACHESYNC_INDEX__{key.upper()}": value for key, value in index.items()}
    environment = {"CACHESYNC_CONFIG": os.devnull, "CACHESYNC_PAGES__ROOT": str(root), **keys}
    cost, done = _run(["-c", _RUN_AND_REPORT_PEAK, command, "--json"], environment)
    report: dict[str, Any] = json.loads(done.stdout)
    report["peak_mb"] = int(done.stderr.rsplit("VmHWM:", 1)[1].split()[0]) / 1024
    return cost, report


def module(name: str, *arguments: str) -> tuple[Cost, dict[str, Any]]:
    """Run a module in its own process, and return the JSON object that it prints."""
    cost, done = _run(["-m", name, *arguments], {})
    found: dict[str, Any] = json.loads(done.stdout)
    return cost, found


def _run(arguments: list[str], environment: dict[str, str]) -> tuple[Cost, subprocess.CompletedProcess[str]]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **environment}, check=False, capture_output=True, text=True
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(arguments[1:])} ended with {done.returncode}:\n{done.stderr}")
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), done

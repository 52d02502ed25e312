"""A folder for servers that end with whoever started them, however that one ends.

A process of its own waits for the end of its stdin, a pipe whose other end only the owner has: the system closes it also
when the owner is killed. Then it kills the servers and removes what they wrote. It is in a session of its own, so that
a signal for the owner's group, such as Ctrl-C, doesn't reach it.

It runs as a script, without the project's packages: a test run starts it each time and needs it seldom.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PID: Final = "pid"
"""The file in a server's folder that has its process id, which is the id of its process group too."""

CONTAINER: Final = "container"
"""The file in a server's folder that has the name of its container."""

_SHARED_MEMORY: Final = Path("/dev/shm")
_REMOVAL_SECONDS: Final = 30.0


@contextlib.contextmanager
def guarded() -> Iterator[Path]:
    """Lend a folder with a folder for each server in it, in which files called PID or CONTAINER name the server.

    When the block ends, or this process does, the servers are killed, and the folder and its ``memory`` are removed.
    """
    folder = Path(tempfile.mkdtemp(prefix="cachesync-tests-"))
    folder.chmod(0o755)  # where we are root, servers run as another user
    command = [sys.executable, "-I", "-S", __file__, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ):
        yield folder


def memory(folder: Path) -> Path:
    """Return the place in memory that belongs to a guarded folder. It needn't exist."""
    return _SHARED_MEMORY / folder.name


def stop(pid: int) -> None:
    """Kill a server that leads a process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _end(folder: Path) -> None:
    """Kill all servers of a folder and remove it.

    It is renamed first: a server that is being started can't write its PID any more, and then it doesn't start.
    """
    ended = folder.rename(folder.with_name(f"{folder.name}.ended"))
    for file in ended.glob(f"*/{PID}"):
        stop(int(file.read_text()))
    for file in ended.glob(f"*/{CONTAINER}"):
        subprocess.run(["docker", "kill", file.read_text()], check=False, capture_output=True)
    _remove(memory(folder), ended)


def _remove(*folders: Path) -> None:
    """Remove folders in which processes that were just killed may still write for a moment."""
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while any(folder.exists() for folder in folders) and time.monotonic() < deadline:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


def _main(folder: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    _end(folder)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))

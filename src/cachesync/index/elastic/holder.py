"""Identifies the process that holds the lease, and detects whether it is still alive."""

import os
import socket
import uuid
from pathlib import Path

import msgspec


class Holder(msgspec.Struct, frozen=True):
    """A process as one particular writer; the same process may become another writer later."""

    host: str
    pid: int
    started: str = ""
    """The kernel's boot id, the process namespace, and the start time of the process as the kernel counts it."""

    token: str = ""
    """A random token that is unique to this writer."""

    @classmethod
    def here(cls) -> "Holder":
        """Return a holder for this process."""
        return cls(socket.gethostname(), os.getpid(), _started(os.getpid()), uuid.uuid4().hex)

    @property
    def is_dead(self) -> bool:
        """Whether the process ran on this machine and has ended; False if that can't be determined."""
        mine = _started(os.getpid())
        if not (self.started and mine and self.started.split(" ")[:2] == mine.split(" ")[:2]):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it is alive, and belongs to another user
            return False
        return _started(self.pid) != self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _started(pid: int) -> str:
    """Return a process's boot id, namespace and start time, a unique identity; empty if there is no such process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").readlink()
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if status[0] in "ZX" else f"{boot} {namespace} {status[19]}"
    except (OSError, IndexError):
        return ""

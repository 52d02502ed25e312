"""Who holds the lease, and whether that process is still there."""

import os
import socket
import uuid
from pathlib import Path

import msgspec


class Holder(msgspec.Struct, frozen=True):
    """A process, as one writer: it may be another a moment later."""

    host: str
    pid: int
    started: str = ""
    """When it was started, in the words of its kernel, and by which boot and in which process namespace."""

    token: str = ""
    """What no other writer has."""

    @classmethod
    def here(cls) -> "Holder":
        """Return this process."""
        return cls(socket.gethostname(), os.getpid(), _started(os.getpid()), uuid.uuid4().hex)

    @property
    def is_dead(self) -> bool:
        """It ran on this machine and doesn't any more; False where that can't be known."""
        mine = _started(os.getpid())
        if not (self.started and mine and self.started.split(" ")[:2] == mine.split(" ")[:2]):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it lives, as another user
            return False
        return _started(self.pid) != self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _started(pid: int) -> str:
    """Return what no other process can have: boot, namespace, and when it was started; empty where there is none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").readlink()
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if status[0] in "ZX" else f"{boot} {namespace} {status[19]}"
    except (OSError, IndexError):
        return ""

"""The lease as it is stored, and the process that holds it: one document in the small index ``NAME-state``."""

import itertools
import os
import socket
import uuid
from pathlib import Path
from typing import Final

import msgspec
from elasticsearch import ConflictError

from cachesync.context import current
from cachesync.errors import IndexUnavailableError
from cachesync.index.elastic.connection import Connection
from cachesync.index.elastic.state import Revision, StateIndex
from cachesync.retry import delays

_ID: Final = "lease"
_SIGNAL_TRIES: Final = 10


class Holder(msgspec.Struct, frozen=True):
    """A process as one particular writer; the same process may become another writer later."""

    host: str
    pid: int
    started: str = ""
    """The kernel's boot id, the process namespace, and the process's start time as counted by the kernel."""

    token: str = ""
    """A random token that is unique to this writer."""

    @classmethod
    def here(cls) -> "Holder":
        """Return a holder for this process."""
        return cls(socket.gethostname(), os.getpid(), _started(os.getpid()), uuid.uuid4().hex)

    @property
    def is_dead(self) -> bool:
        """Whether the process ran on this host and has exited; False if that can't be determined."""
        mine = _started(os.getpid())
        if not (self.started and mine and self.started.split(" ")[:2] == mine.split(" ")[:2]):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # the process is alive, but belongs to another user
            return False
        return _started(self.pid) != self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _started(pid: int) -> str:
    """Return a process's boot id, namespace and start time, which identify it; empty if it doesn't exist."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").readlink()
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if status[0] in "ZX" else f"{boot} {namespace} {status[19]}"
    except (OSError, IndexError):
        return ""


class LeaseState(msgspec.Struct, frozen=True, omit_defaults=True):
    """The lease as it is stored."""

    epoch: int = 0
    """A number that grows whenever the lease changes hands, so writes of an earlier holder have lower versions."""
    beat: int = 0
    """A number that grows with each renewal."""
    generations: int = 0
    """The highest number that a generation has had. The next generation gets a higher one."""
    holder: Holder | None = None
    since: str = ""
    pinned: str | None = msgspec.field(default=None, name="held")
    """The generation that a rollback made live. While that generation is live, the index is pinned.

    During a second rollback, the name of the previously pinned generation follows after a space.
    """
    service: bool = False
    """Whether the holder is a service."""
    signals: int = 0
    """How often the holder was asked to check for requests."""

    @property
    def heartbeat(self) -> tuple[int, int]:
        """The part of the lease that a live holder keeps changing, and that no other process changes."""
        return self.epoch, self.beat

    def pins(self, generation: str) -> bool:
        """Whether the index is pinned while this generation is live."""
        return generation in (self.pinned or "").split()

    def equals_ignoring_signals(self, other: "LeaseState") -> bool:
        """Whether both states are equal, apart from the number of signals."""
        return msgspec.structs.replace(self, signals=0) == msgspec.structs.replace(other, signals=0)


class Seen(msgspec.Struct, frozen=True):
    """The lease as it was read, with the revision of its document."""

    state: LeaseState
    revision: Revision | None = None


class StoredLease:
    """The lease's document. Any process may read it, and replace it if it hasn't changed since."""

    def __init__(self, connection: Connection, name: str) -> None:
        """``name`` is ``index.name``."""
        self._index = StateIndex(connection, name)

    def read(self) -> Seen:
        """Read the lease."""
        found = self._index.get(_ID)
        if found is None:
            return Seen(LeaseState())
        document, revision = found
        try:
            return Seen(msgspec.convert(document, LeaseState), revision)
        except msgspec.ValidationError as error:
            raise IndexUnavailableError(
                f"the lease in {self._index.name} is damaged ({error}): delete that index"
            ) from None

    def replace(self, seen: Seen, state: LeaseState) -> Seen:
        """Replace the lease, provided that it is still as it was ``seen``.

        Raises:
            ConflictError: the lease has changed since.
        """
        return Seen(state, self._index.replace(_ID, msgspec.to_builtins(state), seen.revision))

    def signal(self) -> None:
        """Ask the current or next holder to check for requests.

        Raises:
            IndexUnavailableError: each attempt conflicted with another change of the lease.
        """
        for delay in itertools.islice(delays(), _SIGNAL_TRIES):
            seen = self.read()
            try:
                self.replace(seen, msgspec.structs.replace(seen.state, signals=seen.state.signals + 1))
            except ConflictError:
                current().wait(delay)
            else:
                return
        raise IndexUnavailableError(f"the lease in {self._index.name} changes all the time: try again")

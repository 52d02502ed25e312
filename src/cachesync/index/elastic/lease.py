"""The lease that makes one process the writer, stored in the small index ``NAME-state``.

The lease is one document, which is only ever replaced on condition that it hasn't changed since it was last read. Its
holder renews it every few seconds. A waiting process measures time by its own clock, so the clocks of two machines are
never compared: a lease that hasn't changed for :data:`LEASE_SECONDS` has a dead holder.

A holder that is slow to notice that it has lost the lease does no harm: every write carries the lease's *epoch*, which
grows whenever the lease changes hands, and the server rejects writes of an older epoch.

A client *signals* the holder by raising a counter in the lease. The holder's next conditional renewal then conflicts,
so it reads the lease again and sees the signal, without ever polling for it.
"""

import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec
from elasticsearch import ConflictError

from cachesync.context import current, shielded, within
from cachesync.errors import CachesyncError, IndexUnavailableError, OvertakenError
from cachesync.index.base import OnWait, ignore
from cachesync.index.elastic.connection import Connection
from cachesync.index.elastic.holder import Holder
from cachesync.index.elastic.state import Revision, StateIndex
from cachesync.log import get_logger
from cachesync.retry import delays

_log = get_logger()

LEASE_SECONDS: Final = 10.0
RENEW_SECONDS: Final = 3.0
_POLL_SECONDS: Final = 0.2
_SERVICE_POLL_SECONDS: Final = 1.0
"""A service polls less often, since it may stand by for weeks."""
_SIGNAL_TRIES: Final = 10
RENEW_PATIENCE: Final = 4.0
"""Seconds that a renewal may take. If it fails, the next one makes up for it."""
_RELEASE_PATIENCE: Final = 2.0
"""Seconds that releasing the lease may take. If it fails, the lease expires."""

_ID: Final = "lease"
_VERSION_BITS: Final = 31
"""The low bits of a version, which count up under one holder; the bits above them are the epoch. There are 63 bits."""


class LeaseState(msgspec.Struct, omit_defaults=True):
    """The lease as it is stored."""

    epoch: int = 0
    """Grows whenever the lease changes hands, so writes of an earlier holder have lower versions."""
    beat: int = 0
    """Grows with each renewal."""
    generations: int = 0
    """The highest number that a generation has had; the next one's is one more."""
    holder: Holder | None = None
    since: str = ""
    pinned: str | None = msgspec.field(default=None, name="held")
    """The generation that a rollback made live; during a second rollback, after a space, the previous one as well.

    While it is live, the index is pinned.
    """
    service: bool = False
    """Whether the holder is a service."""
    signals: int = 0
    """How often the holder was asked to check for requests."""

    @property
    def heartbeat(self) -> tuple[int, int]:
        """The part of the lease that a live holder keeps changing, and no other process does."""
        return self.epoch, self.beat

    def pins(self, generation: str) -> bool:
        """Whether the index is pinned while this generation is live."""
        return generation in (self.pinned or "").split()

    def equals_ignoring_signals(self, other: "LeaseState") -> bool:
        """Whether both are equal, except perhaps for the number of signals."""
        return msgspec.structs.replace(self, signals=0) == msgspec.structs.replace(other, signals=0)


class _Seen(msgspec.Struct, frozen=True):
    """The lease as it was read, with the revision of its document."""

    state: LeaseState
    revision: Revision | None = None


class Lease:
    """One process's view of the lease, and its claim to it. It writes nothing before :meth:`claim`. Thread-safe."""

    def __init__(
        self,
        connection: Connection,
        name: str,
        patience: float,
        *,
        serving: bool = False,
        on_wait: OnWait = ignore,
    ) -> None:
        """Prepare to use the lease of the index ``name``.

        Args:
            connection: the connection to the cluster.
            name: the index's name.
            patience: how many seconds to wait for another holder.
            serving: whether to hold it as a service.
            on_wait: called with the other holder at least every second while waiting for it.
        """
        self._name = name
        self._patience = patience
        self._serving = serving
        self._on_wait = on_wait
        self._versions = itertools.count()
        self._stored = StateIndex(connection, name)
        self._me = Holder.here()
        self._owned = False
        self._lost: CachesyncError | None = None
        self._losses = 0
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._renewer: threading.Thread | None = None
        self._seen = _Seen(LeaseState())

    def pins(self, generation: str) -> bool:
        """Whether the index is pinned while this generation is live, by the lease as last read."""
        return self._seen.state.pins(generation)

    @property
    def losses(self) -> int:
        """How often another process was the writer since this one first read the lease; what it read is then stale."""
        return self._losses

    @property
    def signals(self) -> int:
        """How often the holder was asked to check for requests, by the lease as last read."""
        return self._seen.state.signals

    def read(self) -> LeaseState:
        """Read the current lease."""
        self._seen = self._read()
        return self._seen.state

    def signal(self) -> None:
        """Ask the current or next holder to check for requests.

        Raises:
            IndexUnavailableError: each attempt conflicted with another change of the lease.
        """
        for delay in itertools.islice(delays(), _SIGNAL_TRIES):
            seen = self._read()
            try:
                self._write(msgspec.structs.replace(seen.state, signals=seen.state.signals + 1), seen)
            except ConflictError:
                current().wait(delay)
            else:
                return
        raise IndexUnavailableError(f"the lease in {self._stored.name} changes all the time: try again")

    def wait(self) -> None:
        """Wait until no process holds the lease. The lease of a dead process is taken over.

        Raises:
            IndexUnavailableError: another process still holds it.
        """
        deadline = time.monotonic() + self._patience
        poll = _SERVICE_POLL_SECONDS if self._serving else _POLL_SECONDS
        logged = False
        unchanged_since = time.monotonic()
        self._seen = self._read()
        while (holder := self._seen.state.holder) is not None:
            now = time.monotonic()
            if holder.is_dead or now - unchanged_since > LEASE_SECONDS:
                if self._acquire():
                    _log.info(
                        "taking over from a writer that ended without releasing the lease",
                        action="writer.taken_over",
                        holder=str(holder),
                    )
                    return
            elif now >= deadline:
                raise IndexUnavailableError(
                    f"{holder} is still writing to the index {self._name} after {self._patience:g} s: "
                    "try again when it ends"
                )
            else:
                if not logged:
                    _log.info(
                        "waiting for another writer to end",
                        action="writer.waiting",
                        holder=str(holder),
                        index=self._name,
                    )
                logged = True
                self._on_wait(str(holder))
                current().wait(min(poll, max(0.0, deadline - now)))
            asked, before = time.monotonic(), self._seen
            self._seen = self._read()
            was_away = time.monotonic() - asked > RENEW_SECONDS  # then the holder couldn't renew it, either
            if was_away or before.state.heartbeat != self._seen.state.heartbeat:
                unchanged_since = time.monotonic()

    def next_version(self) -> int:
        """Return a version for a page's documents, higher than all before it; the page's record gets one more."""
        return next(self._versions)

    def claim(self, expected_losses: int | None = None) -> None:
        """Hold the lease from now on, if no other process has written since it was last read.

        ``expected_losses``: the number of losses at the time when the data to be written was determined.

        Raises:
            OvertakenError: another process has written. The lease is now held, but what was read before is outdated.
            IndexUnavailableError: another process holds it for longer than ``patience``.
        """
        with self._lock:
            before = self._losses
            if self._lost and self._serving:
                raise self._lost  # a service stands by again, instead of waiting in the middle of its work
            if not self._owned or self._lost:
                self._acquire_waiting()
            if self._losses != (before if expected_losses is None else expected_losses):
                raise _overtaken()

    def _acquire_waiting(self) -> None:
        overtaken = self._lost is not None
        while not self._acquire():
            overtaken = True
            self._owned = False
            self.wait()
            if self._owned:
                break
        self._losses += overtaken

    def check(self, expected_losses: int | None = None) -> None:
        """Make sure that the lease is still ours, and that it wasn't lost since ``expected_losses`` was read.

        Raises:
            OvertakenError: it was lost.
        """
        if self._lost:
            raise self._lost
        if expected_losses not in (None, self._losses):
            raise _overtaken()

    def confirm(self) -> None:
        """Make sure, by a request, that the lease is still ours, before a write that the server couldn't reject later.

        Raises:
            OvertakenError: it was lost.
        """
        self._renew()
        self.check()

    def next_generation(self, at_least: int) -> int:
        """Return a number that no generation has had or will ever have again."""
        number = max(self._seen.state.generations + 1, at_least)
        self._change(lambda state: msgspec.structs.replace(state, generations=number))
        return number

    def pin(self, *generations: str) -> None:
        """Pin the index while one of these generations is live: syncs then change nothing."""
        self._change(lambda state: msgspec.structs.replace(state, pinned=" ".join(generations)))

    def release(self) -> None:
        """Release the lease, so that others may write. Harmless if it isn't ours."""
        self._ended.set()
        if self._renewer:
            self._renewer.join(_RELEASE_PATIENCE)
            self._renewer = None
        if self._owned and self._lost is None:
            try:
                with shielded(_RELEASE_PATIENCE):
                    self._change(lambda state: msgspec.structs.replace(state, holder=None, service=False))
            except CachesyncError as error:
                _log.warning(
                    "the lease could not be given back; it ends by itself",
                    action="lease.release_failed",
                    reason=str(error),
                )
        self._owned = False

    # --- how it is stored ---------------------------------------------------------------------------------------------

    def _read(self) -> _Seen:
        found = self._stored.get(_ID)
        if found is None:
            return _Seen(LeaseState())
        document, revision = found
        try:
            return _Seen(msgspec.convert(document, LeaseState), revision)
        except msgspec.ValidationError as error:
            raise IndexUnavailableError(
                f"the lease in {self._stored.name} is damaged ({error}): delete that index"
            ) from None

    def _write(self, state: LeaseState, seen: _Seen) -> _Seen:
        """Replace the lease, provided that it hasn't changed since it was read.

        Raises:
            ConflictError: it has changed.
        """
        return _Seen(state, self._stored.replace(_ID, msgspec.to_builtins(state), seen.revision))

    def _acquire(self) -> bool:
        """Become the holder of the lease as last read; return False if it has changed since."""
        seen = self._seen
        # Never below the current time, so the epoch exceeds all earlier ones even if the state index was lost.
        epoch = max(seen.state.epoch + 1, int(time.time()))
        since = datetime.now(UTC).isoformat(timespec="seconds")
        while True:
            mine = msgspec.structs.replace(
                seen.state, epoch=epoch, beat=0, holder=self._me, since=since, service=self._serving
            )
            try:
                self._seen = self._write(mine, seen)
                break
            except ConflictError:
                now = self._read()
                if now.state.equals_ignoring_signals(mine):  # our write succeeded, but its response was lost
                    self._seen = now
                    break
                if not now.state.equals_ignoring_signals(seen.state):
                    return False
                seen = now
        self._owned = True
        self._lost = None
        self._versions = itertools.count(epoch << _VERSION_BITS, 2)
        self._ended.set()
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._keep_renewing, args=(self._ended,), name="lease", daemon=True)
        self._renewer.start()
        return True

    def _change(self, change: Callable[[LeaseState], LeaseState]) -> None:
        """Change the lease that we hold.

        Raises:
            OvertakenError: we don't hold it any more.
        """
        with self._lock:
            self.check()
            try:
                self._seen = self._write(change(self._seen.state), self._seen)
            except ConflictError:
                now = self._read()
                if now.revision is None:  # the index was deleted, and writing a note has created it again
                    now = _Seen(self._seen.state)
                if now.state.epoch == self._seen.state.epoch and now.state.holder == self._me:
                    self._seen = now  # the response to a write of ours was lost
                    self._change(change)
                    return
                self._lost = OvertakenError(f"{now.state.holder or 'another process'} has taken over as the writer")
                raise self._lost from None

    def _renew(self) -> None:
        try:
            self._change(lambda state: msgspec.structs.replace(state, beat=state.beat + 1))
        except OvertakenError:
            _log.warning("the lease was lost", action="lease.lost", reason=str(self._lost))

    def _keep_renewing(self, ended: threading.Event) -> None:
        """Renew the lease until it is released or lost."""
        failing = False
        while not ended.wait(RENEW_SECONDS) and self._lost is None:
            try:
                with within(RENEW_PATIENCE):
                    self._renew()
            except CachesyncError as error:
                if not failing:
                    _log.warning(
                        "the lease can't be renewed; trying again", action="lease.renewal_failed", reason=str(error)
                    )
                failing = True
            else:
                if failing and self._lost is None:
                    _log.info("the lease is renewed again", action="lease.renewed")
                failing = False


def _overtaken() -> OvertakenError:
    return OvertakenError("another writer has changed the index meanwhile")

"""The lease that makes one process the writer, stored in the small index ``NAME-state``.

The lease is one document. A process replaces that document only if it hasn't changed since the process last read it.
The holder renews the lease every few seconds. A waiting process measures time by its own clock, so the clocks of two
hosts are never compared: if the lease hasn't changed for :data:`LEASE_SECONDS`, its holder is dead.

A holder that is slow to notice that it has lost the lease does no harm: every write carries the lease's *epoch*, which
grows whenever the lease changes hands, and the server rejects writes of an older epoch.

A client *signals* the holder by raising a counter in the lease. The holder's next conditional renewal then conflicts,
so the holder rereads the lease and sees the signal, without ever polling for signals.
"""

import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

import msgspec
from elasticsearch import ConflictError

from cachesync.context import shielded, within
from cachesync.errors import CachesyncError, OvertakenError
from cachesync.index.base import OnWait, ignore
from cachesync.index.elastic.connection import Connection
from cachesync.index.elastic.stored_lease import Holder, LeaseState, Seen, StoredLease
from cachesync.index.standby import Standby
from cachesync.log import get_logger

_log = get_logger()

LEASE_SECONDS: Final = 10.0
RENEW_SECONDS: Final = 3.0
_POLL_SECONDS: Final = 0.2
RENEW_PATIENCE: Final = 4.0
"""Seconds that a renewal may take. If a renewal fails, the next one makes up for it."""
_RELEASE_PATIENCE: Final = 2.0
"""Seconds that releasing the lease may take. If the release fails, the lease expires."""

_VERSION_BITS: Final = 31
"""How many low bits of a 63-bit version count up under one holder. The bits above them are the epoch."""


class Watched(NamedTuple):
    """The lease of another process, as it was last read. All times come from one monotonic clock."""

    seen: Seen
    unchanged_since: float
    """The earliest time at which the holder may have died, as far as we can tell."""

    def is_expired(self, now: float) -> bool:
        """Whether the lease's holder must be dead."""
        return now - self.unchanged_since > LEASE_SECONDS

    def after(self, seen: Seen, asked: float, now: float) -> "Watched":
        """Return the watched lease after it was reread by a request that was sent at ``asked``."""
        was_away = now - asked > RENEW_SECONDS  # then the holder couldn't renew the lease either
        is_alive = seen.state.heartbeat != self.seen.state.heartbeat
        return Watched(seen, now if was_away or is_alive else self.unchanged_since)


class _Claim(NamedTuple):
    """The lease as a process last read it, and whether the process holds the lease."""

    seen: Seen = Seen(LeaseState())
    is_ours: bool = False
    lost: OvertakenError | None = None
    """Why we lost the lease; None if we didn't, or have reacquired it."""
    losses: int = 0
    """How often another process has been the writer since this process first read the lease."""


class Lease:
    """A process's claim to the lease. Before :meth:`claim`, nothing is written unless the holder died. Thread-safe."""

    def __init__(
        self, connection: Connection, name: str, patience: float, *, serving: bool = False, on_wait: OnWait = ignore
    ) -> None:
        """Use the lease of the index ``name``, as a service if ``serving``.

        Methods wait ``patience`` seconds for another holder, calling ``on_wait`` with it at least every second.
        """
        self._stored = StoredLease(connection, name)
        self._serving = serving
        self._standby = partial(
            Standby, f"the index {name}", patience, on_wait, _POLL_SECONDS, serving=serving, index=name
        )
        self._me = Holder.here()
        self._versions = itertools.count()
        self._lock = threading.RLock()
        self._renewer: threading.Thread | None = None
        self._ended = threading.Event()
        """When set, the renewer exits."""
        self._claim = _Claim()

    @property
    def state(self) -> LeaseState:
        """The lease as last read."""
        return self._claim.seen.state

    @property
    def losses(self) -> int:
        """How often another process has been the writer since we first read the lease; earlier reads are then stale."""
        return self._claim.losses

    def wait(self) -> None:
        """Wait until no other process holds the lease, and take over the lease of a dead process.

        Raises:
            IndexUnavailableError: another process still holds the lease.
        """
        standby = self._standby()
        watched = Watched(self._stored.read(), time.monotonic())
        while (holder := watched.seen.state.holder) is not None:
            if holder.is_dead or watched.is_expired(time.monotonic()):
                if self._acquire(watched.seen):
                    _log.info(
                        "taking over from a writer that ended without releasing the lease",
                        action="writer.taken_over",
                        holder=str(holder),
                    )
                    return
            else:
                standby.wait(str(holder))
            asked = time.monotonic()
            watched = watched.after(self._stored.read(), asked, time.monotonic())
        with self._lock:
            self._claim = self._claim._replace(seen=watched.seen)

    def next_version(self) -> int:
        """Return a version for a page's documents, higher than any before. The page's record gets that version + 1."""
        return next(self._versions)

    def claim(self, expected_losses: int | None = None) -> None:
        """Hold the lease from now on, if no other process has written since we last read the lease.

        ``expected_losses`` is the number of losses at the time when the data to be written was determined.

        Raises:
            OvertakenError: another process has written. We now hold the lease, but what we read before is outdated.
            IndexUnavailableError: another process holds the lease for longer than ``patience``.
        """
        with self._lock:
            before = self._claim
            if before.lost and self._serving:
                raise before.lost  # a service goes back to standing by, rather than wait in the middle of its work
            overtaken = before.lost is not None
            while not (self._claim.is_ours or self._acquire(self._claim.seen)):
                overtaken = True
                self.wait()
            if overtaken:
                self._claim = self._claim._replace(losses=before.losses + 1)
            self.check(before.losses if expected_losses is None else expected_losses)

    def check(self, expected_losses: int | None = None) -> None:
        """Check that the lease isn't lost, and wasn't lost since ``expected_losses`` was read.

        Raises:
            OvertakenError: the lease was lost.
        """
        claim = self._claim
        if claim.lost:
            raise claim.lost
        if expected_losses not in (None, claim.losses):
            raise OvertakenError("another writer has changed the index meanwhile")

    def confirm(self) -> None:
        """Check by a request that the lease is still ours, before a write that the server can't reject for its epoch.

        Raises:
            OvertakenError: the lease was lost.
        """
        self._renew()
        self.check()

    def next_generation(self, at_least: int) -> int:
        """Return a number that no generation has had, and that no other generation will ever get."""
        number = max(self.state.generations + 1, at_least)
        self._change(lambda state: msgspec.structs.replace(state, generations=number))
        return number

    def pin(self, *generations: str) -> None:
        """Pin the index while one of these generations is live: syncs then change nothing."""
        self._change(lambda state: msgspec.structs.replace(state, pinned=" ".join(generations)))

    def release(self) -> None:
        """Release the lease, so that other processes may write. If the lease isn't ours, the call is harmless."""
        self._ended.set()
        if self._renewer:
            self._renewer.join(_RELEASE_PATIENCE)
        if self._claim.is_ours:
            try:
                with shielded(_RELEASE_PATIENCE):
                    self._change(lambda state: msgspec.structs.replace(state, holder=None, service=False))
            except CachesyncError as error:
                _log.warning(
                    "the lease could not be given back; it ends by itself",
                    action="lease.release_failed",
                    reason=str(error),
                )
        with self._lock:
            self._claim = self._claim._replace(is_ours=False)

    def _acquire(self, seen: Seen) -> bool:
        """Become the holder of the lease. Return False if the lease has changed since it was ``seen``."""
        # Never below the current time, so the epoch exceeds all earlier ones even if the state index was lost.
        epoch = max(seen.state.epoch + 1, int(time.time()))
        since = datetime.now(UTC).isoformat(timespec="seconds")
        while True:
            mine = msgspec.structs.replace(
                seen.state, epoch=epoch, beat=0, holder=self._me, since=since, service=self._serving
            )
            try:
                held = self._stored.replace(seen, mine)
                break
            except ConflictError:
                held = self._stored.read()
                if held.state.equals_ignoring_signals(mine):  # our write succeeded, but its response was lost
                    break
                if not held.state.equals_ignoring_signals(seen.state):
                    return False
                seen = held
        with self._lock:
            self._claim = self._claim._replace(seen=held, is_ours=True, lost=None)
            self._versions = itertools.count(epoch << _VERSION_BITS, 2)
            self._ended.set()
            self._ended = threading.Event()
            renewer = threading.Thread(target=self._keep_renewing, args=(self._ended,), name="lease", daemon=True)
            renewer.start()
            self._renewer = renewer
        return True

    def _change(self, change: Callable[[LeaseState], LeaseState]) -> None:
        """Change the lease that we hold.

        Raises:
            OvertakenError: we no longer hold the lease.
        """
        with self._lock:
            self.check()
            seen = self._claim.seen
            try:
                self._claim = self._claim._replace(seen=self._stored.replace(seen, change(seen.state)))
            except ConflictError:
                now = self._stored.read()
                if now.revision is None:  # the index was deleted, and writing a note has recreated it
                    now = Seen(seen.state)
                if now.state.epoch == seen.state.epoch and now.state.holder == self._me:
                    self._claim = self._claim._replace(seen=now)  # the response to a write of ours was lost
                    self._change(change)
                    return
                lost = OvertakenError(f"{now.state.holder or 'another process'} has taken over as the writer")
                self._claim = self._claim._replace(is_ours=False, lost=lost)
                raise lost from None

    def _renew(self) -> bool:
        """Renew the lease, and return whether it is still ours."""
        if self._claim.lost:
            return False
        try:
            self._change(lambda state: msgspec.structs.replace(state, beat=state.beat + 1))
        except OvertakenError as error:
            _log.warning("the lease was lost", action="lease.lost", reason=str(error))
            return False
        return True

    def _keep_renewing(self, ended: threading.Event) -> None:
        """Renew the lease every few seconds, until ``ended`` is set or the lease is lost."""
        failing = False
        while not ended.wait(RENEW_SECONDS):
            try:
                with within(RENEW_PATIENCE):
                    if not self._renew():
                        return
            except CachesyncError as error:
                if not failing:
                    _log.warning(
                        "the lease can't be renewed; trying again", action="lease.renewal_failed", reason=str(error)
                    )
                failing = True
            else:
                if failing:
                    _log.info("the lease is renewed again", action="lease.renewed")
                failing = False

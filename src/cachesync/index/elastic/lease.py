"""Who writes: one at a time, by a lease in the small index ``NAME-state``.

The lease is one document that is only ever replaced on condition that it is still as it was when it was last read. Its
holder renews it every few seconds. Whoever waits for it watches it by a clock of his own, so no two machines' clocks
are compared: one that hasn't changed for :data:`LEASE_SECONDS` has a dead holder.

A holder that was too slow to notice that it has lost the lease does no harm: every write carries its *epoch*, which
grows with every change of hands, and the server turns away the older one.

A process that wants something of the holder *signals* it by raising a counter in the lease. So the holder's next
renewal conflicts, it reads the lease again, and learns of the signal without ever asking for it.
"""

import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec
from elasticsearch import ConflictError

from cachesync.context import current, delays, shielded, within
from cachesync.errors import CachesyncError, IndexUnavailableError, OvertakenError
from cachesync.index.base import OnWait, nobody
from cachesync.index.elastic.connection import Connection
from cachesync.index.elastic.holder import Holder
from cachesync.index.elastic.state import Revision, StateIndex
from cachesync.log import get_logger

_log = get_logger()

LEASE_SECONDS: Final = 10.0
_RENEW_SECONDS: Final = 3.0
_POLL_SECONDS: Final = 0.2
_SERVICE_POLL_SECONDS: Final = 1.0
"""A service may stand by for weeks."""
_SIGNAL_TRIES: Final = 10
_RENEW_PATIENCE: Final = 4.0
"""Seconds for a renewal, which the next one makes up for."""
_RELEASE_PATIENCE: Final = 2.0
"""Seconds for giving the lease back, which else ends by itself."""

_ID: Final = "lease"
_VERSION_BITS: Final = 31
"""Of a version that count up under one holder; those above are the epoch, and 63 there are."""


class LeaseState(msgspec.Struct, omit_defaults=True):
    """The lease as it is stored."""

    epoch: int = 0
    """Grows with each change of hands, so writes of an earlier holder are older."""
    beat: int = 0
    """Grows with each renewal."""
    generations: int = 0
    """How many generations there ever were; the next one's number is one more."""
    holder: Holder | None = None
    since: str = ""
    pinned: str | None = msgspec.field(default=None, name="held")
    """The generation that a rollback has gone back to; during a second rollback, after a space, the one before as well.

    While it is live, the index is pinned.
    """
    service: bool = False
    """The holder is a service."""
    signals: int = 0
    """How often the holder was asked to look for requests."""

    @property
    def pulse(self) -> tuple[int, int]:
        """What a holder that lives changes, and nobody else does."""
        return self.epoch, self.beat

    def pins(self, generation: str) -> bool:
        """Tell whether the index is pinned while this generation is live."""
        return generation in (self.pinned or "").split()

    def is_as(self, other: "LeaseState") -> bool:
        """Tell whether nothing is different but the signals."""
        return msgspec.structs.replace(self, signals=0) == msgspec.structs.replace(other, signals=0)


class _Seen(msgspec.Struct, frozen=True):
    """The lease as it was read, and where it is."""

    state: LeaseState
    place: Revision | None = None


class Lease:
    """One process's relation to the lease. Nothing is written before :meth:`claim`. Many threads may use it."""

    def __init__(
        self,
        connection: Connection,
        name: str,
        patience: float,
        *,
        serving: bool = False,
        on_wait: OnWait = nobody,
    ) -> None:
        """Get to know the lease of the index ``name``.

        Args:
            connection: the way to it.
            name: of the index.
            patience: how many seconds to wait for another holder.
            serving: whether to hold it as a service.
            on_wait: is told of the other holder every second or more often while it is waited for.
        """
        self._name = name
        self._patience = patience
        self._serving = serving
        self._on_wait = on_wait
        self._versions = itertools.count()
        self._stored = StateIndex(connection, name)
        self._me = Holder.here()
        self._mine = False
        self._lost: CachesyncError | None = None
        self._losses = 0
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None
        self._seen = _Seen(LeaseState())

    def pins(self, generation: str) -> bool:
        """Tell whether the index is pinned while this generation is live, as far as is known."""
        return self._seen.state.pins(generation)

    @property
    def losses(self) -> int:
        """How often others have written since this process first looked. What was known before is outdated."""
        return self._losses

    @property
    def signals(self) -> int:
        """How often the holder was asked to look for requests, as far as is known."""
        return self._seen.state.signals

    def read(self) -> LeaseState:
        """Read the lease as it is now."""
        self._seen = self._read()
        return self._seen.state

    def signal(self) -> None:
        """Ask the holder, whoever that is or will be, to look for requests.

        Raises:
            IndexUnavailableError: others always changed the lease in between.
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
        """Wait until nobody holds the lease. That of a dead process is taken over.

        Raises:
            IndexUnavailableError: another still holds it.
        """
        deadline = time.monotonic() + self._patience
        poll = _SERVICE_POLL_SECONDS if self._serving else _POLL_SECONDS
        told = False
        unchanged_since = time.monotonic()
        self._seen = self._read()
        while (holder := self._seen.state.holder) is not None:
            now = time.monotonic()
            if holder.is_dead or now - unchanged_since > LEASE_SECONDS:
                if self._take():
                    _log.info("taking over from a writer that ended without a word", holder=str(holder))
                    return
            elif now >= deadline:
                raise IndexUnavailableError(
                    f"{holder} is still writing to the index {self._name} after {self._patience:g} s: "
                    "try again when it ends"
                )
            else:
                if not told:
                    _log.info("waiting for another writer to end", holder=str(holder), index=self._name)
                told = True
                self._on_wait(str(holder))
                current().wait(min(poll, max(0.0, deadline - now)))
            asked, before = time.monotonic(), self._seen
            self._seen = self._read()
            was_away = time.monotonic() - asked > _RENEW_SECONDS  # then the holder couldn't renew it, either
            if was_away or before.state.pulse != self._seen.state.pulse:
                unchanged_since = time.monotonic()

    def next_version(self) -> int:
        """Return a version for a page's documents, above all before it; its record gets one more."""
        return next(self._versions)

    def claim(self, knowing: int | None = None) -> None:
        """Hold the lease from now on, if nobody has written since it was last read.

        ``knowing``: how many losses there were when that was found which is now to be written.

        Raises:
            OvertakenError: somebody has. The lease is held now, but what is known of the index is outdated.
            IndexUnavailableError: another holds it for longer than we are willing to wait.
        """
        with self._lock:
            before = self._losses
            if self._lost and self._serving:
                raise self._lost  # who serves stands by again, instead of waiting in the middle of its work
            if not self._mine or self._lost:
                self._hold()
            if self._losses != (before if knowing is None else knowing):
                raise _overtaken()

    def _hold(self) -> None:
        overtaken = self._lost is not None
        while not self._take():
            overtaken = True
            self._mine = False
            self.wait()
            if self._mine:
                break
        self._losses += overtaken

    def check(self, knowing: int | None = None) -> None:
        """Make sure that the lease is still ours, and was since there were so many losses.

        Raises:
            OvertakenError: it isn't.
        """
        if self._lost:
            raise self._lost
        if knowing not in (None, self._losses):
            raise _overtaken()

    def confirm(self) -> None:
        """Ask the server whether the lease is still ours, before something that can't be turned away later.

        Raises:
            OvertakenError: it isn't.
        """
        self._renew()
        self.check()

    def next_generation(self, at_least: int) -> int:
        """Return a number that no generation had before, and never will have again."""
        number = max(self._seen.state.generations + 1, at_least)
        self._change(lambda state: msgspec.structs.replace(state, generations=number))
        return number

    def pin(self, *generations: str) -> None:
        """Pin the index while one of these generations is the live one: syncs change nothing."""
        self._change(lambda state: msgspec.structs.replace(state, pinned=" ".join(generations)))

    def release(self) -> None:
        """Let others write. Harmless where the lease isn't ours."""
        self._ended.set()
        if self._heart:
            self._heart.join(_RELEASE_PATIENCE)
            self._heart = None
        if self._mine and self._lost is None:
            try:
                with shielded(_RELEASE_PATIENCE):
                    self._change(lambda state: msgspec.structs.replace(state, holder=None, service=False))
            except CachesyncError as error:
                _log.warning("the lease could not be given back; it ends by itself", reason=str(error))
        self._mine = False

    # --- how it is stored ---------------------------------------------------------------------------------------------

    def _read(self) -> _Seen:
        found = self._stored.get(_ID)
        if found is None:
            return _Seen(LeaseState())
        document, place = found
        try:
            return _Seen(msgspec.convert(document, LeaseState), place)
        except msgspec.ValidationError as error:
            raise IndexUnavailableError(
                f"the lease in {self._stored.name} is damaged ({error}): delete that index"
            ) from None

    def _write(self, state: LeaseState, seen: _Seen) -> _Seen:
        """Replace the lease as it was seen.

        Raises:
            ConflictError: it isn't as it was seen.
        """
        return _Seen(state, self._stored.replace(_ID, msgspec.to_builtins(state), seen.place))

    def _take(self) -> bool:
        """Put our name on the lease as it was last read; False where it isn't so any more."""
        seen = self._seen
        # Not below the time of day: so the next one is above all that indices have seen also where the state was lost.
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
                if now.state.is_as(mine):  # it was us: an answer was lost
                    self._seen = now
                    break
                if not now.state.is_as(seen.state):
                    return False
                seen = now
        self._mine = True
        self._lost = None
        self._versions = itertools.count(epoch << _VERSION_BITS, 2)
        self._ended.set()
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, args=(self._ended,), name="lease", daemon=True)
        self._heart.start()
        return True

    def _change(self, change: Callable[[LeaseState], LeaseState]) -> None:
        """Change the lease, which is ours.

        Raises:
            OvertakenError: it isn't any more.
        """
        with self._lock:
            self.check()
            try:
                self._seen = self._write(change(self._seen.state), self._seen)
            except ConflictError:
                now = self._read()
                if now.place is None:  # it was deleted, and a note made the index anew before we could
                    now = _Seen(self._seen.state)
                if now.state.epoch == self._seen.state.epoch and now.state.holder == self._me:
                    self._seen = now  # an answer of ours was lost
                    self._change(change)
                    return
                self._lost = OvertakenError(f"{now.state.holder or 'another process'} has taken over as the writer")
                raise self._lost from None

    def _renew(self) -> None:
        try:
            self._change(lambda state: msgspec.structs.replace(state, beat=state.beat + 1))
        except OvertakenError:
            _log.warning("the lease was lost", reason=str(self._lost))

    def _beat(self, ended: threading.Event) -> None:
        """Renew the lease until it is released or lost."""
        failing = False
        while not ended.wait(_RENEW_SECONDS) and self._lost is None:
            try:
                with within(_RENEW_PATIENCE):
                    self._renew()
            except CachesyncError as error:
                if not failing:
                    _log.warning("the lease can't be renewed; trying again", reason=str(error))
                failing = True
            else:
                if failing and self._lost is None:
                    _log.info("the lease is renewed again")
                failing = False


def _overtaken() -> OvertakenError:
    return OvertakenError("another writer has changed the index meanwhile")

"""Who writes: one at a time, by a lease in the small index ``NAME-state``.

The lease is one document that is only ever replaced on condition that it is still as it was when it was last read. Its
holder renews it every few seconds. Whoever waits for it watches it by a clock of his own, so no two machines' clocks
are compared: one that hasn't changed for :data:`LEASE_SECONDS` has a dead holder.

A holder that was too slow to notice that it has lost the lease does no harm: every write carries its *epoch*, which
grows with every change of hands, and the server turns away the older one.
"""

import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from elasticsearch import BadRequestError, ConflictError, Elasticsearch, NotFoundError

from cachesync.errors import CachesyncError, IndexUnavailableError, OvertakenError, UsageError
from cachesync.index.elastic import mapping
from cachesync.index.elastic.connection import Connection
from cachesync.index.elastic.holder import Holder
from cachesync.log import get_logger

_log = get_logger()

LEASE_SECONDS: Final = 10.0
_RENEW_SECONDS: Final = 3.0
_POLL_SECONDS: Final = 0.2
_LAST_PATIENCE: Final = 1.0
"""Seconds for a renewal, which the next one makes up for, and for giving the lease back, which else ends by itself."""

_ID: Final = "lease"
_VERSION_BITS: Final = 31
"""Of a version that count up under one holder; those above are the epoch, and 63 there are."""


class State(msgspec.Struct, omit_defaults=True):
    """The lease as it is stored."""

    epoch: int = 0
    """Grows with each change of hands, so writes of an earlier holder are older."""
    beat: int = 0
    """Grows with each renewal."""
    generations: int = 0
    """How many generations there ever were; the next one's number is one more."""
    holder: Holder | None = None
    since: str = ""
    held: str | None = None
    """The generation that a rollback has gone back to. While it is live, syncs are held."""


class _Seen(msgspec.Struct):
    """The lease as it was read, and what the server needs to tell whether it still is so."""

    state: State
    seq_no: int | None = None
    primary_term: int | None = None


class Lease:
    """One process's relation to the lease. Nothing is written before :meth:`claim`."""

    def __init__(self, connection: Connection, name: str, patience: float) -> None:
        """``patience``: how many seconds to wait for another holder."""
        self._connection = connection
        self._name = name
        self._patience = patience
        self._versions = itertools.count()
        self._index = f"{name}-state"
        self._write_alias = f"{name}-state-writing"
        self._me = Holder.here()
        self._mine = False
        self._lost: CachesyncError | None = None
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None
        self._seen = _Seen(State())

    @property
    def held(self) -> str | None:
        """The generation that a rollback has gone back to."""
        return self._seen.state.held

    def read(self) -> State:
        """Read the lease as it is now."""
        self._seen = self._read()
        return self._seen.state

    def wait(self) -> None:
        """Wait until nobody holds the lease. That of a dead process is taken over.

        Raises:
            IndexUnavailableError: another still holds it.
        """
        deadline = time.monotonic() + self._patience
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
                time.sleep(min(_POLL_SECONDS, max(0.0, deadline - now)))
            before, self._seen = self._seen, self._read()
            if before.seq_no != self._seen.seq_no:
                unchanged_since = time.monotonic()

    def next_version(self) -> int:
        """Return a version for a page's documents, above all before it; its record gets one more."""
        return next(self._versions)

    def claim(self) -> None:
        """Hold the lease from now on, if nobody has written since it was last read.

        Raises:
            OvertakenError: somebody has. The lease is held now, but what is known of the index is outdated.
            IndexUnavailableError: another holds it for longer than we are willing to wait.
        """
        if self._mine and self._lost is None:
            return
        overtaken = self._lost is not None
        while True:
            if self._take():
                break
            overtaken = True
            self._mine = False
            self.wait()
            if self._mine:
                break
        if overtaken:
            raise OvertakenError("another writer has changed the index meanwhile")

    def check(self) -> None:
        """Make sure that the lease is still ours.

        Raises:
            OvertakenError: it isn't.
        """
        if self._lost:
            raise self._lost

    def confirm(self, patience: float | None = None) -> None:
        """Ask the server whether the lease is still ours, before something that can't be turned away later.

        Raises:
            OvertakenError: it isn't.
        """
        self._renew(patience)
        self.check()

    def next_generation(self, at_least: int) -> int:
        """Return a number that no generation had before, and never will have again."""
        number = max(self._seen.state.generations + 1, at_least)
        self._change(lambda state: msgspec.structs.replace(state, generations=number))
        return number

    def hold(self, generation: str | None) -> None:
        """Hold syncs while this generation is the live one."""
        self._change(lambda state: msgspec.structs.replace(state, held=generation))

    def release(self) -> None:
        """Let others write. Harmless where the lease isn't ours."""
        self._ended.set()
        if self._heart:
            self._heart.join(_LAST_PATIENCE)
            self._heart = None
        if self._mine and self._lost is None:
            try:
                self._change(lambda state: msgspec.structs.replace(state, holder=None), _LAST_PATIENCE)
            except CachesyncError as error:
                _log.warning("the lease could not be given back; it ends by itself", reason=str(error))
        self._mine = False

    # --- how it is stored ---------------------------------------------------------------------------------------------

    def _read(self) -> _Seen:
        try:
            found = self._connection.call(lambda client: client.get(index=self._index, id=_ID), (NotFoundError,))
        except NotFoundError:
            return _Seen(State())
        try:
            state = msgspec.convert(found["_source"], State)
        except msgspec.ValidationError as error:
            raise IndexUnavailableError(f"the lease in {self._index} is damaged ({error}): delete that index") from None
        return _Seen(state, found["_seq_no"], found["_primary_term"])

    def _take(self) -> bool:
        """Put our name on the lease as it was last read; False where it isn't so any more."""
        state = self._seen.state
        # Not below the time of day: so the next one is above all that indices have seen also where the state was lost.
        epoch = max(state.epoch + 1, int(time.time()))
        since = datetime.now(UTC).isoformat(timespec="seconds")
        mine = msgspec.structs.replace(state, epoch=epoch, beat=0, holder=self._me, since=since)
        try:
            self._seen = self._write(mine, self._seen)
        except ConflictError:
            now = self._read()
            if now.state != mine:  # else it was us: an answer was lost
                return False
            self._seen = now
        self._mine = True
        self._lost = None
        self._versions = itertools.count(epoch << _VERSION_BITS, 2)
        self._ended.set()
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, args=(self._ended,), name="lease", daemon=True)
        self._heart.start()
        return True

    def _change(self, change: Callable[[State], State], patience: float | None = None) -> None:
        """Change the lease, which is ours.

        Raises:
            OvertakenError: it isn't any more.
        """
        with self._lock:
            self.check()
            try:
                self._seen = self._write(change(self._seen.state), self._seen, patience)
            except ConflictError:
                now = self._read()
                if now.state.epoch == self._seen.state.epoch and now.state.holder == self._me:
                    self._seen = now  # an answer of ours was lost
                    self._change(change, patience)
                    return
                self._lost = OvertakenError(f"{now.state.holder or 'another process'} has taken over as the writer")
                raise self._lost from None

    def _renew(self, patience: float | None = None) -> None:
        try:
            self._change(lambda state: msgspec.structs.replace(state, beat=state.beat + 1), patience)
        except OvertakenError:
            _log.warning("the lease was lost", reason=str(self._lost))

    def _beat(self, ended: threading.Event) -> None:
        """Renew the lease until it is released or lost."""
        while not ended.wait(_RENEW_SECONDS) and self._lost is None:
            try:
                self._renew(_LAST_PATIENCE)
            except CachesyncError as error:
                _log.warning("the lease could not be renewed; trying again", reason=str(error))

    def _write(self, state: State, seen: _Seen, patience: float | None = None) -> _Seen:
        """Replace the lease as it was seen.

        Raises:
            ConflictError: it isn't as it was seen.
        """
        document = msgspec.to_builtins(state)

        condition: dict[str, Any] = {"op_type": "create"}
        if seen.seq_no is not None:
            condition = {"if_seq_no": seen.seq_no, "if_primary_term": seen.primary_term}

        def write(client: Elasticsearch) -> Any:
            return client.index(index=self._write_alias, id=_ID, document=document, require_alias=True, **condition)

        try:
            done = self._connection.call(write, (ConflictError, NotFoundError), patience)
        except NotFoundError:  # the index was never there, or was deleted: then nobody holds the lease
            self._create()
            condition = {"op_type": "create"}
            done = self._connection.call(write, (ConflictError,), patience)
        return _Seen(state, done["_seq_no"], done["_primary_term"])

    def _create(self) -> None:
        """Make the index, unless another process is just doing so."""
        try:
            self._connection.call(
                lambda client: client.indices.create(
                    index=self._index,
                    mappings=mapping.state_mapping(self._name),
                    settings={"number_of_shards": 1, "auto_expand_replicas": "0-1"},
                    aliases={self._write_alias: {"is_hidden": True}},
                ),
                (BadRequestError,),
            )
        except BadRequestError as error:
            if "resource_already_exists" not in str(error.error):
                raise self._connection.explained(error) from error
            found = self._connection.call(lambda client: client.indices.get_mapping(index=self._index))
            if not all(mapping.is_ours(each["mappings"], self._name) for each in found.values()):
                raise UsageError(
                    f"the index {self._index} is not cachesync's, and was left alone: choose another index.name"
                ) from None
            self._connection.call(
                lambda client: client.indices.update_aliases(
                    actions=[{"add": {"index": self._index, "alias": self._write_alias, "is_hidden": True}}]
                )
            )

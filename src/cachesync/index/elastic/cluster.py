"""An index in an Elasticsearch cluster: its generations behind two aliases, the lease of its writer, and its notes."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from cachesync.errors import IndexUnusableError, NoIndexError, OvertakenError
from cachesync.index.base import Notes, OnWait, Status, ignore
from cachesync.index.connection_health import ConnectionHealth
from cachesync.index.elastic import rights
from cachesync.index.elastic.catalog import read_catalog
from cachesync.index.elastic.connection import Connection, certificates_of
from cachesync.index.elastic.lease import Lease
from cachesync.index.elastic.reader import ElasticReader
from cachesync.index.elastic.state import ElasticNotes, StateIndex
from cachesync.index.elastic.store import ElasticStore, usable_mapping
from cachesync.index.elastic.stored_lease import StoredLease
from cachesync.index.generation import Reader
from cachesync.index.lifecycle import Writer
from cachesync.index.server import IndexServer, Layout

READ_PATIENCE: Final = 8.0
"""Seconds that a reader waits for a server, so that a command exits within ten seconds."""

WRITE_PATIENCE: Final = 60.0
"""Seconds that a writer waits: long enough for a node to be restarted."""


class ElasticIndex:
    """The index called ``name`` in a cluster. Connections stay open until :meth:`close`.

    The constructor reads the certificates, and raises a UsageError if they are unusable.
    """

    engine = "elasticsearch"

    def __init__(self, server: IndexServer, name: str, layout: Layout, health: ConnectionHealth | None = None) -> None:
        self.url = server.url
        self.server = server
        self.name = name
        self._layout = layout
        self._health = health or ConnectionHealth()
        self._certificates = certificates_of(server)
        self._is_allowed = False

    @cached_property
    def _reading(self) -> Connection:
        return Connection(self.server, READ_PATIENCE, self._health, self._certificates)

    @cached_property
    def _writing(self) -> Connection:
        return Connection(self.server, WRITE_PATIENCE, self._health, self._certificates)

    def exists(self) -> bool:
        """Whether the public aliases point to anything, whatever its state."""
        catalog = read_catalog(self._reading, self.name)
        return catalog.live is not None or catalog.broken is not None

    def reader(self, *, refresh: bool = False) -> Reader:
        """Open the live generation for reading."""
        catalog = read_catalog(self._reading, self.name)
        if catalog.broken:
            raise IndexUnusableError(f"{catalog.broken}; `cachesync sync` rebuilds the index")
        if catalog.live is None:
            raise NoIndexError(f"no index {self.name} at {self.url} yet: `cachesync sync` makes one")
        reader = ElasticReader(self._reading, catalog.live.names, usable_mapping(catalog.live))
        if refresh:
            reader.refresh()
        return reader

    def made(self, generation: str) -> datetime | None:
        """Return when a generation's index of specs was created."""
        found = self._reading.call(
            lambda client: client.options(ignore_status=404).indices.get_settings(
                index=generation, name="index.creation_date"
            )
        )
        if generation not in found:
            return None
        return datetime.fromtimestamp(int(found[generation]["settings"]["index"]["creation_date"]) / 1000, UTC)

    def status(self) -> Status:
        """Return which process is the writer, and which generations are kept."""
        catalog = read_catalog(self._reading, self.name)
        state = StoredLease(self._reading, self.name).read().state
        alive = state.holder is not None and not state.holder.is_dead
        live = catalog.live
        return Status(
            holder=str(state.holder) if alive else None,
            pinned=live is not None and state.pins(live.name),
            kept=[entry.name for entry in catalog.kept()] if live else [],
            service=alive and state.service,
            sign="{}.{}".format(*state.heartbeat) if alive else None,
        )

    def require_rights(self) -> None:
        """Check with the server, once, that the credentials allow writing."""
        if not self._is_allowed:
            rights.require(self._writing, self.name)
            self._is_allowed = True

    @contextlib.contextmanager
    def writer(self, wait: float, *, serving: bool = False, on_wait: OnWait = ignore) -> Iterator[Writer]:
        """Become the one writer. A writer that isn't a service acquires the lease only when it first writes."""
        self.require_rights()
        read_catalog(self._writing, self.name)  # fails early if an index with one of our names isn't ours
        lease = Lease(self._writing, self.name, wait, serving=serving, on_wait=on_wait)
        try:
            lease.wait()
            if serving:
                with contextlib.suppress(OvertakenError):  # nothing has been read yet that could be outdated
                    lease.claim()
            store = ElasticStore(self._writing, self.name, self._layout, lease)
            yield Writer(store, self._layout.keep_generations)
        finally:
            lease.release()

    def close(self) -> None:
        """Close the connections."""
        for name in ("_reading", "_writing"):
            if connection := self.__dict__.pop(name, None):
                connection.close()

    def notes(self) -> Notes:
        """Open the notes, which are stored in the state index."""
        return ElasticNotes(StateIndex(self._reading, self.name))

    def signal(self) -> None:
        """Raise the signal counter in the lease."""
        StoredLease(self._reading, self.name).signal()

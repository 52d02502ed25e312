"""The steps of a generation's life cycle in a cluster: to create, settle, point to and remove its two indices."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from elasticsearch import Elasticsearch

from cachesync.errors import IndexUnusableError
from cachesync.index.catalog import GenerationEntry
from cachesync.index.elastic import aliases, foreign, mapping, shards
from cachesync.index.elastic.catalog import ElasticCatalog, ElasticEntry, read_catalog
from cachesync.index.elastic.connection import Connection
from cachesync.index.elastic.generation import ElasticGeneration
from cachesync.index.elastic.lease import Lease
from cachesync.index.elastic.reader import ElasticReader, IndexNames
from cachesync.index.elastic.state import HIDDEN
from cachesync.index.server import Layout
from cachesync.log import get_logger

_log = get_logger()

_HEALTH_SECONDS: Final = 60
"""How long to wait for replicas. The cluster continues to allocate them after that."""

LOADING: Final[dict[str, Any]] = {
    "number_of_replicas": 0,
    "refresh_interval": "-1",
    "translog.durability": "async",
    "gc_deletes": "10m",  # how long a deletion is remembered, so that a late write can't undo it
}
"""Settings of an index while it is being filled: no refresh, no replicas, no fsync."""


# Many methods: one for each step of the GenerationStore protocol.
class ElasticStore:
    """The generations of an index in a cluster, see :class:`cachesync.index.lifecycle.GenerationStore`."""

    def __init__(self, connection: Connection, name: str, layout: Layout, lease: Lease) -> None:
        self._connection = connection
        self.name = name
        self._layout = layout
        self._lease = lease

    def tidy(self) -> None:
        """Do nothing: a request is either carried out or not, but never leaves anything half done."""

    def claim(self) -> None:
        """Acquire the lease, unless it is already ours."""
        self._lease.claim()

    def confirm(self) -> None:
        """Renew the lease."""
        self._lease.confirm()

    def catalog(self) -> ElasticCatalog:
        """List the generations."""
        return read_catalog(self._connection, self.name)

    def open(self, entry: GenerationEntry) -> ElasticGeneration:
        """Open a generation for writing."""
        assert isinstance(entry, ElasticEntry)
        return ElasticGeneration(self._connection, entry.names, usable_mapping(entry), self._lease)

    def open_ledger(self, entry: GenerationEntry) -> ElasticReader | None:
        """Open a generation if its index of pages is usable, whatever the state of its index of specs."""
        assert isinstance(entry, ElasticEntry)
        if entry.pages is None or not mapping.is_usable(entry.pages):
            return None
        return ElasticReader(self._connection, entry.names, entry.specs or mapping.specs_mapping(self.name))

    def require_room(self, live: str) -> None:
        """Check that the nodes have room for a second generation."""
        names = IndexNames.of(self.name, live)
        shards.require_room(self._connection, names.indices, self._layout.shards)

    def reserve(self, highest: int) -> str:
        """Return a new generation's name. The lease records the number, so no other generation ever gets it."""
        return IndexNames(self.name, self._lease.next_generation(highest + 1)).specs

    def create(self, name: str) -> ElasticGeneration:
        """Create the two indices of a new generation, with the settings for loading."""
        names = IndexNames.of(self.name, name)
        mappings = (mapping.specs_mapping(self.name), mapping.pages_mapping(self.name))
        for index, alias, wanted in zip(names.indices, names.aliases(building=True), mappings, strict=True):
            asked: dict[str, Any] = {
                "mappings": wanted,
                "settings": {"number_of_shards": self._layout.shards, **HIDDEN, **LOADING},
                "aliases": {alias: {"is_hidden": True}},
            }
            foreign.create(self._connection, self.name, index, asked)  # if it exists, we made it; the response was lost
            foreign.require_unchanged(self._connection, self.name, index, asked)
        shards.require_placed(self._connection, names.indices)
        return ElasticGeneration(self._connection, names, mappings[0], self._lease, building=True)

    def settle(self, name: str) -> None:
        """Replace the settings for loading, flush, and wait for replicas."""
        indices = IndexNames.of(self.name, name).indices
        health = self._connection.call(lambda client: client.cluster.health())
        replicas = self._layout.replicas if health["number_of_data_nodes"] > 1 else 0
        settings = {
            "refresh_interval": f"{round(self._layout.refresh_interval * 1000)}ms",
            "number_of_replicas": replicas,
            "translog.durability": "request",
        }
        self._connection.call(lambda client: client.indices.put_settings(index=indices, settings=settings))
        self._connection.call(lambda client: client.indices.flush(index=indices))
        reached = shards.reach(self._connection, indices, "green", _HEALTH_SECONDS)
        if reached == "red":
            raise shards.not_placed(self._connection, indices)
        if reached == "yellow":
            _log.warning(
                "the new generation has no replicas yet",
                action="generation.unreplicated",
                generation=name,
                replicas=replicas,
            )

    def point(self, name: str) -> None:
        """Swap the public aliases."""
        aliases.swap(self._connection, self.name, name, self._lease)

    def points_to(self, name: str | None) -> bool:
        """Whether the public aliases point to this generation."""
        self._lease.check()
        return name is not None and aliases.point_to(self._connection, IndexNames.of(self.name, name))

    def remove(self, name: str) -> None:
        """Delete those of a generation's indices that exist."""
        for index in IndexNames.of(self.name, name).indices:
            self._connection.call(partial(_delete_index, index=index))

    def pins(self, name: str) -> bool:
        """Whether the lease, as last read, pins the index while this generation is live."""
        return self._lease.state.pins(name)

    def pin(self, names: Sequence[str]) -> None:
        """Record in the lease which generations pin the index."""
        self._lease.pin(*names)

    def signals(self) -> int:
        """Return the signal counter as of the last renewal of the lease."""
        return self._lease.state.signals


def usable_mapping(entry: ElasticEntry) -> dict[str, Any]:
    """Return the mapping of a generation's index of specs.

    Raises:
        IndexUnusableError: the generation has another layout, or one of its indices is missing.
    """
    if not entry.whole or entry.specs is None:
        raise IndexUnusableError(f"the index {entry.name} can't be used by this version; `cachesync sync` rebuilds it")
    return entry.specs


def _delete_index(client: Elasticsearch, index: str) -> Any:
    return client.options(ignore_status=404).indices.delete(index=index)

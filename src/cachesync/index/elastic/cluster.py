"""An index in an Elasticsearch cluster: its generations behind two aliases, and its writer."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, Final

from elasticsearch import BadRequestError, Elasticsearch, NotFoundError

from cachesync.context import StoppedError, shielded, within
from cachesync.errors import (
    CachesyncError,
    IndexUnavailableError,
    IndexUnusableError,
    NoIndexError,
    OvertakenError,
    UsageError,
)
from cachesync.index.base import Generation, Notes, OnWait, Reader, Status, Writer, ignore
from cachesync.index.connection_health import ConnectionHealth
from cachesync.index.elastic import foreign, mapping, rights, shards
from cachesync.index.elastic.catalog import Catalog, CatalogEntry, read_catalog
from cachesync.index.elastic.connection import Connection, certificates_of, kind_of, reason_of
from cachesync.index.elastic.generation import ElasticGeneration
from cachesync.index.elastic.lease import Lease
from cachesync.index.elastic.reader import ElasticReader, IndexNames
from cachesync.index.elastic.state import HIDDEN, ElasticNotes, StateIndex
from cachesync.index.server import IndexServer, Layout
from cachesync.log import Once, get_logger

_log = get_logger()

READ_PATIENCE: Final = 8.0
"""Seconds that a reading call waits for a server, so that a command ends within ten."""

WRITE_PATIENCE: Final = 60.0
"""Seconds that a writer waits: long enough for a node to be restarted."""

_CLEANUP_PATIENCE: Final = 5.0
"""Seconds that removing a generation may take; if it fails, the next writer does it."""

INTACT_PATIENCE: Final = 5.0
"""Seconds that :meth:`_ElasticWriter.intact` may take, which is called every few seconds."""

_ROOM: Final = 1.2
"""How much disk space a new generation needs, as a multiple of the live one's size."""

_HEALTH_SECONDS: Final = 60
"""How long to wait for replicas. The cluster continues to make them after that."""

LOADING: Final[dict[str, Any]] = {
    "number_of_replicas": 0,
    "refresh_interval": "-1",
    "translog.durability": "async",
    "gc_deletes": "10m",  # how long a deleted version is remembered, so that a late write can't bring it back
}
"""Settings of an index while it is being filled: no refresh, no replicas, no fsync."""


class ElasticIndex:
    """The index called ``name`` in a cluster. It keeps its connections open.

    The constructor reads the certificates, and raises a UsageError if they can't be used.
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
        """Whether there is a live generation."""
        return any(read_catalog(self._reading, self.name).aliases.values())

    def reader(self, *, refresh: bool = False) -> Reader:
        """Open the live generation for reading."""
        catalog = read_catalog(self._reading, self.name)
        if catalog.live is None:
            if any(catalog.aliases.values()):
                raise IndexUnusableError(
                    f"the aliases {self.name} and {self.name}-pages don't point to one generation; "
                    "`cachesync sync` rebuilds the index"
                )
            raise NoIndexError(f"no index {self.name} at {self.url} yet: `cachesync sync` makes one")
        live = catalog.generations[catalog.live]
        if not live.is_whole:
            raise IndexUnusableError(
                f"the index {live.names.specs} can't be used by this version; `cachesync sync` rebuilds it"
            )
        generation = _open_reader(self._reading, live)
        if refresh:
            generation.refresh()
        return generation

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
        state = Lease(self._reading, self.name, 0).read()
        alive = state.holder is not None and not state.holder.is_dead
        live = catalog.current
        return Status(
            holder=str(state.holder) if alive else None,
            pinned=live is not None and state.pins(live.names.specs),
            kept=[each.names.specs for each in catalog.kept(len(catalog.generations))] if live else [],
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
        read_catalog(self._writing, self.name)  # fails first if an index under our names isn't ours
        lease = Lease(self._writing, self.name, wait, serving=serving, on_wait=on_wait)
        try:
            lease.wait()
            if serving:
                with contextlib.suppress(OvertakenError):  # nothing has been read yet that could be outdated
                    lease.claim()
            yield _ElasticWriter(self._writing, self.name, self._layout, lease)
        finally:
            lease.release()

    def close(self) -> None:
        """Close the connections."""
        for name in ("_reading", "_writing"):
            if connection := self.__dict__.pop(name, None):
                connection.close()

    def notes(self) -> Notes:
        """Open the notes, which are in the state index."""
        return ElasticNotes(StateIndex(self._reading, self.name))

    def signal(self) -> None:
        """Raise the signal counter in the lease."""
        Lease(self._reading, self.name, 0).signal()


def _open_reader(connection: Connection, found: CatalogEntry) -> ElasticReader:
    assert found.specs
    return ElasticReader(connection, found.names, found.specs)


class _ElasticWriter:
    """The one writer of an index in a cluster."""

    def __init__(self, connection: Connection, name: str, layout: Layout, lease: Lease) -> None:
        self._connection = connection
        self.name = name
        self._layout = layout
        self._lease = lease
        self._known: IndexNames | None = None
        """The live generation, when this writer last opened or promoted it."""
        self._building: IndexNames | None = None
        """The generation being built, which must not be removed though it was never live."""
        self._logged = Once()
        """Which unusable index was logged."""

    def live(self) -> Generation | None:
        """Open the live generation, as all readers find it now."""
        catalog = self._cleaned_up(read_catalog(self._connection, self.name))
        self._known = None
        self._hide(catalog.visible)
        if catalog.live is None:
            if any(catalog.aliases.values()) and self._logged.is_news(self.name):
                _log.warning(
                    "the aliases don't point to one generation; the index is built anew",
                    action="index.rebuilt",
                    index=self.name,
                )
            return None
        live = catalog.generations[catalog.live]
        if not live.is_whole:
            if self._logged.is_news(live.names.specs):
                _log.warning(
                    "the index can't be used and is built anew", action="index.rebuilt", index=live.names.specs
                )
            return None
        self._logged.over()
        assert live.specs
        generation = ElasticGeneration(self._connection, live.names, live.specs, self._lease)
        generation.refresh()
        self._known = live.names
        return generation

    def _hide(self, indices: list[str]) -> None:
        """Hide indices that earlier versions left visible. If it fails, the next :meth:`live` retries it."""
        if indices:
            with contextlib.suppress(IndexUnavailableError), within(_CLEANUP_PATIENCE):
                self._connection.call(lambda client: client.indices.put_settings(index=indices, settings=HIDDEN))

    def intact(self) -> bool:
        """Whether the public aliases point to the indices of the live generation, and to no others."""
        self._lease.check()
        if self._known is None:
            return False
        expected = {self._known.specs: [self.name], self._known.pages: [f"{self.name}-pages"]}
        try:
            with within(INTACT_PATIENCE):
                found = self._connection.call(
                    lambda client: client.indices.get_alias(name=[self.name, f"{self.name}-pages"]), (NotFoundError,)
                )
        except NotFoundError:
            return False
        return {index: list(each["aliases"]) for index, each in found.items()} == expected

    def signals(self) -> int:
        """Return the signal counter as of the last renewal of the lease."""
        return self._lease.signals

    def _cleaned_up(self, catalog: Catalog) -> Catalog:
        """Remove what earlier writers have left behind, and return the catalog after that."""
        if not self._left_behind(catalog):
            return catalog
        self._lease.claim()
        try:
            self._prune()
        except IndexUnavailableError as error:
            self._lease.check()
            _log.warning("what an earlier run has left can't be removed", action="generation.left", reason=str(error))
        return read_catalog(self._connection, self.name)

    def _left_behind(self, catalog: Catalog) -> list[CatalogEntry]:
        left = catalog.superfluous(self._layout.keep_generations) if catalog.live else catalog.building
        return [found for found in left if found.names != self._building]

    def replaced(self) -> Reader | None:
        """Open the generation to which an alias points or, without one, the latest generation."""
        catalog = read_catalog(self._connection, self.name)
        finished = [found for found in catalog.generations.values() if not found.building]
        for found in sorted(finished, key=lambda each: (each.public, each.names.number), reverse=True):
            if found.pages is not None and mapping.is_usable(found.pages):
                specs = found.specs or mapping.specs_mapping(self.name)
                return ElasticReader(self._connection, found.names, specs)
        if finished:
            raise IndexUnusableError(f"the index {self.name} has no ledger that can be read")
        return None

    def pinned(self) -> bool:
        """Whether a rollback made the live generation live."""
        catalog = read_catalog(self._connection, self.name)
        live = catalog.current
        if live is None or not self._lease.pins(live.names.specs):
            return False
        self._known = live.names
        return True

    # --- generations --------------------------------------------------------------------------------------------------

    def build(self) -> Generation:
        """Create the two indices of a new generation, with the settings for loading."""
        self._lease.claim()
        self._building = None
        self._remove(lambda now: now.building)
        catalog = read_catalog(self._connection, self.name)
        self._require_room(catalog)
        names = IndexNames(self.name, self._lease.next_generation(catalog.highest + 1))
        self._building = names
        specs, pages = names.aliases(building=True)
        wanted = mapping.specs_mapping(self.name)
        try:
            self._create(names.specs, specs, wanted)
            self._create(names.pages, pages, mapping.pages_mapping(self.name))
            shards.require_placed(self._connection, [names.specs, names.pages])
        except BaseException:
            with contextlib.suppress(CachesyncError):  # the next build retries it; report the original failure
                self._discard(names)
            raise
        return ElasticGeneration(self._connection, names, wanted, self._lease, building=True)

    def discard(self, generation: Generation) -> None:
        """Remove a generation that was built, unless it has become the live one."""
        self._discard(_names_of(generation))

    def _discard(self, names: IndexNames) -> None:
        if self._building == names:
            self._building = None
        with shielded(_CLEANUP_PATIENCE):
            self._remove(lambda now: [found for found in now.building if found.names == names])

    def promote(self, generation: Generation) -> None:
        """Point both aliases to a generation in one call."""
        names = _names_of(generation)
        catalog = read_catalog(self._connection, self.name)
        if catalog.left_by_rollback:
            self._remove(lambda now: now.left_by_rollback)
        self._point_to(names, catalog, building=True)
        self._building = None
        try:
            self._prune()
        except (CachesyncError, StoppedError) as error:
            _log.warning(
                "older generations are left for the next run to remove", action="generation.left", reason=str(error)
            )

    def rollback(self, to: str | None = None) -> str:
        """Point both aliases back to the generation before."""
        self._lease.claim()
        catalog = read_catalog(self._connection, self.name)
        if to and catalog.current and catalog.current.names.specs == to and self._lease.pins(to):
            return to
        before = next(iter(catalog.kept(1)), None)
        live = catalog.current
        if before is None or live is None:
            raise UsageError(f"no generation before the live one is kept (index.keep_generations); {self.name} stays")
        _open_reader(self._connection, before).size()  # raises if it can't be searched
        pinned = [live.names.specs] if self._lease.pins(live.names.specs) else []  # still pinned if the swap fails
        self._lease.pin(before.names.specs, *pinned)  # it takes effect with the swap
        self._point_to(before.names, catalog, building=False)
        if pinned:
            with contextlib.suppress(CachesyncError, StoppedError):  # only for older versions, which know a single name
                self._lease.pin(before.names.specs)
        return before.names.specs

    def _point_to(self, names: IndexNames, catalog: Catalog, *, building: bool) -> None:
        """Swap the aliases atomically. The swap fails if they differ from ``catalog``, so a late one undoes nothing."""
        actions: list[dict[str, Any]] = [
            {"remove": {"index": index, "alias": alias, "must_exist": True}}
            for alias, indices in catalog.aliases.items()
            for index in indices
        ]
        if building:
            for index, alias in zip((names.specs, names.pages), names.aliases(building=True), strict=True):
                actions.append({"remove": {"index": index, "alias": alias, "must_exist": True}})
        for index, alias in zip((names.specs, names.pages), names.aliases(building=False), strict=True):
            actions.append({"add": {"index": index, "alias": alias, "is_hidden": True}})
        actions.append({"add": {"index": names.specs, "alias": self.name}})
        actions.append({"add": {"index": names.pages, "alias": f"{self.name}-pages"}})
        self._lease.confirm()
        try:
            self._connection.call(lambda client: client.indices.update_aliases(actions=actions), (NotFoundError,))
        except NotFoundError as error:
            now = read_catalog(self._connection, self.name)
            if now.live != names.number:  # otherwise our swap succeeded, but its response was lost
                raise IndexUnusableError(
                    f"the indices of {self.name} changed while {names.specs} was to go live: {reason_of(error)}"
                ) from error
        self._known = names

    def settle(self, generation: Generation) -> None:
        """Replace the settings for loading, flush, and wait for replicas."""
        names = _names_of(generation)
        indices = [names.specs, names.pages]
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
                generation=names.specs,
                replicas=replicas,
            )

    def _prune(self) -> None:
        """Remove generations that aren't needed any more."""
        with within(_CLEANUP_PATIENCE):
            self._remove(self._left_behind)

    def _remove(self, choose: Callable[[Catalog], Iterable[CatalogEntry]]) -> None:
        """Remove generations, chosen from the current catalog, provided that we are still the writer.

        A public one is never removed, nor the one that is being built.
        """
        self._lease.confirm()
        for found in choose(read_catalog(self._connection, self.name)):
            for index in [] if found.public or found.names == self._building else found.indices:
                self._connection.call(partial(_delete_index, index=index))

    def _create(self, index: str, alias: str, wanted: dict[str, Any]) -> None:
        """Create an index, and check that it has the mapping and settings that were asked for.

        Raises:
            UsageError: an index template that isn't ours has changed it.
        """
        asked: dict[str, Any] = {
            "mappings": wanted,
            "settings": {"number_of_shards": self._layout.shards, **HIDDEN, **LOADING},
            "aliases": {alias: {"is_hidden": True}},
        }
        try:
            self._connection.call(
                lambda client: client.indices.create(index=index, **asked, wait_for_active_shards="0"),
                (BadRequestError,),
            )
        except BadRequestError as error:
            if kind_of(error) != "resource_already_exists_exception":  # then we made it, but the response was lost
                raise foreign.prevented(self.name, error) or self._connection.explained(error) from error
        made = self._connection.call(lambda client: client.indices.get(index=index))[index]
        if changed := foreign.difference(asked, made):
            raise foreign.changed(self.name, index, changed)

    def _require_room(self, catalog: Catalog) -> None:
        """Make sure that there is enough disk space for a second generation beside the live one.

        Raises:
            IndexUnavailableError: there isn't.
        """
        live = catalog.current
        if live is None:
            return
        stats = self._connection.call(lambda client: client.indices.stats(index=live.indices, metric="store"))
        sizes = [each["primaries"]["store"]["size_in_bytes"] for each in stats["indices"].values()]
        shards = [size * _ROOM / self._layout.shards for size in sizes for _ in range(self._layout.shards)]
        nodes = self._connection.call(lambda client: client.nodes.stats(metric="fs"))["nodes"].values()
        free = {node["name"]: node["fs"]["total"]["available_in_bytes"] for node in nodes if _has_data(node)}
        if not _fits(shards, list(free.values())):
            there = ", ".join(f"{room / 1e6:,.0f} MB on {name}" for name, room in sorted(free.items()))
            raise IndexUnavailableError(
                f"no room for a new generation at {self._connection.server.url}: it needs about "
                f"{sum(shards) / 1e6:,.0f} MB, {max(shards) / 1e6:,.0f} MB of it on one node, but there are {there}"
            )


def _fits(sizes: list[float], rooms: list[float]) -> bool:
    """Whether all shards fit, each into one room: the largest first, into the room with the most space left."""
    left = sorted(rooms)
    for size in sorted(sizes, reverse=True):
        if not left or left[-1] < size:
            return False
        left = sorted([*left[:-1], left[-1] - size])
    return True


def _delete_index(client: Elasticsearch, index: str) -> Any:
    return client.options(ignore_status=404).indices.delete(index=index)


def _names_of(generation: Generation) -> IndexNames:
    assert isinstance(generation, ElasticGeneration)
    return generation.names


def _has_data(node: dict[str, Any]) -> bool:
    """Whether a node may hold indices that are written; a frozen one only holds searchable snapshots."""
    return any(role.startswith("data") and role != "data_frozen" for role in node["roles"])

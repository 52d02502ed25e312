"""Lists the generations that a cluster has under our name, and which of them is live."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cachesync.errors import IndexUnusableError, UsageError
from cachesync.index.catalog import Catalog, GenerationEntry
from cachesync.index.elastic import mapping
from cachesync.index.elastic.connection import Connection
from cachesync.index.elastic.reader import IndexNames


@dataclass(frozen=True)
class ElasticEntry(GenerationEntry):
    """A generation in a cluster: two indices, either of which may be missing."""

    names: IndexNames
    specs: dict[str, Any] | None = None
    """The mapping of the generation's index of specs; None if that index is missing."""
    pages: dict[str, Any] | None = None


@dataclass(frozen=True)
class ElasticCatalog(Catalog):
    """All generations in a cluster, and the indices behind the public aliases."""

    entries: Sequence[ElasticEntry]
    live: ElasticEntry | None
    aliases: dict[str, list[str]]
    """The indices to which each public alias points."""

    def named(self, name: str) -> ElasticEntry:
        """Return a generation by its name.

        Raises:
            IndexUnusableError: the generation doesn't exist.
        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise IndexUnusableError(f"{name} is gone")


def read_catalog(connection: Connection, name: str) -> ElasticCatalog:
    """List the generations and aliases under a name. A generation is whole if this version can use both its indices.

    Raises:
        UsageError: an index or an alias that isn't ours has one of our names.
    """
    found = connection.call(
        lambda client: client.indices.get(
            index=[name, f"{name}-*"],
            expand_wildcards="all",
            ignore_unavailable=True,
            allow_no_indices=True,
            features=["aliases", "mappings"],
        )
    )
    parts: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    aliases: dict[str, list[str]] = {name: [], f"{name}-pages": []}
    highest = 0
    pattern = re.compile(rf"{re.escape(name)}(-pages)?-(\d+)")
    for index, described in found.items():
        match = pattern.fullmatch(index)
        highest = max(highest, int(match[2]) if match else 0)
        ours = match is not None and mapping.is_ours(described["mappings"], name)
        if index in aliases:
            raise UsageError(
                f"{index} is an index that isn't cachesync's, and was left alone: "
                "choose another index.name, or delete it"
            )
        for alias in aliases.keys() & described["aliases"].keys():
            if not ours:
                raise UsageError(
                    f"the alias {alias} points to {index}, which isn't cachesync's; both were left alone: "
                    "choose another index.name, or remove the alias"
                )
            aliases[alias].append(index)
        if match and ours:
            parts[int(match[2])]["pages" if match[1] else "specs"] = described
    entries = [_entry(IndexNames(name, number), found, aliases) for number, found in parts.items()]
    live = next((each for each in entries if [[index] for index in each.names.indices] == list(aliases.values())), None)
    broken = f"the aliases {name} and {name}-pages don't point to one generation" if any(aliases.values()) else None
    return ElasticCatalog(entries, live, None if live else broken, highest, aliases)


def _entry(names: IndexNames, parts: dict[str, Any], public: dict[str, list[str]]) -> ElasticEntry:
    """Return the generation that consists of these indices, given the server's description of them."""
    mappings = {part: described["mappings"] for part, described in parts.items()}
    aliases = {alias for described in parts.values() for alias in described["aliases"]}
    return ElasticEntry(
        names.specs,
        names.number,
        building=not aliases.isdisjoint(names.aliases(building=True)),
        public=not aliases.isdisjoint(public),
        whole=len(mappings) == 2 and all(map(mapping.is_usable, mappings.values())),
        names=names,
        **mappings,
    )

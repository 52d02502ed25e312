"""Lists the generations that a cluster has under our name, and which of them is live."""

import re
from typing import Any, NamedTuple

from cachesync.errors import UsageError
from cachesync.index.elastic import mapping
from cachesync.index.elastic.connection import Connection
from cachesync.index.elastic.reader import IndexNames
from cachesync.index.generations import left_by_rollback, to_keep


class CatalogEntry(NamedTuple):
    """A generation, complete or not."""

    names: IndexNames
    specs: dict[str, Any] | None
    """The mapping of its index of specs; None if that index is missing."""
    pages: dict[str, Any] | None
    building: bool
    """Whether it was never live."""
    public: bool
    """Whether a public alias points to it."""

    @property
    def is_whole(self) -> bool:
        """Whether both indices exist, with a layout that this version can use."""
        return all(each is not None and mapping.is_usable(each) for each in (self.specs, self.pages))

    @property
    def indices(self) -> list[str]:
        """Those of its indices that exist."""
        return [name for name, found in ((self.names.specs, self.specs), (self.names.pages, self.pages)) if found]


class Catalog(NamedTuple):
    """All generations by number, the live one, and the indices to which the public aliases point."""

    generations: dict[int, CatalogEntry]
    live: int | None
    """The generation to which both public aliases point."""
    highest: int
    """The highest number in use, including by indices that aren't ours."""
    aliases: dict[str, list[str]]
    """The indices to which each public alias points."""
    visible: list[str]
    """Our indices that aren't hidden."""

    @property
    def building(self) -> list[CatalogEntry]:
        """The generations that are being built, or were left by an interrupted build."""
        return [found for found in self.generations.values() if found.building and not found.public]

    @property
    def current(self) -> CatalogEntry | None:
        """The live generation."""
        return None if self.live is None else self.generations[self.live]

    @property
    def finished(self) -> list[int]:
        """The numbers of the complete generations that were live once."""
        return [number for number, each in self.generations.items() if each.is_whole and not each.building]

    def kept(self, keep: int) -> list[CatalogEntry]:
        """Return the generations that a rollback can go back to, the latest first."""
        return [self.generations[number] for number in to_keep(self.finished, self.live, keep)]

    @property
    def left_by_rollback(self) -> list[CatalogEntry]:
        """The generations that rollbacks have replaced."""
        return [self.generations[number] for number in left_by_rollback(self.finished, self.live)]

    def superfluous(self, keep: int) -> list[CatalogEntry]:
        """Return the generations that aren't needed any more once there is a live one."""
        needed = [found.names.number for found in self.kept(keep)]
        return [found for number, found in self.generations.items() if number not in needed and not found.public]


def read_catalog(connection: Connection, name: str) -> Catalog:
    """List the generations and aliases under a name.

    Raises:
        UsageError: an index or an alias that isn't ours has one of our names.
    """
    found: dict[str, Any] = connection.call(
        lambda client: client.indices.get(
            index=[name, f"{name}-*"],
            expand_wildcards="all",
            ignore_unavailable=True,
            allow_no_indices=True,
            features=["aliases", "mappings", "settings"],
        )
    )
    generations: dict[int, CatalogEntry] = {}
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
            number = int(match[2])
            names = IndexNames(name, number)
            before = generations.get(number, CatalogEntry(names, None, None, building=False, public=False))
            building = before.building or any(alias in described["aliases"] for alias in names.aliases(building=True))
            part = {"pages" if match[1] else "specs": described["mappings"]}
            public = before.public or not aliases.keys().isdisjoint(described["aliases"])
            generations[number] = before._replace(building=building, public=public, **part)
    return Catalog(generations, _live(name, generations, aliases), highest, aliases, _visible(name, found))


def _visible(name: str, found: dict[str, Any]) -> list[str]:
    ours = (index for index, described in found.items() if mapping.is_ours(described["mappings"], name))
    return [index for index in ours if found[index]["settings"]["index"].get("hidden") != "true"]


def _live(name: str, generations: dict[int, CatalogEntry], aliases: dict[str, list[str]]) -> int | None:
    for number, found in generations.items():
        if aliases[name] == [found.names.specs] and aliases[f"{name}-pages"] == [found.names.pages]:
            return number
    return None

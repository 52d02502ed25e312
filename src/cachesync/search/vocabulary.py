"""What an index's documents have, looked up once: the values of fields that are few, and the names of packages."""

import copy
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol, TypeVar

from cachesync.search.aliases import Aliases
from cachesync.search.names import PackageNames

_Made = TypeVar("_Made")


class VocabularySource(Protocol):
    """Where that is looked up: an index's reader."""

    def vocabularies(self, fields: Sequence[str]) -> Mapping[str, list[str]]:
        """Return the values of some keyword fields."""

    def packages(self) -> dict[str, int]:
        """Return all packages, and about how many documents each has."""


class Vocabulary:
    """What the documents of one state of an index have. Nothing is looked up before it is asked for."""

    def __init__(self, source: VocabularySource, aliases: Aliases) -> None:
        """``aliases`` are what people call packages."""
        self._source = source
        self._aliases = aliases
        self._values: dict[str, list[str]] = {}
        self._made: dict[Callable[[Vocabulary], Any], Any] = {}

    def values(self, field: str) -> Sequence[str]:
        """Return the values of a field in their order, perhaps with some that only deleted documents had."""
        self.look_up((field,))
        return self._values[field]

    def look_up(self, fields: Iterable[str]) -> None:
        """Look fields up that will be asked for: together they take less time than one after another."""
        missing = [field for field in fields if field not in self._values]
        if missing:
            self._values.update(self._source.vocabularies(missing))

    def without(self, tags: Collection[str]) -> "Vocabulary":
        """Return the same vocabulary as if some tags weren't there."""
        if not tags:
            return self
        left = [tag for tag in self.values("tag") if tag not in tags]
        other = copy.copy(self)
        other._values = {**self._values, "tag": left}  # noqa: SLF001  it is of this class
        return other

    def once(self, make: Callable[["Vocabulary"], _Made]) -> _Made:
        """Return what a function makes of the vocabulary, which it is asked for but once."""
        if make not in self._made:
            self._made[make] = make(self)
        made: _Made = self._made[make]
        return made

    @cached_property
    def names(self) -> PackageNames:
        """The names of packages."""
        return PackageNames(self._source.packages(), self._aliases)

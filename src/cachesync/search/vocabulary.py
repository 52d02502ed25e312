"""The vocabulary of an index: the values of fields with few values, and package names. All are read only once."""

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Protocol

from cachesync.pages.variants import switched
from cachesync.search.aliases import Aliases
from cachesync.search.names import PackageNames


class VocabularySource(Protocol):
    """The index's reader from which a vocabulary is read."""

    def vocabularies(self, fields: Sequence[str]) -> Mapping[str, list[str]]:
        """Return the values of the given keyword fields."""

    def packages(self) -> dict[str, int]:
        """Return all packages, each with the approximate number of its documents."""


class Vocabulary:
    """The vocabulary of one state of an index. Values are read when they are first needed."""

    def __init__(self, source: VocabularySource, aliases: Aliases) -> None:
        """Prepare the vocabulary. ``aliases`` are other names by which people know packages."""
        self._source = source
        self._aliases = aliases
        self._values: dict[str, list[str]] = {}

    def values(self, field: str) -> Sequence[str]:
        """Return the sorted values of a field, which may include values that only deleted documents had."""
        self.look_up((field,))
        return self._values[field]

    def look_up(self, fields: Iterable[str]) -> None:
        """Read the values of several fields in advance, which takes less time than reading one field after another."""
        missing = [field for field in fields if field not in self._values]
        if missing:
            self._values.update(self._source.vocabularies(missing))

    def without(self, tags: Collection[str]) -> "Vocabulary":
        """Return the vocabulary without the given tags."""
        if not tags:
            return self
        left = [tag for tag in self.values("tag") if tag not in tags]
        other = copy.copy(self)
        other._values = {**self._values, "tag": left}  # noqa: SLF001  other is of the same class
        return other

    @cached_property
    def variants_by_word(self) -> dict[str, list[str]]:
        """The variants that each :func:`comparable` word means: Boolean variants by name, other variants by value."""
        found: dict[str, list[str]] = {}
        for name in self.values("variant_names"):
            found.setdefault(comparable(name), []).append(switched(name, on=True))
        for each in self.values("variant_values"):
            _, equals, value = each.partition("=")
            if equals and ":=" not in each:
                found.setdefault(comparable(value), []).append(each)
        return found

    @cached_property
    def names(self) -> PackageNames:
        """The names of packages."""
        return PackageNames(self._source.packages(), self._aliases)


def comparable(text: str) -> str:
    """Return a word or a value in the form in which words and values are compared."""
    return text.lower().replace("_", "-")

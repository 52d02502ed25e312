"""Exclude the tags that were added since a walk began.

Otherwise, a tag that is added during a walk would become the newest tag, words would match it as well, and a binary
that the new tag also has, at a position that the walk has passed, would count as returned although it was not.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import xxhash

from cachesync.search.query import And, In, Not, Query
from cachesync.search.request import Countable

_BYTES: Final = 3
"""The bytes per tag in a cursor. With 200 old tags, about one in 100,000 new tags is mistaken for an old tag."""

_MAX_TAGS: Final = 1_000
"""If there are more tags, a cursor contains none of them, because a cursor must fit into a URL."""


@dataclass(frozen=True)
class WithoutTags:
    """A view of an index without some of its tags."""

    index: Countable
    tags: tuple[str, ...]

    @property
    def fields(self) -> Collection[str]:
        """The fields that the index's documents may have."""
        return self.index.fields

    def count(self, queries: Sequence[Query]) -> list[int]:
        """Count the documents that match each of the given queries."""
        return self.index.count([without_tags(self.tags, each) for each in queries])


def tag_digests(tags: Iterable[str]) -> bytes:
    """Return short digests by which the tags can be recognized, or no digests if there are too many tags."""
    digests = {_digest(each) for each in tags}
    return b"".join(sorted(digests)) if len(digests) <= _MAX_TAGS else b""


def added_tags(digests: bytes, tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags that match none of the digests. If there are no digests, no tags are returned."""
    known = {digests[start : start + _BYTES] for start in range(0, len(digests), _BYTES)}
    return tuple(each for each in tags if _digest(each) not in known) if digests else ()


def without_tags(tags: tuple[str, ...], query: Query) -> Query:
    """Return a query that also excludes the documents of the given tags."""
    return And((query, Not(In("tag", tags)))) if tags else query


def _digest(tag: str) -> bytes:
    return xxhash.xxh3_64_digest(tag.encode())[-_BYTES:]

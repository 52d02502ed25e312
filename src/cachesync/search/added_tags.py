"""Exclude the tags that were added since a walk began.

Otherwise a new tag would become the newest one during a walk, words would match it, too, and a binary that is also in
the new tag, at a position that the walk has passed, would count as returned although it was not.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import xxhash

from cachesync.search.query import And, In, Not, Query
from cachesync.search.request import Countable

_BYTES: Final = 3
"""The bytes per tag in a cursor. With 200 old tags, one of about 100,000 new tags is mistaken for an old one."""

_MAX_TAGS: Final = 1_000
"""If there are more tags, a cursor has none of them, since it has to fit into a URL."""


@dataclass(frozen=True)
class WithoutTags:
    """A view of an index without some of its tags."""

    index: Countable
    tags: tuple[str, ...]

    @property
    def fields(self) -> Collection[str]:
        """The fields that its documents may have."""
        return self.index.fields

    def count(self, queries: Sequence[Query]) -> list[int]:
        """Count the documents that match each of some queries."""
        return self.index.count([without_tags(self.tags, each) for each in queries])


def tag_digests(tags: Iterable[str]) -> bytes:
    """Return short digests by which these tags can be recognized; empty if there are too many tags."""
    digests = {_digest(each) for each in tags}
    return b"".join(sorted(digests)) if len(digests) <= _MAX_TAGS else b""


def added_tags(digests: bytes, tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags that have none of these digests; without digests, no tags."""
    known = {digests[start : start + _BYTES] for start in range(0, len(digests), _BYTES)}
    return tuple(each for each in tags if _digest(each) not in known) if digests else ()


def without_tags(tags: tuple[str, ...], query: Query) -> Query:
    """Exclude the documents of some tags from a query."""
    return And((query, Not(In("tag", tags)))) if tags else query


def _digest(tag: str) -> bytes:
    return xxhash.xxh3_64_digest(tag.encode())[-_BYTES:]

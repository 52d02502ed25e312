"""What a walk leaves aside: the tags that came since it began.

A walk is of the tags that there were when it began. Otherwise a new tag would become the newest one in its midst, words
would mean it, too, and a binary that comes again in it, before where the walk is, would count as met, though it wasn't.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import xxhash

from cachesync.search.query import And, In, Not, Query
from cachesync.search.request import Countable

_BYTES: Final = 3
"""A tag takes so many in a cursor. Of a hundred thousand new tags one is taken for one of 200 that were there."""

_MOST: Final = 1_000
"""Of more tags none is noted: a cursor has to go into a URL."""


class Before:
    """An index as if some tags weren't there."""

    def __init__(self, index: Countable, tags: tuple[str, ...]) -> None:
        """Leave some tags of an index aside."""
        self._index = index
        self._tags = tags

    @property
    def fields(self) -> Collection[str]:
        """The fields that its documents may have."""
        return self._index.fields

    def count(self, queries: Sequence[Query]) -> list[int]:
        """Count the documents that match each of some queries."""
        return self._index.count([without(self._tags, each) for each in queries])


def noted(tags: Iterable[str]) -> bytes:
    """Return what tells these tags from others, in few bytes; nothing where they are too many."""
    digests = {_digest(each) for each in tags}
    return b"".join(sorted(digests)) if len(digests) <= _MOST else b""


def since(note: bytes, tags: Iterable[str]) -> tuple[str, ...]:
    """Return those of some tags that weren't among those that were noted."""
    known = {note[start : start + _BYTES] for start in range(0, len(note), _BYTES)}
    return tuple(each for each in tags if _digest(each) not in known) if note else ()


def without(tags: tuple[str, ...], query: Query) -> Query:
    """Return a query that no document of these tags matches."""
    return And((query, Not(In("tag", tags)))) if tags else query


def _digest(tag: str) -> bytes:
    return xxhash.xxh3_64_digest(tag.encode())[-_BYTES:]

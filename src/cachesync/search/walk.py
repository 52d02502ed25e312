"""Walk through all hits of a question, with no more than a few thousand hits in memory."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import xxhash

from cachesync.search.answer import ReadQuestion, add_tags, completed, require_fields
from cachesync.search.pagination import Position, position_at, query_after, without_earlier
from cachesync.search.query import And, In
from cachesync.search.request import Facet, Hit, Part, Request, Searchable
from cachesync.search.tags import newest_first


class Walkable(Searchable, Protocol):
    """An index's reader that can walk through all documents of a request."""

    def walk(self, request: Request) -> Iterator[Part]:
        """Yield all documents of a request in the request's order, from one state of the index."""


class Walk:
    """A walk through all hits of a question, which can continue in another index if the current one is removed.

    The walk remembers its position, so it returns no document twice and misses no document that existed all the time.
    """

    def __init__(self, asked: ReadQuestion, mirror_url: str) -> None:
        """Begin after the question's cursor, or at the first hit."""
        self._asked = asked
        self._request = asked.request._replace(facets=(), binaries=False, distinct=False)
        self._mirror_url = mirror_url
        self._start = self._position = asked.cursor.position if asked.cursor else None
        self._seen: set[int] = set()
        """Digests of the binaries that were returned, collected if each binary may be a hit only once."""

    def hits(self, index: Walkable) -> Iterator[list[Hit]]:
        """Yield the hits after those already yielded, several at a time.

        Raises:
            OutdatedIndexError: the index was made by another version and lacks a field that is needed.
        """
        require_fields(self._request, index)
        question = self._asked.question
        for part in index.walk(self._request_after(self._position)):
            found = self._each_once(part.hits, index) if question.distinct else part.hits
            whole = [completed(hit, question.machine, self._mirror_url) for hit in found]
            if question.distinct:
                self._add_tags(whole, part.hits, index)
                # Not earlier: if reading the tags fails because the index was removed, these binaries are read again
                # from another index.
                self._seen.update(map(_digest, part.hits))
            self._position = position_at(part.rank, self._request, part.hits[-1])
            yield whole

    def _request_after(self, position: Position | None) -> Request:
        if position is None:
            return self._request
        matching = And((self._request.matching(), query_after(self._request, position)))
        return self._request._replace(query=matching, filters=())

    def _each_once(self, documents: Sequence[Hit], index: Walkable) -> list[Hit]:
        """Leave out the documents of binaries that already have an earlier document."""
        first: dict[int, Hit] = {}
        for each in documents:
            first.setdefault(_digest(each), each)
        found = [each for digest, each in first.items() if digest not in self._seen]
        if self._start is None:
            return found
        return without_earlier(index, self._request, query_after(self._request, self._start), found)

    def _add_tags(self, hits: list[Hit], documents: Sequence[Hit], index: Walkable) -> None:
        """Add each hit's tags. If ``documents`` has all documents of a binary, the tags are taken from these."""
        tags: dict[str, list[Hit]] = {hit["binary"]: [] for hit in hits}
        for each in documents:
            if each["binary"] in tags:
                tags[each["binary"]].append(each)
        if not hits:
            return
        every = And((self._request.matching(), In("binary", tuple(tags))))
        counted = index.search(Request(every, facets=(Facet("binary", len(tags)),), limit=0)).facets["binary"]
        whole = {each.value for each in counted if each.documents == len(tags[each.value])}
        for hit in hits:
            if hit["binary"] in whole:
                hit["tags"] = newest_first({each["tag"] for each in tags[hit["binary"]] if "tag" in each})
        add_tags([hit for hit in hits if hit["binary"] not in whole], self._request, index)


def _digest(hit: Hit) -> int:
    return xxhash.xxh3_64_intdigest(hit["binary"].encode())

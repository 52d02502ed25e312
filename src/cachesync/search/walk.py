"""All hits of a question, however many they are, in no more memory than a few thousand of them take."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import xxhash

from cachesync.search.answer import ReadQuestion, add_tags, completed, require_fields
from cachesync.search.pagination import Position, behind, place_at, without_earlier
from cachesync.search.query import And, In
from cachesync.search.request import Facet, Hit, Part, Request, Searchable
from cachesync.search.tags import newest_first


class Walkable(Searchable, Protocol):
    """What is walked through: an index's reader."""

    def walk(self, request: Request) -> Iterator[Part]:
        """Yield all documents of a request in its order, as they are now."""


class Walk:
    """A walk through all hits of a question, which may go on in another index where one is gone.

    In each it knows how far it has come, so it meets no document twice, and misses none that was there all the while.
    """

    def __init__(self, asked: ReadQuestion, mirror_url: str) -> None:
        """Begin behind the cursor, or at the beginning."""
        self._asked = asked
        self._request = asked.request._replace(facets=(), binaries=False, distinct=False)
        self._mirror_url = mirror_url
        self._start = self._place = asked.cursor.place if asked.cursor else None
        self._seen: set[int] = set()
        """Digests of the binaries that were met, where each is a hit but once."""

    def hits(self, index: Walkable) -> Iterator[list[Hit]]:
        """Yield the hits behind those that were yielded, some at a time.

        Raises:
            OutdatedIndexError: the index was made by a version that didn't have what is asked for.
        """
        require_fields(self._request, index)
        question = self._asked.question
        for part in index.walk(self._behind(self._place)):
            found = self._each_once(part.hits, index) if question.distinct else part.hits
            whole = [completed(hit, question.machine, self._mirror_url) for hit in found]
            if question.distinct:
                self._add_tags(whole, part.hits, index)
                # Not before: where the index is gone by now, these are looked for in another one.
                self._seen.update(map(_digest, part.hits))
            self._place = place_at(part.rank, self._request, part.hits[-1])
            yield whole

    def _behind(self, place: Position | None) -> Request:
        if place is None:
            return self._request
        matching = And((self._request.matching(), behind(self._request, place)))
        return self._request._replace(query=matching, filters=())

    def _each_once(self, documents: Sequence[Hit], index: Walkable) -> list[Hit]:
        """Leave out the documents of binaries that have an earlier one."""
        found: list[Hit] = []
        here: set[int] = set()
        for each in documents:
            digest = _digest(each)
            if digest not in self._seen and digest not in here:
                here.add(digest)
                found.append(each)
        if self._start is None:
            return found
        return without_earlier(index, self._request, behind(self._request, self._start), found)

    def _add_tags(self, hits: list[Hit], documents: Sequence[Hit], index: Walkable) -> None:
        """Add to each binary its tags: they are known already where all its documents are among these."""
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

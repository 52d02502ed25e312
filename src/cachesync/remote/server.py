"""A server that is asked what commands would ask an index, and whose answers they print just so."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final
from urllib.parse import quote

import msgspec

from cachesync.errors import IndexUnavailableError, NotThereError, UsageError
from cachesync.remote import refusal, responses
from cachesync.remote.address import parse_address
from cachesync.remote.client import Client
from cachesync.remote.parameters import Pairs, facets, narrowing, of_filters
from cachesync.search.answer import Binary, no_such_binary, require_name, that_is_a_package
from cachesync.search.difference import DiffEntry as Listed
from cachesync.search.difference import PackageCount, TagDifference
from cachesync.search.lexer import require_text
from cachesync.search.question import Question
from cachesync.search.request import Filter, Hit

_AT_ONCE: Final = 1_000
"""More hits a server doesn't put into one answer."""

_WALKS: Final = 3
"""So often a walk from answer to answer begins anew, where the server has other packages meanwhile."""

_MOST_BYTES: Final = 1 << 26
_MOST_BYTES_OF_ALL: Final = 1 << 28
"""Of a comparison of tags, which comes whole."""

_LINES: Final = "application/x-ndjson"


class RemoteServer:
    """Answers over HTTP, as the index behind it would."""

    def __init__(self, url: str) -> None:
        """Ask nothing yet.

        Raises:
            UsageError: the URL can't be one of a server.
        """
        self._client = Client(parse_address(url))
        self.url = self._client.url

    def search(self, question: Question, *, as_they_come: bool = False) -> dict[str, Any]:
        """Return the object that :func:`cachesync.search.answer.as_object` makes of an answer.

        ``as_they_come``: its hits may be an iterator, which gets them when they are wanted; ``next`` tells nothing
        then, and facets aren't counted.

        Raises:
            UsageError: the question can't be answered, or what answers is no cachesync.
            IndexUnavailableError: the server or its index can't be asked.
        """
        require_text(question.text)
        if question.limit <= _AT_ONCE:
            return self._answer([*narrowing(question), *facets(question)], question.limit)
        if as_they_come:
            found = self._answer(narrowing(question), _AT_ONCE)
            return {**found, "hits": self._streamed(question)} if found["next"] else found
        return self._walked(question)

    def _answer(self, parameters: Pairs, limit: int) -> dict[str, Any]:
        body = self._client.get("/api/search", [*parameters, ("limit", str(limit))], most=_MOST_BYTES)
        found: dict[str, Any] = self._decoded(body, responses.SearchResponse)
        if len(found["hits"]) > limit:
            raise refusal.unfit(self.url, f"it has {len(found['hits']):,} hits, and {limit:,} were asked for")
        return found

    def _walked(self, question: Question) -> dict[str, Any]:
        """Walk from answer to answer until there are enough hits."""
        narrowed = narrowing(question)
        for walk in range(1, _WALKS + 1):
            found = self._answer([*narrowed, *facets(question)], _AT_ONCE)
            hits = found["hits"]
            try:
                while found["next"] and (left := question.limit - len(hits)):
                    cursor = ("cursor", found["next"])
                    page = self._answer([*narrowed, cursor], min(left, _AT_ONCE))
                    if not page["hits"]:
                        raise refusal.unfit(self.url, "it says that there are more hits, and has none")
                    hits += page["hits"]
                    found["next"] = page["next"]
            except UsageError:
                if walk == _WALKS:
                    raise
            else:
                return found
        raise AssertionError("the last walk ends by itself")

    def _streamed(self, question: Question) -> Iterator[Hit]:
        """Yield hits of an export."""
        parameters = [*narrowing(question), ("format", "ndjson")]
        with self._client.lines("/api/search", parameters, _LINES) as lines:
            for line in islice(lines, question.limit):
                yield self._decoded(line, responses.Hit)

    def show(self, name: str) -> Binary:
        """Find a binary, as :func:`cachesync.search.answer.show_binary` does.

        Raises:
            NotThereError: there is none.
            AmbiguousError: there are several.
            UsageError: it is a package's name, or none at all, or what answers is no cachesync.
            IndexUnavailableError: the server or its index can't be asked.
        """
        require_name(name)
        if "/" not in name and self._has_package(name):
            raise that_is_a_package(name)
        start = name.removeprefix("/")
        hash = self._hash_of(start, name) if "/" in start else start
        if not _is_segment(hash):
            raise no_such_binary(name)
        try:
            found = self._got(f"/api/binaries/{quote(hash, safe='')}", (), responses.Shown)
        except NotThereError:
            raise no_such_binary(name) from None
        if not found["documents"]:
            raise refusal.unfit(self.url, "it has no documents")
        return Binary(found["documents"], found["tags"], found["stacks"], {**found["query"], "text": name})

    def _has_package(self, name: str) -> bool:
        return bool(self._answer([("package", name)], 0)["total"])

    def _hash_of(self, id: str, name: str) -> str:
        """Return the hash of a document's binary."""
        if not all(map(_is_segment, id.split("/"))):
            raise no_such_binary(name)
        try:
            found = self._got(f"/api/specs/{quote(id)}", (), responses.BinaryDocument)
        except NotThereError:
            raise no_such_binary(name) from None
        return str(found["binary"])

    def diff(self, before: str, after: str, filters: Sequence[Filter]) -> TagDifference:
        """Compare two tags, as :func:`cachesync.search.difference.difference` does.

        Raises:
            NotThereError: there is no such tag.
            UsageError: what answers is no cachesync.
            IndexUnavailableError: the server or its index can't be asked.
        """
        parameters = [("from", before), ("to", after), *of_filters(filters)]
        body = self._client.get("/api/diff", parameters, most=_MOST_BYTES_OF_ALL)
        found = self._shaped(body, responses.DiffResponse)
        added, gone = ([Listed(each.package, each.hash, each.spec) for each in of] for of in (found.added, found.gone))
        packages = [PackageCount(each.package, each.added, each.gone) for each in found.packages]
        return TagDifference(before, after, added, gone, packages)

    def status(self) -> tuple[dict[str, Any], responses.StatusResponse]:
        """Return the object that the server tells of itself, and what of it is known here.

        Raises:
            UsageError: what answers is no cachesync.
            IndexUnavailableError: the server or its index can't be asked.
        """
        body = self._client.get("/api/status", most=_MOST_BYTES)
        return self._decoded(body, dict[str, Any]), self._shaped(body, responses.StatusResponse)

    def _got(self, path: str, parameters: Sequence[tuple[str, str]], shape: type[Any]) -> dict[str, Any]:
        return self._decoded(self._client.get(path, parameters, most=_MOST_BYTES), shape)

    def _decoded(self, body: bytes, shape: type[Any]) -> dict[str, Any]:
        """Return an object as it is, if it has a shape."""
        try:
            found = msgspec.json.decode(body, type=dict[str, Any])
            msgspec.convert(found, shape)
        except responses.MALFORMED as error:
            raise self._unfit(error) from None
        return found

    def _shaped(self, body: bytes, shape: type[responses.Shape]) -> responses.Shape:
        """Return an object in its shape."""
        try:
            return msgspec.json.decode(body, type=shape)
        except responses.MALFORMED as error:
            raise self._unfit(error) from None

    def _unfit(self, error: Exception) -> IndexUnavailableError:
        return refusal.unfit(self.url, "it is nested too deep" if isinstance(error, RecursionError) else str(error))


def _is_segment(text: str) -> bool:
    """Tell whether a text can be a part of a path: dots alone would lead out of it."""
    return text not in ("", ".", "..")

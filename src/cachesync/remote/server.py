"""Answers the queries of commands from a server, in the form in which an index answers them."""

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

_PAGE_HITS: Final = 1_000
"""How many hits a server returns at most in one response."""

_MAX_WALKS: Final = 3
"""How often to page through the hits: a walk has to start again if the server's packages change meanwhile."""

_MAX_BYTES: Final = 1 << 26
_MAX_DIFF_BYTES: Final = 1 << 28
"""The limit for a comparison of tags, which comes in one response."""

_NDJSON: Final = "application/x-ndjson"


class RemoteServer:
    """A server that is queried over HTTP instead of an index.

    Every query raises IndexUnavailableError if the server or its index is unavailable, and UsageError if it is not a
    cachesync server.
    """

    def __init__(self, url: str) -> None:
        """Parse the URL; no request is sent yet.

        Raises:
            UsageError: the URL can't be that of a server.
        """
        self._client = Client(parse_address(url))
        self.url = self._client.url

    def search(self, question: Question, *, as_they_come: bool = False) -> dict[str, Any]:
        """Return an answer as the object that :func:`cachesync.search.answer.as_object` returns.

        ``as_they_come``: hits may be an iterator that fetches them as they are consumed; then ``next`` is meaningless
        and facets aren't counted.

        Raises:
            UsageError: the question can't be answered.
        """
        require_text(question.text)
        if question.limit <= _PAGE_HITS:
            return self._answer([*narrowing(question), *facets(question)], question.limit)
        if as_they_come:
            found = self._answer(narrowing(question), _PAGE_HITS)
            return {**found, "hits": self._streamed(question)} if found["next"] else found
        return self._walk(question)

    def _answer(self, parameters: Pairs, limit: int) -> dict[str, Any]:
        body = self._client.get("/api/search", [*parameters, ("limit", str(limit))], most=_MAX_BYTES)
        found: dict[str, Any] = self._decoded(body, responses.SearchResponse)
        if len(found["hits"]) > limit:
            raise refusal.unexpected(self.url, f"it has {len(found['hits']):,} hits, but {limit:,} were requested")
        return found

    def _walk(self, question: Question) -> dict[str, Any]:
        """Page through the hits until there are enough."""
        narrowed = narrowing(question)
        for walk in range(1, _MAX_WALKS + 1):
            found = self._answer([*narrowed, *facets(question)], _PAGE_HITS)
            hits = found["hits"]
            try:
                while found["next"] and (left := question.limit - len(hits)):
                    cursor = ("cursor", found["next"])
                    page = self._answer([*narrowed, cursor], min(left, _PAGE_HITS))
                    if not page["hits"]:
                        raise refusal.unexpected(self.url, "a page of hits that should follow is empty")
                    hits += page["hits"]
                    found["next"] = page["next"]
            except UsageError:
                if walk == _MAX_WALKS:
                    raise
            else:
                return found
        raise AssertionError("the last walk returns or raises")

    def _streamed(self, question: Question) -> Iterator[Hit]:
        """Yield the hits of an export."""
        parameters = [*narrowing(question), ("format", "ndjson")]
        with self._client.lines("/api/search", parameters, _NDJSON) as lines:
            for line in islice(lines, question.limit):
                yield self._decoded(line, responses.Hit)

    def show(self, name: str) -> Binary:
        """Find a binary, as :func:`cachesync.search.answer.show_binary` does.

        Raises:
            NotThereError: there is no such binary.
            AmbiguousError: the hash matches several.
            UsageError: the name is a package's or malformed.
        """
        require_name(name)
        if "/" not in name and self._has_package(name):
            raise that_is_a_package(name)
        start = name.removeprefix("/")
        hash = self._hash_of(start, name) if "/" in start else start
        if not _is_segment(hash):
            raise no_such_binary(name)
        found = self._named(name, f"/api/binaries/{quote(hash, safe='')}", responses.Shown)
        if not found["documents"]:
            raise refusal.unexpected(self.url, "it has no documents")
        return Binary(found["documents"], found["tags"], found["stacks"], {**found["query"], "text": name})

    def _has_package(self, name: str) -> bool:
        return bool(self._answer([("package", name)], 0)["total"])

    def _hash_of(self, id: str, name: str) -> str:
        """Return the hash of a document's binary."""
        if not all(map(_is_segment, id.split("/"))):
            raise no_such_binary(name)
        return str(self._named(name, f"/api/specs/{quote(id)}", responses.BinaryDocument)["binary"])

    def diff(self, before: str, after: str, filters: Sequence[Filter]) -> TagDifference:
        """Compare two tags, as :func:`cachesync.search.difference.difference` does.

        Raises:
            NotThereError: there is no such tag.
        """
        parameters = [("from", before), ("to", after), *of_filters(filters)]
        body = self._client.get("/api/diff", parameters, most=_MAX_DIFF_BYTES)
        found = self._converted(body, responses.DiffResponse)
        added, gone = ([Listed(each.package, each.hash, each.spec) for each in of] for of in (found.added, found.gone))
        packages = [PackageCount(each.package, each.added, each.gone) for each in found.packages]
        return TagDifference(before, after, added, gone, packages)

    def status(self) -> tuple[dict[str, Any], responses.StatusResponse]:
        """Return the server's status as it was received, and the part of it that this version knows."""
        body = self._client.get("/api/status", most=_MAX_BYTES)
        return self._decoded(body, dict[str, Any]), self._converted(body, responses.StatusResponse)

    def _named(self, name: str, path: str, shape: type[Any]) -> dict[str, Any]:
        """Return what is at a path; ``name`` is what the user calls it."""
        try:
            return self._decoded(self._client.get(path, most=_MAX_BYTES), shape)
        except NotThereError:
            raise no_such_binary(name) from None

    def _decoded(self, body: bytes, shape: type[Any]) -> dict[str, Any]:
        """Decode an object and return it unchanged, after validating it against a type."""
        try:
            found = msgspec.json.decode(body, type=dict[str, Any])
            msgspec.convert(found, shape)
        except responses.MALFORMED as error:
            raise self._unexpected(error) from None
        return found

    def _converted(self, body: bytes, shape: type[responses.Shape]) -> responses.Shape:
        """Decode an object to a type."""
        try:
            return msgspec.json.decode(body, type=shape)
        except responses.MALFORMED as error:
            raise self._unexpected(error) from None

    def _unexpected(self, error: Exception) -> IndexUnavailableError:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        return refusal.unexpected(self.url, reason)


def _is_segment(text: str) -> bool:
    """Whether a string can be a segment of a path; dots alone would lead out of it."""
    return text not in ("", ".", "..")

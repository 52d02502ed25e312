"""Answers commands' queries from a server, in the form in which an index answers them."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final
from urllib.parse import quote

import msgspec

from cachesync.errors import NotThereError, UsageError
from cachesync.remote import refusal, responses
from cachesync.remote.address import parse_address
from cachesync.remote.client import Client, Pairs
from cachesync.search.answer import Binary, no_such_binary, require_name, that_is_a_package
from cachesync.search.difference import DiffEntry as Listed
from cachesync.search.difference import PackageCount, TagDifference
from cachesync.search.lexer import require_text
from cachesync.search.question import Question
from cachesync.search.request import Filter, Hit

_PAGE_HITS: Final = 1_000
"""The maximum number of hits that a server returns in one response."""

_MAX_WALKS: Final = 3
"""How many times to page through the hits: paging has to start over if the server's packages change midway."""

_MAX_BYTES: Final = 1 << 26
_MAX_DIFF_BYTES: Final = 1 << 28
"""The limit for a comparison of tags, which comes in a single response."""

_NDJSON: Final = "application/x-ndjson"


class RemoteServer:
    """A server that is queried over HTTP in place of an index.

    Every query raises IndexUnavailableError if the server or its index is unavailable, and UsageError if the server is
    not a cachesync server.
    """

    def __init__(self, url: str) -> None:
        """Parse the URL without sending a request.

        Raises:
            UsageError: the URL can't be that of a server.
        """
        self._client = Client(parse_address(url))
        self.url = self._client.url

    def search(self, question: Question, *, as_they_come: bool = False) -> dict[str, Any]:
        """Return an answer as the object that :func:`cachesync.search.answer.as_object` returns.

        With ``as_they_come``, the hits may be an iterator that fetches them as they are consumed. In that case,
        ``next`` is meaningless and facets aren't counted.

        Raises:
            UsageError: the question can't be answered.
        """
        require_text(question.text)
        if question.limit <= _PAGE_HITS:
            return self._answer(_complete(question), question.limit)
        if as_they_come:
            found = self._answer(_narrowing(question), _PAGE_HITS)
            return {**found, "hits": self._streamed(question)} if found["next"] else found
        return self._walk(question)

    def _answer(self, parameters: Pairs, limit: int) -> dict[str, Any]:
        body = self._client.get("/api/search", [*parameters, ("limit", str(limit))], most=_MAX_BYTES)
        found, _ = self._decoded(body, responses.SearchResponse)
        if len(found["hits"]) > limit:
            raise refusal.unexpected(self.url, f"it has {len(found['hits']):,} hits, but {limit:,} were requested")
        return found

    def _walk(self, question: Question) -> dict[str, Any]:
        """Page through the hits until there are enough."""
        for walk in range(1, _MAX_WALKS + 1):
            found = self._answer(_complete(question), _PAGE_HITS)
            hits = found["hits"]
            try:
                while found["next"] and (left := question.limit - len(hits)):
                    following = [*_narrowing(question), ("cursor", found["next"])]
                    page = self._answer(following, min(left, _PAGE_HITS))
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
        parameters = [*_narrowing(question), ("format", "ndjson")]
        with self._client.lines("/api/search", parameters, _NDJSON) as lines:
            for line in islice(lines, question.limit):
                yield self._decoded(line, responses.Hit)[0]

    def show(self, name: str) -> Binary:
        """Find a binary, as :func:`cachesync.search.answer.show_binary` does.

        Raises:
            NotThereError: there is no such binary.
            AmbiguousError: the hash matches several binaries.
            UsageError: the name is malformed, or is the name of a package.
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
        parameters = [("from", before), ("to", after), *_of_filters(filters)]
        body = self._client.get("/api/diff", parameters, most=_MAX_DIFF_BYTES)
        found = self._parsed(body, responses.DiffResponse)
        added, gone = ([Listed(each.package, each.hash, each.spec) for each in of] for of in (found.added, found.gone))
        packages = [PackageCount(each.package, each.added, each.gone) for each in found.packages]
        return TagDifference(before, after, added, gone, packages)

    def status(self) -> tuple[dict[str, Any], responses.StatusResponse]:
        """Return the server's status as received, and the part of the status that this version understands."""
        return self._decoded(self._client.get("/api/status", most=_MAX_BYTES), responses.StatusResponse)

    def _named(self, name: str, path: str, shape: type[Any]) -> dict[str, Any]:
        """Return the object at a path; ``name`` is what the user calls it."""
        try:
            return self._decoded(self._client.get(path, most=_MAX_BYTES), shape)[0]
        except NotThereError:
            raise no_such_binary(name) from None

    def _decoded(self, body: bytes, shape: type[responses.Shape]) -> tuple[dict[str, Any], responses.Shape]:
        """Decode an object, and return it unchanged and converted to ``shape``."""
        return self._parsed(body, dict[str, Any]), self._parsed(body, shape)

    def _parsed(self, body: bytes, shape: type[responses.Shape]) -> responses.Shape:
        try:
            return msgspec.json.decode(body, type=shape)
        except responses.MALFORMED as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise refusal.unexpected(self.url, reason) from None


def _narrowing(question: Question) -> Pairs:
    """Return the parameters that determine the hits and their order: all but facets and limit."""
    whole = [
        ("q", question.text),
        ("mode", "" if question.mode == "auto" else question.mode),
        *_of_filters(question.filters),
        ("tag", question.tag or ""),
        ("arch", "-".join(question.machine or ())),
        *(("sort", f"{key.field}:{'desc' if key.descending else 'asc'}") for key in question.order),
        ("distinct", "true" if question.distinct else ""),
    ]
    return [(name, value) for name, value in whole if value]


def _complete(question: Question) -> Pairs:
    """Return a question's parameters except the limit. The server decodes them to the same question."""
    return [*_narrowing(question), *(("facet", f"{each.field}:{each.size}") for each in question.facets)]


def _of_filters(filters: Sequence[Filter]) -> Pairs:
    """Return the parameters of filters: one for each value, named after the field."""
    return [(each.field, str(value)) for each in filters for value in each.values]


def _is_segment(text: str) -> bool:
    """Whether a string can be a segment of a path. Segments of dots alone would lead out of the path."""
    return text not in ("", ".", "..")

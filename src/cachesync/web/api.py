"""The HTTP API: what an index is asked, as JSON."""

from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from cachesync.errors import (
    AmbiguousError,
    CachesyncError,
    ExcessiveError,
    IndexUnavailableError,
    NotThereError,
    OutdatedIndexError,
    QueryError,
    UsageError,
)
from cachesync.log import as_json
from cachesync.search.answer import Answer, Binary, as_object, binary_as_object, show_binary
from cachesync.search.difference import TagDifference, difference
from cachesync.search.difference import as_object as difference_as_object
from cachesync.search.lexer import MAX_CHARACTERS, require_text
from cachesync.web import openapi
from cachesync.web.admission import Admission, BusyError, LateError
from cachesync.web.endpoint import JSON, Endpoint, compressed, error_answer, takes_gzip, validated
from cachesync.web.export import MEDIA_TYPES, Export, gzipped, lines
from cachesync.web.openapi import content, operation
from cachesync.web.parameters import (
    FILTERS,
    Pairs,
    SearchParameters,
    number,
    read,
    read_filters,
    read_pairs,
    read_search,
)
from cachesync.web.searcher import Searcher

_SUGGESTIONS_AT_ONCE: Final = 4
_EXPORTS_AT_ONCE: Final = 2
_EXPORT_SECONDS: Final = 60.0
"""So long may a part of an export take."""

_SHORTEST_HASH: Final = 4
_MOST_SUGGESTED: Final = 50
_RETRY_SECONDS: Final = 5
_BUSY_SECONDS: Final = 1

_COMMON: Final = ("400", "503", "504")


class Bounds(NamedTuple):
    """How much may be asked."""

    search_timeout: float
    """Seconds that one search may take."""
    max_searches: int
    """How many searches run at a time."""


class Answered(NamedTuple):
    """What a piece of work has come to."""

    body: bytes
    """JSON."""
    told: bytes
    """All of it that says something of the index, by which a client knows whether that has changed."""


class Api:
    """Answers over HTTP what an index is asked. Nothing here knows of a writer."""

    def __init__(self, searcher: Searcher, bounds: Bounds, *, is_public: bool) -> None:
        """Answer by a searcher.

        Args:
            searcher: answers questions.
            bounds: how much may be asked.
            is_public: errors tell nothing of what is behind.
        """
        self.searcher = searcher
        self._is_public = is_public
        self.searches = Admission("search", bounds.max_searches, bounds.search_timeout)
        self._suggestions = Admission("suggest", _SUGGESTIONS_AT_ONCE, bounds.search_timeout)
        self._exports = Admission("export", _EXPORTS_AT_ONCE, _EXPORT_SECONDS)

    def close(self) -> None:
        """Begin no more work."""
        for each in (self.searches, self._suggestions, self._exports):
            each.close()

    def endpoints(self) -> list[Endpoint]:
        """Return all that can be asked."""
        return [
            Endpoint("/api/search", self._search, _SEARCH),
            Endpoint("/api/specs/{id:path}", self._spec, _SPEC),
            Endpoint("/api/binaries/{hash}", self._binary, _BINARY),
            Endpoint("/api/suggest", self._suggest, _SUGGEST),
            Endpoint("/api/tags", self._tags, _TAGS),
            Endpoint("/api/diff", self._diff, _DIFF),
        ]

    async def _search(self, request: Request) -> Response:
        async def answered() -> Response:
            asked = read_search(pairs_of(request))
            if asked.format != "json":
                return self._export(asked, request)
            return await self._worked(lambda: _of_answer(as_object(self.ask(asked))), request)

        return await self._told(answered)

    def ask(self, asked: SearchParameters) -> Answer:
        """Answer a search."""
        return self.searcher.ask(asked.question, asked.cursor)

    def _export(self, asked: SearchParameters, request: Request) -> Response:
        parts = lines(self.searcher.export(asked.question, asked.cursor, asked.most), asked.format)
        headers = {"Content-Type": f"{MEDIA_TYPES[asked.format]}; charset=utf-8", "Cache-Control": "no-cache"}
        if asked.format == "csv":
            headers["Content-Disposition"] = 'attachment; filename="specs.csv"'
        headers["Vary"] = "Accept-Encoding"
        if takes_gzip(request):
            parts = gzipped(parts)
            headers["Content-Encoding"] = "gzip"
        return Export(parts, self._exports, headers, self.refused)

    async def _spec(self, request: Request) -> Response:
        id = request.path_params["id"]

        def found() -> Answered:
            hit = self.searcher.hit(id)
            if hit is None:
                raise NotThereError(f"there is no spec {id!r:.200}")
            return _of_value(hit)

        return await self._answered(found, request)

    async def _binary(self, request: Request) -> Response:
        hash = request.path_params["hash"]

        def found() -> Answered:
            return _of_value(binary_as_object(self.binary(hash)))

        return await self._answered(found, request)

    def binary(self, hash: str) -> Binary:
        """Return the binary whose hash begins so.

        Raises:
            UsageError: there is none, or there are several, or too little of it is told.
        """
        if len(hash) < _SHORTEST_HASH:
            raise UsageError(f"{hash}: expected a hash, or at least its first {_SHORTEST_HASH} characters")
        return self.searcher.look(lambda opened: show_binary(f"/{hash}", opened.reader, self.searcher.mirror_url))

    async def _suggest(self, request: Request) -> Response:
        async def answered() -> Response:
            given = read(pairs_of(request), once=("q", "limit"))
            one = {name: values[0] for name, values in given.items()}
            limit = number("limit", one, 0, _MOST_SUGGESTED, 10)
            text = one.get("q", "")
            require_text(text)

            def suggested() -> Answered:
                found = self.searcher.look(lambda opened: opened.vocabulary.names.suggest(text, limit))
                return _of_value({"suggestions": [each._asdict() for each in found]})

            return await self._worked(suggested, request, self._suggestions)

        return await self._told(answered)

    async def _tags(self, request: Request) -> Response:
        def found() -> Answered:
            return _of_value({"tags": [each._asdict() for each in self.searcher.tags()]})

        return await self._answered(found, request)

    async def _diff(self, request: Request) -> Response:
        async def answered() -> Response:
            given = read(pairs_of(request), once=("from", "to"), often=FILTERS)
            if missing := [name for name in ("from", "to") if name not in given]:
                raise UsageError(f"{missing[0]}: expected a tag")
            found = partial(self.difference, given["from"][0], given["to"][0], given)
            return await self._worked(lambda: _of_value(difference_as_object(found())), request)

        return await self._told(answered)

    def difference(self, before: str, after: str, given: dict[str, list[str]]) -> TagDifference:
        """Compare two tags."""
        filters = read_filters(given)
        return self.searcher.look(lambda opened: difference(opened.reader, before, after, filters))

    async def _answered(self, work: Callable[[], Answered], request: Request) -> Response:
        """Answer what takes no parameters."""

        async def answered() -> Response:
            read(pairs_of(request))
            return await self._worked(work, request)

        return await self._told(answered)

    async def _worked(
        self, work: Callable[[], Answered], request: Request, admission: Admission | None = None
    ) -> Response:
        """Answer with what a piece of work comes to."""

        def answered() -> Response:
            body, told = work()
            return compressed(validated(Response(body, media_type=JSON), told, request), request)

        return await (admission or self.searches).run(answered)

    async def _told(self, answered: Callable[[], Awaitable[Response]]) -> Response:
        """Answer, or say what is wrong."""
        try:
            return await answered()
        except CachesyncError as error:
            return self.refused(error)

    def refused(self, error: CachesyncError) -> Response:
        """Return the answer that says what is wrong."""
        status, message, at, retry = self.explained(error)
        return error_answer(message, status, at, retry)

    def explained(self, error: CachesyncError) -> "ErrorReply":
        """Return what is to be said of an error."""
        message = str(error)
        match error:
            case QueryError():
                return ErrorReply(HTTPStatus.BAD_REQUEST, message, error.at)
            case NotThereError():
                return ErrorReply(HTTPStatus.NOT_FOUND, message)
            case AmbiguousError():
                return ErrorReply(HTTPStatus.CONFLICT, message)
            case ExcessiveError():
                return ErrorReply(HTTPStatus.BAD_REQUEST, _EXCESSIVE if self._is_public else message)
            case UsageError():
                return ErrorReply(HTTPStatus.BAD_REQUEST, message)
            case BusyError():
                return ErrorReply(HTTPStatus.SERVICE_UNAVAILABLE, message, retry_after=_BUSY_SECONDS)
            case LateError():
                return ErrorReply(HTTPStatus.GATEWAY_TIMEOUT, message)
            case OutdatedIndexError():
                return ErrorReply(HTTPStatus.SERVICE_UNAVAILABLE, message, retry_after=_RETRY_SECONDS)
            case IndexUnavailableError():
                hidden = "the index can't be searched just now; try again in a few seconds"
                told = hidden if self._is_public else message
                return ErrorReply(HTTPStatus.SERVICE_UNAVAILABLE, told, retry_after=_RETRY_SECONDS)
        raise error


class ErrorReply(NamedTuple):
    """What is said of what is wrong."""

    status: HTTPStatus
    message: str
    at: int | None = None
    """The character of the query."""
    retry_after: int | None = None
    """Seconds."""


_EXCESSIVE: Final = "that is more than can be counted at once: ask for fewer values of a facet, or type more of a name"


def pairs_of(request: Request) -> Pairs:
    """Return the parameters of a request, in their order.

    Raises:
        UsageError: they aren't UTF-8, or too many.
    """
    return read_pairs(request.scope["query_string"])


def _of_answer(shown: dict[str, Any]) -> Answered:
    return Answered(as_json(shown), as_json({**shown, "took_ms": None}))


def _of_value(value: Any) -> Answered:
    body = as_json(value)
    return Answered(body, body)


_HASH: Final = {**openapi.TEXT, "minLength": _SHORTEST_HASH}
_SEARCH: Final = operation(
    "Find binaries",
    {
        **content(openapi.ANSWER),
        **content(openapi.TEXT, MEDIA_TYPES["ndjson"]),
        **content(openapi.TEXT, MEDIA_TYPES["csv"]),
    },
    parameters=openapi.SEARCH_PARAMETERS,
    errors=_COMMON,
    conditional=True,
)
_SPEC: Final = operation(
    "One document",
    content(openapi.HIT),
    parameters=[
        openapi.parameter("id", openapi.TEXT, "TAG/PACKAGE/HASH, as `_id` has it.", required=True, place="path")
    ],
    errors=("404", *_COMMON),
    conditional=True,
)
_BINARY: Final = operation(
    "One binary whole: in all its tags, and how to install it",
    content(openapi.BINARY),
    parameters=[openapi.parameter("hash", _HASH, "Its hash, or the beginning.", required=True, place="path")],
    errors=("404", "409", *_COMMON),
    conditional=True,
)
_SUGGEST: Final = operation(
    "Packages that may be meant by what is typed so far",
    content(openapi.SUGGESTIONS),
    parameters=[
        openapi.parameter("q", {**openapi.TEXT, "maxLength": MAX_CHARACTERS}, "What is typed."),
        openapi.parameter("limit", openapi.a_number(0, _MOST_SUGGESTED, 10), "How many."),
    ],
    errors=_COMMON,
    conditional=True,
)
_TAGS: Final = operation(
    "The tags, the newest first",
    content(openapi.TAGS),
    errors=_COMMON,
    conditional=True,
)
_DIFF: Final = operation(
    "What two tags don't have in common",
    content(openapi.DIFFERENCE),
    parameters=[
        openapi.parameter("from", openapi.NAME, "A tag.", required=True),
        openapi.parameter("to", openapi.NAME, "Another one.", required=True),
        *openapi.FILTER_PARAMETERS,
    ],
    errors=("404", *_COMMON),
    conditional=True,
)

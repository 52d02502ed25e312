"""The HTTP API: searches, single specs and binaries, suggestions, tags and their differences, as JSON."""

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
"""How long one part of an export may take."""

_SHORTEST_HASH: Final = 4
_MOST_SUGGESTED: Final = 50
_RETRY_SECONDS: Final = 5
_BUSY_SECONDS: Final = 1

_COMMON: Final = ("400", "503", "504")


class Bounds(NamedTuple):
    """The configured limits."""

    search_timeout: float
    """Seconds that one search may take."""
    max_searches: int
    """How many searches run at a time."""


class JsonBody(NamedTuple):
    """The result of a request's work."""

    body: bytes
    """JSON."""
    etag_source: bytes
    """What the ``ETag`` is a digest of: the body without what differs from request to request."""


class Api:
    """The API's endpoints. They only read the index; no writer is involved."""

    def __init__(self, searcher: Searcher, bounds: Bounds, *, is_public: bool) -> None:
        """Create the thread pools for searches, suggestions and exports.

        Args:
            searcher: answers the questions.
            bounds: the limits.
            is_public: whether error messages must not reveal anything about the engine behind.
        """
        self.searcher = searcher
        self._is_public = is_public
        self.searches = Admission("search", bounds.max_searches, bounds.search_timeout)
        self._suggestions = Admission("suggest", _SUGGESTIONS_AT_ONCE, bounds.search_timeout)
        self._exports = Admission("export", _EXPORTS_AT_ONCE, _EXPORT_SECONDS)

    def close(self) -> None:
        """Accept no more work."""
        for each in (self.searches, self._suggestions, self._exports):
            each.close()

    def endpoints(self) -> list[Endpoint]:
        """Return the API's endpoints."""
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
            parameters = read_search(pairs_of(request))
            if parameters.format != "json":
                return self._export(parameters, request)
            return await self._run(lambda: _of_answer(as_object(self.ask(parameters))), request)

        return await self._or_error(answered)

    def ask(self, parameters: SearchParameters) -> Answer:
        """Answer a search."""
        return self.searcher.ask(parameters.question, parameters.cursor)

    def _export(self, parameters: SearchParameters, request: Request) -> Response:
        parts = lines(self.searcher.export(parameters.question, parameters.cursor, parameters.most), parameters.format)
        headers = {"Content-Type": f"{MEDIA_TYPES[parameters.format]}; charset=utf-8", "Cache-Control": "no-cache"}
        if parameters.format == "csv":
            headers["Content-Disposition"] = 'attachment; filename="specs.csv"'
        headers["Vary"] = "Accept-Encoding"
        if takes_gzip(request):
            parts = gzipped(parts)
            headers["Content-Encoding"] = "gzip"
        return Export(parts, self._exports, headers, self.refused)

    async def _spec(self, request: Request) -> Response:
        id = request.path_params["id"]

        def found() -> JsonBody:
            hit = self.searcher.hit(id)
            if hit is None:
                raise NotThereError(f"there is no spec {id!r:.200}")
            return _of_value(hit)

        return await self._answered(found, request)

    async def _binary(self, request: Request) -> Response:
        hash = request.path_params["hash"]

        def found() -> JsonBody:
            return _of_value(binary_as_object(self.binary(hash)))

        return await self._answered(found, request)

    def binary(self, hash: str) -> Binary:
        """Return the binary whose hash begins with ``hash``.

        Raises:
            UsageError: there is none, there are several, or ``hash`` is too short.
        """
        if len(hash) < _SHORTEST_HASH:
            raise UsageError(f"{hash}: expected a hash, or at least its first {_SHORTEST_HASH} characters")
        return self.searcher.read(lambda opened: show_binary(f"/{hash}", opened.reader, self.searcher.mirror_url))

    async def _suggest(self, request: Request) -> Response:
        async def answered() -> Response:
            given = read(pairs_of(request), once=("q", "limit"))
            one = {name: values[0] for name, values in given.items()}
            limit = number("limit", one, 0, _MOST_SUGGESTED, 10)
            text = one.get("q", "")
            require_text(text)

            def suggested() -> JsonBody:
                found = self.searcher.read(lambda opened: opened.vocabulary.names.suggest(text, limit))
                return _of_value({"suggestions": [each._asdict() for each in found]})

            return await self._run(suggested, request, self._suggestions)

        return await self._or_error(answered)

    async def _tags(self, request: Request) -> Response:
        def found() -> JsonBody:
            return _of_value({"tags": [each._asdict() for each in self.searcher.tags()]})

        return await self._answered(found, request)

    async def _diff(self, request: Request) -> Response:
        async def answered() -> Response:
            given = read(pairs_of(request), once=("from", "to"), often=FILTERS)
            if missing := [name for name in ("from", "to") if name not in given]:
                raise UsageError(f"{missing[0]}: expected a tag")
            found = partial(self.difference, given["from"][0], given["to"][0], given)
            return await self._run(lambda: _of_value(difference_as_object(found())), request)

        return await self._or_error(answered)

    def difference(self, before: str, after: str, given: dict[str, list[str]]) -> TagDifference:
        """Compare two tags."""
        filters = read_filters(given)
        return self.searcher.read(lambda opened: difference(opened.reader, before, after, filters))

    async def _answered(self, work: Callable[[], JsonBody], request: Request) -> Response:
        """Answer a request that takes no parameters in its query."""

        async def answered() -> Response:
            read(pairs_of(request))
            return await self._run(work, request)

        return await self._or_error(answered)

    async def _run(
        self, work: Callable[[], JsonBody], request: Request, admission: Admission | None = None
    ) -> Response:
        """Run work on a thread, and answer with its result."""

        def answered() -> Response:
            body, etag_source = work()
            return compressed(validated(Response(body, media_type=JSON), etag_source, request), request)

        return await (admission or self.searches).run(answered)

    async def _or_error(self, answered: Callable[[], Awaitable[Response]]) -> Response:
        """Answer, with an error response if that fails as expected."""
        try:
            return await answered()
        except CachesyncError as error:
            return self.refused(error)

    def refused(self, error: CachesyncError) -> Response:
        """Return the error response for an error."""
        status, message, at, retry = self.explained(error)
        return error_answer(message, status, at, retry)

    def explained(self, error: CachesyncError) -> "ErrorReply":
        """Return the status and message for an error. One that isn't expected is raised again."""
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
                shown = hidden if self._is_public else message
                return ErrorReply(HTTPStatus.SERVICE_UNAVAILABLE, shown, retry_after=_RETRY_SECONDS)
        raise error


class ErrorReply(NamedTuple):
    """The content of an error response."""

    status: HTTPStatus
    message: str
    at: int | None = None
    """At which character of the query the error is."""
    retry_after: int | None = None
    """Seconds."""


_EXCESSIVE: Final = "that is more than can be counted at once: ask for fewer values of a facet, or type more of a name"


def pairs_of(request: Request) -> Pairs:
    """Return a request's query parameters, in their order.

    Raises:
        UsageError: they aren't UTF-8, or too many.
    """
    return read_pairs(request.scope["query_string"])


def _of_answer(shown: dict[str, Any]) -> JsonBody:
    return JsonBody(as_json(shown), as_json({**shown, "took_ms": None}))


def _of_value(value: Any) -> JsonBody:
    body = as_json(value)
    return JsonBody(body, body)


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
    "One binary in all its tags, and how to install it",
    content(openapi.BINARY),
    parameters=[openapi.parameter("hash", _HASH, "Its hash, or the beginning.", required=True, place="path")],
    errors=("404", "409", *_COMMON),
    conditional=True,
)
_SUGGEST: Final = operation(
    "Suggest packages for what is typed so far",
    content(openapi.SUGGESTIONS),
    parameters=[
        openapi.parameter("q", {**openapi.TEXT, "maxLength": MAX_CHARACTERS}, "What is typed."),
        openapi.parameter("limit", openapi.a_number(0, _MOST_SUGGESTED, 10), "How many."),
    ],
    errors=_COMMON,
    conditional=True,
)
_TAGS: Final = operation(
    "All tags, the newest first",
    content(openapi.TAGS),
    errors=_COMMON,
    conditional=True,
)
_DIFF: Final = operation(
    "Compare two tags",
    content(openapi.DIFFERENCE),
    parameters=[
        openapi.parameter("from", openapi.NAME, "A tag.", required=True),
        openapi.parameter("to", openapi.NAME, "Another one.", required=True),
        *openapi.FILTER_PARAMETERS,
    ],
    errors=("404", *_COMMON),
    conditional=True,
)

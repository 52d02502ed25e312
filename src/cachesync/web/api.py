"""The HTTP API: searches, single specs and binaries, suggestions, tags and their differences, as JSON."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from cachesync.errors import CachesyncError, NotThereError, UsageError
from cachesync.log import as_json
from cachesync.search.answer import as_object, binary_as_object
from cachesync.search.difference import as_object as difference_as_object
from cachesync.search.lexer import MAX_CHARACTERS, require_text
from cachesync.web import openapi
from cachesync.web.admission import Admission
from cachesync.web.endpoint import JSON, Endpoint, Operation, compressed, takes_gzip, validated
from cachesync.web.errors import ErrorReply, reply_to
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
from cachesync.web.searcher import SHORTEST_HASH, Searcher

_SUGGESTIONS_AT_ONCE: Final = 4
_EXPORTS_AT_ONCE: Final = 2
_EXPORT_SECONDS: Final = 60.0
"""How long one part of an export may take."""

_MOST_SUGGESTED: Final = 50


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
        """Create the thread pools. ``is_public``: error messages must not reveal anything about the engine behind."""
        self.searcher = searcher
        self.explained: Callable[[CachesyncError], ErrorReply] = partial(reply_to, is_public=is_public)
        """Returns the reply to an error. One that isn't expected is raised again."""
        self.searches = Admission("search", bounds.max_searches, bounds.search_timeout)
        self._suggestions = Admission("suggest", _SUGGESTIONS_AT_ONCE, bounds.search_timeout)
        self._exports = Admission("export", _EXPORTS_AT_ONCE, _EXPORT_SECONDS)

    def close(self) -> None:
        """Accept no more work."""
        for each in (self.searches, self._suggestions, self._exports):
            each.close()

    def endpoints(self) -> list[Endpoint]:
        """Return the API's endpoints."""
        described = [
            ("/api/search", self._search, _SEARCH),
            ("/api/specs/{id:path}", self._spec, _SPEC),
            ("/api/binaries/{hash}", self._binary, _BINARY),
            ("/api/suggest", self._suggest, _SUGGEST),
            ("/api/tags", self._tags, _TAGS),
            ("/api/diff", self._diff, _DIFF),
        ]
        return [Endpoint(path, partial(self._or_error, answer), operation) for path, answer, operation in described]

    async def _or_error(self, answer: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        """Answer a request, with an error response if that fails as expected."""
        try:
            return await answer(request)
        except CachesyncError as error:
            return self.explained(error).response()

    async def _search(self, request: Request) -> Response:
        parameters = read_search(pairs_of(request))
        if parameters.format != "json":
            return self._export(parameters, request)
        return await self._run(
            lambda: _of_answer(as_object(self.searcher.ask(parameters.question, parameters.cursor))), request
        )

    def _export(self, parameters: SearchParameters, request: Request) -> Response:
        parts = lines(self.searcher.export(parameters.question, parameters.cursor, parameters.most), parameters.format)
        headers = {"Content-Type": f"{MEDIA_TYPES[parameters.format]}; charset=utf-8", "Cache-Control": "no-cache"}
        if parameters.format == "csv":
            headers["Content-Disposition"] = 'attachment; filename="specs.csv"'
        headers["Vary"] = "Accept-Encoding"
        if takes_gzip(request):
            parts = gzipped(parts)
            headers["Content-Encoding"] = "gzip"
        return Export(parts, self._exports, headers, self.explained)

    async def _spec(self, request: Request) -> Response:
        id = request.path_params["id"]

        def found() -> JsonBody:
            hit = self.searcher.hit(id)
            if hit is None:
                raise NotThereError(f"there is no spec {id!r:.200}")
            return _of_value(hit)

        return await self._without_parameters(found, request)

    async def _binary(self, request: Request) -> Response:
        hash = request.path_params["hash"]
        return await self._without_parameters(lambda: _of_value(binary_as_object(self.searcher.binary(hash))), request)

    async def _suggest(self, request: Request) -> Response:
        given = read(pairs_of(request), once=("q", "limit"))
        one = {name: values[0] for name, values in given.items()}
        limit = number("limit", one, 0, _MOST_SUGGESTED, 10)
        text = one.get("q", "")
        require_text(text)

        def suggested() -> JsonBody:
            return _of_value({"suggestions": [each._asdict() for each in self.searcher.suggest(text, limit)]})

        return await self._run(suggested, request, self._suggestions)

    async def _tags(self, request: Request) -> Response:
        return await self._without_parameters(
            lambda: _of_value({"tags": [each._asdict() for each in self.searcher.tags()]}), request
        )

    async def _diff(self, request: Request) -> Response:
        given = read(pairs_of(request), once=("from", "to"), often=FILTERS)
        if missing := [name for name in ("from", "to") if name not in given]:
            raise UsageError(f"{missing[0]}: expected a tag")

        def compared() -> JsonBody:
            found = self.searcher.difference(given["from"][0], given["to"][0], read_filters(given))
            return _of_value(difference_as_object(found))

        return await self._run(compared, request)

    async def _without_parameters(self, work: Callable[[], JsonBody], request: Request) -> Response:
        """Answer a request that takes no parameters in its query."""
        read(pairs_of(request))
        return await self._run(work, request)

    async def _run(
        self, work: Callable[[], JsonBody], request: Request, admission: Admission | None = None
    ) -> Response:
        """Run work on a thread, and answer with its result."""

        def answered() -> Response:
            body, etag_source = work()
            return compressed(validated(Response(body, media_type=JSON), etag_source, request), request)

        return await (admission or self.searches).run(answered)


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


def _reading(
    summary: str, answers: Mapping[str, Any], parameters: Sequence[openapi.Schema] = (), also: Sequence[str] = ()
) -> Operation:
    """Return the description of an endpoint that reads the index; ``also``: errors besides the usual ones."""
    return operation(summary, answers, parameters, (*also, "400", "503", "504"), conditional=True)


_TABLES: Final = content(openapi.TEXT, MEDIA_TYPES["ndjson"]) | content(openapi.TEXT, MEDIA_TYPES["csv"])
_HASH: Final = {**openapi.TEXT, "minLength": SHORTEST_HASH}
_SEARCH: Final = _reading("Find binaries", content(openapi.ANSWER) | _TABLES, openapi.SEARCH_PARAMETERS)
_SPEC: Final = _reading(
    "One document",
    content(openapi.HIT),
    [openapi.parameter("id", openapi.TEXT, "TAG/PACKAGE/HASH, as `_id` has it.", required=True, place="path")],
    also=("404",),
)
_BINARY: Final = _reading(
    "One binary in all its tags, and how to install it",
    content(openapi.BINARY),
    [openapi.parameter("hash", _HASH, "Its hash, or the beginning.", required=True, place="path")],
    also=("404", "409"),
)
_SUGGEST: Final = _reading(
    "Suggest packages for what is typed so far",
    content(openapi.SUGGESTIONS),
    [
        openapi.parameter("q", {**openapi.TEXT, "maxLength": MAX_CHARACTERS}, "What is typed."),
        openapi.parameter("limit", openapi.a_number(0, _MOST_SUGGESTED, 10), "How many."),
    ],
)
_TAGS: Final = _reading("All tags, the newest first", content(openapi.TAGS))
_DIFF: Final = _reading(
    "Compare two tags",
    content(openapi.DIFFERENCE),
    [
        openapi.parameter("from", openapi.NAME, "A tag.", required=True),
        openapi.parameter("to", openapi.NAME, "Another one.", required=True),
        *openapi.FILTER_PARAMETERS,
    ],
    also=("404",),
)

"""The HTTP API: searches, single specs and binaries, suggestions, tags and their differences, as JSON."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from cachesync.errors import CachesyncError, UsageError
from cachesync.log import as_json
from cachesync.search.answer import as_object, binary_as_object
from cachesync.search.difference import as_object as difference_as_object
from cachesync.search.lexer import MAX_CHARACTERS, require_text
from cachesync.search.request import FILTERABLE
from cachesync.web import openapi
from cachesync.web.admission import Admission
from cachesync.web.endpoint import JSON, Endpoint, compressed, takes_gzip, validated
from cachesync.web.errors import ErrorReply, reply_to
from cachesync.web.export import MEDIA_TYPES, Export, gzipped, lines
from cachesync.web.openapi import content, operation
from cachesync.web.parameters import SearchParameters, number, pairs_of, read, read_filters, read_search
from cachesync.web.searcher import SHORTEST_HASH, Searcher

_SUGGESTIONS_AT_ONCE: Final = 4
_EXPORTS_AT_ONCE: Final = 2
_EXPORT_SECONDS: Final = 60.0
"""How many seconds one part of an export may take."""

_MOST_SUGGESTED: Final = 50


class Bounds(NamedTuple):
    """The configured limits."""

    search_timeout: float
    """How many seconds one search may take."""
    max_searches: int
    """How many searches may run at a time."""


class Api:
    """The API's endpoints. They only read the index and don't involve a writer."""

    def __init__(self, searcher: Searcher, bounds: Bounds, *, is_public: bool) -> None:
        """Create the thread pools. With ``is_public``, error messages don't reveal anything about the engine."""
        self.searcher = searcher
        self.explained: Callable[[CachesyncError], ErrorReply] = partial(reply_to, is_public=is_public)
        """Returns the reply to an error, or raises the error if it isn't an expected one."""
        self.searches = Admission("search", bounds.max_searches, bounds.search_timeout)
        self._suggestions = Admission("suggest", _SUGGESTIONS_AT_ONCE, bounds.search_timeout)
        self._exports = Admission("export", _EXPORTS_AT_ONCE, _EXPORT_SECONDS)

    def close(self) -> None:
        """Stop accepting work."""
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
        """Answer a request. An expected error becomes an error response."""
        try:
            return await answer(request)
        except CachesyncError as error:
            return self.explained(error).response()

    async def _search(self, request: Request) -> Response:
        parameters = read_search(pairs_of(request))
        if parameters.format != "json":
            return self._export(parameters, request)
        return await self._run(lambda: as_object(self.searcher.ask(parameters.question, parameters.cursor)), request)

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
        return await self._without_parameters(lambda: self.searcher.hit(request.path_params["id"]), request)

    async def _binary(self, request: Request) -> Response:
        hash = request.path_params["hash"]
        return await self._without_parameters(lambda: binary_as_object(self.searcher.binary(hash)), request)

    async def _suggest(self, request: Request) -> Response:
        given = read(pairs_of(request), once=("q", "limit"))
        one = {name: values[0] for name, values in given.items()}
        limit = number("limit", one, 0, _MOST_SUGGESTED, 10)
        text = one.get("q", "")
        require_text(text)

        def suggested() -> dict[str, Any]:
            return {"suggestions": [each._asdict() for each in self.searcher.suggest(text, limit)]}

        return await self._run(suggested, request, self._suggestions)

    async def _tags(self, request: Request) -> Response:
        return await self._without_parameters(
            lambda: {"tags": [each._asdict() for each in self.searcher.tags()]}, request
        )

    async def _diff(self, request: Request) -> Response:
        given = read(pairs_of(request), once=("from", "to"), often=FILTERABLE)
        if missing := [name for name in ("from", "to") if name not in given]:
            raise UsageError(f"{missing[0]}: expected a tag")

        def compared() -> dict[str, Any]:
            found = self.searcher.difference(given["from"][0], given["to"][0], read_filters(given))
            return difference_as_object(found)

        return await self._run(compared, request)

    async def _without_parameters(self, work: Callable[[], dict[str, Any]], request: Request) -> Response:
        """Answer a request that takes no query parameters."""
        read(pairs_of(request))
        return await self._run(work, request)

    async def _run(
        self, work: Callable[[], dict[str, Any]], request: Request, admission: Admission | None = None
    ) -> Response:
        """Run work on a thread, and answer with the object that the work returns."""

        def answered() -> Response:
            found = work()
            body = as_json(found)
            # The duration of a search differs between requests without any change in the index, so the ETag ignores it.
            content = as_json({**found, "took_ms": None}) if "took_ms" in found else body
            return compressed(validated(Response(body, media_type=JSON), content, request), request)

        return await (admission or self.searches).run(answered)


_reading: Final = partial(operation, reads_index=True)
_TABLES: Final = content(openapi.TEXT, MEDIA_TYPES["ndjson"]) | content(openapi.TEXT, MEDIA_TYPES["csv"])
_HASH: Final = {**openapi.TEXT, "minLength": SHORTEST_HASH}
_SEARCH: Final = _reading("Find binaries", content(openapi.ANSWER) | _TABLES, openapi.SEARCH_PARAMETERS)
_SPEC: Final = _reading(
    "One document",
    content(openapi.HIT),
    [openapi.parameter("id", openapi.TEXT, "TAG/PACKAGE/HASH, as `_id` has it.", required=True, place="path")],
    errors=("404",),
)
_BINARY: Final = _reading(
    "One binary in all its tags, and how to install it",
    content(openapi.BINARY),
    [openapi.parameter("hash", _HASH, "Its hash, or the beginning.", required=True, place="path")],
    errors=("404", "409"),
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
    errors=("404",),
)

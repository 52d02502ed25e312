"""The endpoints for browsers: the search page and its parts, a binary, a comparison of tags, and static files."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from cachesync.errors import CachesyncError
from cachesync.search.request import FILTERABLE
from cachesync.web.api import Api
from cachesync.web.endpoint import Endpoint, compressed, error_answer
from cachesync.web.errors import ErrorReply
from cachesync.web.page import IndexState, PageRenderer, asked_by_page
from cachesync.web.page.assets import Asset
from cachesync.web.parameters import Pairs, pairs_of, read, read_filters, read_search
from cachesync.web.searcher import Overview

_HTML: Final = "text/html"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Only our own files are loaded or run, whatever pages contain. ``default-src`` doesn't cover the last three."""

_LONGEST_URL: Final = 8_192
"""The maximum length of path and query, in bytes. Most links on a page repeat its URL with one condition more or less,
so the size of a page grows with the length of its URL times the number of its conditions."""

_API: Final = "/api/"
_BINARY: Final = "/binary/"
_PAGES: Final = ("/", "/parts", "/diff")

_ROBOTS: Final = "User-agent: *\nAllow: {base}/$\nAllow: {base}/static/\nDisallow: {base}/\n"
"""The number of searches is endless, and every binary is in some of them, so crawlers may read only the first page."""


class HtmlEndpoints:
    """The endpoints for browsers, with pages that are rendered on the server."""

    def __init__(self, base_path: str, api: Api) -> None:
        """``base_path`` is the prefix of all paths; ``api`` finds what the pages show."""
        self._base_path = base_path
        self._api = api
        self._searcher = api.searcher
        self._pages = PageRenderer(base_path)

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints for browsers."""
        *_, icon = files = self._pages.static_files
        robots = Asset("robots.txt", _ROBOTS.format(base=self._base_path).encode(), "text/plain")
        return [
            Endpoint("/", partial(self._search, parts_only=False)),
            Endpoint("/parts", partial(self._search, parts_only=True)),
            Endpoint("/binary/{hash}", self._binary),
            Endpoint("/diff", self._difference),
            *(Endpoint(f"/{each.name}", partial(_file, each)) for each in (*files, robots)),
            Endpoint("/favicon.ico", partial(_file, icon)),
        ]

    async def refused(self, request: Request, status: HTTPStatus, message: str) -> Response:
        """Return the response to a request that failed or has no endpoint: a page if a page was requested, or JSON."""
        path = request.url.path.removeprefix(self._base_path)
        is_page = path in _PAGES or path.startswith(_BINARY)
        if not is_page and (path.startswith(_API) or _HTML not in request.headers.get("accept", "")):
            return error_answer(message, status)
        return _page(self._pages.error(ErrorReply(status, message), (), None), request, status)

    async def _search(self, request: Request, *, parts_only: bool) -> Response:
        def found(pairs: Pairs) -> str:
            asked = read_search(asked_by_page(pairs))
            answer = self._searcher.ask(asked.question, asked.cursor)
            return self._pages.search(pairs, answer, self._state(), parts_only=parts_only)

        return await self._rendered(request, found)

    async def _binary(self, request: Request) -> Response:
        hash = request.path_params["hash"]

        def shown(pairs: Pairs) -> str:
            read(pairs)
            binary = self._searcher.binary(hash)
            others = self._searcher.siblings(binary.newest)
            return self._pages.binary(binary, others, self._state())

        return await self._rendered(request, shown)

    async def _difference(self, request: Request) -> Response:
        def compared(pairs: Pairs) -> str:
            given = read(pairs, once=("from", "to"), often=FILTERABLE)
            tags = self._searcher.tag_names()
            before, after = (given.get(name, [""])[0] for name in ("from", "to"))
            found = self._searcher.difference(before, after, read_filters(given)) if before and after else None
            return self._pages.difference(tags, found, pairs, self._state())

        return await self._rendered(request, compared)

    async def _rendered(self, request: Request, render: Callable[[Pairs], str]) -> Response:
        """Return a page, or an error page.

        Both are rendered on a thread, to keep the event loop free. The error page for a request that didn't get a
        thread or timed out is rendered in the event loop; it has no chips, so it costs next to nothing.
        """
        pairs: Pairs = ()

        def answered() -> Response:
            try:
                return _page(render(pairs), request, HTTPStatus.OK)
            except CachesyncError as error:
                return self._refusal(request, pairs, self._api.explained(error))

        try:
            if len(request.scope["raw_path"]) + len(request.scope["query_string"]) > _LONGEST_URL:
                return self._refusal(request, (), _TOO_LONG)
            pairs = pairs_of(request)
            return await self._api.searches.run(answered)
        except CachesyncError as error:
            return self._refusal(request, pairs, self._api.explained(error), has_chips=False)

    def _refusal(self, request: Request, pairs: Pairs, refusal: ErrorReply, *, has_chips: bool = True) -> Response:
        state = self._searcher.last_overview
        shown = self._pages.error(refusal, pairs, _index_state(state) if state else None, has_chips=has_chips)
        answer = _page(shown, request, refusal.status)
        if refusal.retry_after is not None:
            answer.headers["Retry-After"] = str(refusal.retry_after)
        return answer

    def _state(self) -> IndexState:
        return _index_state(self._searcher.overview())


_TOO_LONG: Final = ErrorReply(
    HTTPStatus.REQUEST_URI_TOO_LONG, f"the URL is too long: expected at most {_LONGEST_URL:,} bytes for a page"
)


def _index_state(overview: Overview) -> IndexState:
    note = overview.freshness
    if note is None:
        return IndexState(outdated=overview.outdated)
    now = datetime.now(UTC)
    has_stopped = note.writer == "service" and not note.is_followed(now)
    degraded = (*note.degraded, "stopped") if has_stopped else note.degraded
    return IndexState(note.written, note.lag(now), note.in_sync, degraded, overview.outdated, not note.is_finished)


def _page(text: str, request: Request, status: HTTPStatus) -> Response:
    headers = {"Cache-Control": "no-cache", "Content-Security-Policy": _POLICY}
    return compressed(Response(text, status, headers, media_type=_HTML), request)


async def _file(file: Asset, request: Request) -> Response:
    return compressed(
        Response(file.content, headers={"Cache-Control": file.caching}, media_type=file.media_type), request
    )

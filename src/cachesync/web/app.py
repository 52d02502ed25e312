"""The ASGI application: routes for the endpoints, a bound on concurrent requests, and headers for every response."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cachesync.log import DEFECT, get_logger
from cachesync.web.endpoint import HEADERS, Endpoint, error_answer

_log = get_logger()

MAX_REQUESTS: Final = 64
"""How many requests are answered at a time; further ones get 503."""

_RETRY_SECONDS: Final = 1

_LONGEST_URL: Final = 65_536
"""The maximum length of path and query, in bytes."""

Observer = Callable[[int, float], None]
"""Called after each response with its status and its duration in seconds."""

OnError = Callable[[Request, HTTPStatus, str], Awaitable[Response]]
"""Returns the response to a request that no endpoint has answered, given the status and an error message."""


async def _json_error(_request: Request, status: HTTPStatus, message: str) -> Response:
    return error_answer(message, status)


def build_app(
    base_path: str,
    endpoints: Sequence[Endpoint],
    *,
    on_error: OnError = _json_error,
    allow_origins: Sequence[str] = (),
    observe: Observer = lambda _status, _seconds: None,
) -> ASGIApp:
    """Combine read-only endpoints into an application, which answers methods other than GET and HEAD with 405.

    ``base_path`` is the prefix of all paths: empty, or like ``/cachesync``. ``allow_origins`` are the sites whose
    scripts may read responses, such as ``https://example.org``; ``*`` is any site.
    """
    routes: list[BaseRoute] = [Route(f"{base_path}{each.path}", each.answer, methods=["GET"]) for each in endpoints]

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        answer = await on_error(request, HTTPStatus(error.status_code), error.detail)
        answer.headers.update(error.headers or {})
        return answer

    async def fail(request: Request, _error: Exception) -> Response:
        return await on_error(request, HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED)

    app = Starlette(routes=routes, exception_handlers={HTTPException: refuse, Exception: fail})
    app.router.redirect_slashes = False
    free = frozenset(f"{base_path}{each.path}" for each in endpoints if each.is_free)
    return _Middleware(app, free, frozenset(allow_origins), observe)


class _Middleware:
    """Middleware that bounds how many requests are answered at a time and adds the common headers to each response."""

    def __init__(self, app: ASGIApp, free: frozenset[str], allow_origins: frozenset[str], observe: Observer) -> None:
        """``free`` are the paths that are exempt from the bound on concurrent requests."""
        self._app = app
        self._free = free
        self._observe = observe
        self._allow_origins = allow_origins
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = dict(scope["headers"]).get(b"origin", b"").decode("latin-1")

        begun = time.perf_counter()
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
        has_begun = False

        async def headed(message: Message) -> None:
            nonlocal status, has_begun
            if message["type"] == "http.response.start":
                status, has_begun = message["status"], True
                self._add_headers(MutableHeaders(scope=message), origin)
            await send(message)

        self._requests += 1
        try:
            await self._chosen(scope)(scope, receive, headed)
        except asyncio.CancelledError:
            raise
        except BaseException:  # noqa: BLE001  a panic in Rust is a BaseException; uvicorn would log and answer it in its own words
            _log.exception(DEFECT, action="defect.found")
            if not has_begun:
                await error_answer(_FAILED, HTTPStatus.INTERNAL_SERVER_ERROR)(scope, receive, headed)
        finally:
            self._requests -= 1
            self._observe(status, time.perf_counter() - begun)

    def _chosen(self, scope: Scope) -> ASGIApp:
        """Return the application that answers a request."""
        if self._requests > MAX_REQUESTS and scope["path"] not in self._free:
            return _too_many
        is_too_long = len(scope["raw_path"]) + len(scope["query_string"]) > _LONGEST_URL
        return _too_long if is_too_long else self._app

    def _add_headers(self, headers: MutableHeaders, origin: str) -> None:
        headers["Date"] = formatdate(usegmt=True)
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        if self._allow_origins:
            headers.add_vary_header("Origin")
            if "*" in self._allow_origins or origin in self._allow_origins:
                headers["Access-Control-Allow-Origin"] = "*" if "*" in self._allow_origins else origin


_FAILED: Final = "internal error: the log of the service has the details"
_too_many: Final = error_answer(
    "too much is asked at once; try again in a second", HTTPStatus.SERVICE_UNAVAILABLE, retry_after=_RETRY_SECONDS
)
_too_long: Final = error_answer(
    f"the URL is too long: expected at most {_LONGEST_URL:,} bytes", HTTPStatus.REQUEST_URI_TOO_LONG
)

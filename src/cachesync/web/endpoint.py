"""An endpoint and its OpenAPI description, and the responses that endpoints have in common."""

import gzip
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import xxhash
from starlette.requests import Request
from starlette.responses import Response

from cachesync.log import as_json

Operation = Mapping[str, Any]
"""An operation object of OpenAPI."""

JSON: Final = "application/json"

HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""By default, nothing is cached, loaded, run, framed, sent as a referrer or sniffed. A response may override each."""

_WORTH_GZIP: Final = 1_000
"""Responses with fewer bytes are not compressed."""

_GZIP_LEVEL: Final = 5


class Endpoint(NamedTuple):
    """A path and its handler."""

    path: str
    """The path below the base path, in Starlette's syntax."""
    answer: Callable[[Request], Awaitable[Response]]
    """The handler. It runs in the server's event loop, so it must not block."""
    operation: Operation | None = None
    """The endpoint's description; None if the endpoint is not part of the API."""
    is_free: bool = False
    """Whether the endpoint is exempt from the bound on concurrent requests because it costs next to nothing."""


def json_answer(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return a response with a value as JSON."""
    return Response(as_json(value), status, media_type=JSON)


def error_answer(message: str, status: HTTPStatus, at: int | None = None, retry_after: int | None = None) -> Response:
    """Return an error response; ``at`` is the position in the query of the character that is wrong, if any."""
    answer = json_answer({"error": message, "at": at}, status)
    if retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer


def validated(answer: Response, content: bytes, asked: Request) -> Response:
    """Return the response with an ``ETag``, or 304 if the client already has the response.

    The ``ETag`` is a digest of ``content``: all of the response that depends on the index, so that no change is missed.
    """
    etag = f'W/"{xxhash.xxh3_64_hexdigest(content)}"'
    known = {each.strip().removeprefix("W/") for each in asked.headers.get("if-none-match", "").split(",")}
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if etag.removeprefix("W/") in known or "*" in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    answer.headers.update(headers)
    return answer


def compressed(answer: Response, asked: Request) -> Response:
    """Compress a response if the client accepts gzip. Compression takes about a millisecond for 100 KB."""
    answer.headers.add_vary_header("Accept-Encoding")
    body = bytes(answer.body)
    if len(body) >= _WORTH_GZIP and takes_gzip(asked):
        answer.body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        answer.headers["Content-Encoding"] = "gzip"
        answer.headers["Content-Length"] = str(len(answer.body))
    return answer


def takes_gzip(asked: Request) -> bool:
    """Whether a client accepts gzip and doesn't exclude it with a quality of 0."""
    offered = (each.strip().lower().partition(";") for each in asked.headers.get("accept-encoding", "").split(","))
    qualities = {name.strip(): quality.replace(" ", "") for name, _, quality in offered}
    chosen = qualities.get("gzip", qualities.get("*"))
    return chosen is not None and not chosen.startswith(("q=0;", "q=0,")) and chosen.rstrip("0.") != "q="

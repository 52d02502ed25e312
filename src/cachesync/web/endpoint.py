"""What is asked at one path: how it is answered, and how that is described."""

import gzip
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import xxhash
from starlette.requests import Request
from starlette.responses import Response

from cachesync.log import as_json

Operation = Mapping[str, Any]
"""How OpenAPI describes what is asked and answered."""

JSON: Final = "application/json"

_WORTH_GZIP: Final = 1_000
"""Shorter answers go as they are."""

_GZIP_LEVEL: Final = 5


class Endpoint(NamedTuple):
    """A path, and what answers there."""

    path: str
    """Below the base path, as starlette writes it."""
    answer: Callable[[Request], Awaitable[Response]]
    """It runs on the server's own thread, so it must not wait for anything but by ``await``."""
    operation: Operation | None = None
    """None: it isn't described, since it is no part of the API."""
    is_free: bool = False
    """It costs next to nothing, so it is answered however much is asked at once."""


def json_answer(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Answer with a value as JSON."""
    return Response(as_json(value), status, media_type=JSON)


def error_answer(message: str, status: HTTPStatus, at: int | None = None, retry_after: int | None = None) -> Response:
    """Answer with what is wrong, and at which character of the query, if it is there."""
    answer = json_answer({"error": message, "at": at}, status)
    if retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer


def validated(answer: Response, content: bytes, asked: Request) -> Response:
    """Let a client that has an answer already do without it.

    The validator is a digest of what is answered, so that no change is ever hidden: ``content`` is all of it that says
    something of the index.
    """
    etag = f'W/"{xxhash.xxh3_64_hexdigest(content)}"'
    known = {each.strip().removeprefix("W/") for each in asked.headers.get("if-none-match", "").split(",")}
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if etag.removeprefix("W/") in known or "*" in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    answer.headers.update(headers)
    return answer


def compressed(answer: Response, asked: Request) -> Response:
    """Send an answer compressed to whoever takes that. It takes about a millisecond for 100 KB."""
    answer.headers.add_vary_header("Accept-Encoding")
    body = bytes(answer.body)
    if len(body) >= _WORTH_GZIP and takes_gzip(asked):
        answer.body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        answer.headers["Content-Encoding"] = "gzip"
        answer.headers["Content-Length"] = str(len(answer.body))
    return answer


def takes_gzip(asked: Request) -> bool:
    """Tell whether a client understands gzip, and doesn't refuse it by a quality of 0."""
    offered = (each.strip().lower().partition(";") for each in asked.headers.get("accept-encoding", "").split(","))
    qualities = {name.strip(): quality.replace(" ", "") for name, _, quality in offered}
    chosen = qualities.get("gzip", qualities.get("*"))
    return chosen is not None and not chosen.startswith(("q=0;", "q=0,")) and chosen.rstrip("0.") != "q="

"""Turns a server's error responses into errors that tell the user what to do."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from cachesync.errors import AmbiguousError, CachesyncError, IndexUnavailableError, NotThereError, UsageError
from cachesync.remote.address import OPTION, redacted
from cachesync.retry import BUSY

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_DENIED: Final = frozenset({401, 403, 407})
_TOO_LONG: Final = frozenset({413, 414, 431})
_NO_SUCH_PATH: Final = frozenset({404, 405, 410})

_MIN_WAIT_SECONDS: Final = 0.5
"""The shortest wait before a retry, whatever the server requests, so that retries don't overload the server."""

_MAX_SHOWN: Final = 2_000
_MAX_QUOTE: Final = 100
_MAX_LINES: Final = 20


def seconds_to_wait(status: int, retry_after: str) -> float | None:
    """Return how long to wait before a retry; None if the server isn't busy or sends no usable Retry-After."""
    if status in BUSY and retry_after.isdecimal() and len(retry_after) < 5:
        return max(float(retry_after), _MIN_WAIT_SECONDS)
    return None


def error_from(url: str, status: int, body: bytes) -> CachesyncError:
    """Return the error for a response whose status isn't 200."""
    content = _object(body)
    error = content.get("error")
    if not isinstance(error, str) or (status == HTTPStatus.NOT_FOUND and error == HTTPStatus.NOT_FOUND.phrase):
        return _error_from_status(url, status, content)
    error = "\n".join(error[:_MAX_SHOWN].splitlines()[:_MAX_LINES])
    match status:
        case HTTPStatus.BAD_REQUEST:
            return UsageError(error)
        case HTTPStatus.NOT_FOUND:
            return NotThereError(error)
        case HTTPStatus.CONFLICT:
            return AmbiguousError(error)
        case _ if status >= 500 or status in BUSY:
            return IndexUnavailableError(f"{url}: {error}")
    return UsageError(f"{url}: {error}")


def _error_from_status(url: str, status: int, content: Mapping[str, Any]) -> CachesyncError:
    """Return the error for a response without an error message, which may come from a proxy."""
    reason = content.get("reason")
    if isinstance(reason, str):
        return IndexUnavailableError(f"{url} isn't ready: {reason[:_MAX_SHOWN]}")
    if status in _NO_SUCH_PATH:
        return UsageError(
            f"there is no cachesync server at {url}, or it is too old for this command ({_named(status)}): {OPTION} "
            "must be the URL of its web page with the base path, as in https://HOST/BASE/PATH"
        )
    if status in _DENIED:
        return IndexUnavailableError(
            f"{url} denied access ({_named(status)}): give a user and password as in "
            f"{OPTION} https://USER:PASSWORD@HOST"
        )
    if status in _TOO_LONG:
        return UsageError(f"{url}, or a proxy in front of it, refused the query as too long ({_named(status)})")
    if status in BUSY:
        return IndexUnavailableError(f"{url} is unavailable ({_named(status)}): try again later")
    if status >= 500:
        return IndexUnavailableError(f"{url} had an internal error ({_named(status)}): see its log")
    return UsageError(f"{url} gave an answer unlike a cachesync server's ({_named(status)}): check {OPTION}")


def redirected(url: str, location: str) -> UsageError:
    """Return the error for a redirect to another server, which must not receive a password unless the user agrees."""
    return UsageError(f"{url} redirects to {redacted(location)}: if that is right, give it as {OPTION}")


def invalid_redirect(url: str) -> UsageError:
    """Return the error for a redirect to an invalid URL, which isn't shown because it may imitate another URL."""
    return UsageError(f"{url} redirects to an invalid URL: check {OPTION}, and any proxies in front of that server")


def not_cachesync(url: str, body: bytes) -> UsageError:
    """Return the error for a server that isn't a cachesync server."""
    text = " ".join(body[:_MAX_SHOWN].decode(errors="replace").split())
    quoted = repr(f"{text[:_MAX_QUOTE]}…" if len(text) > _MAX_QUOTE else text)
    return UsageError(
        f"{url} is not a cachesync server: it answered {quoted}. Check {OPTION}; "
        "it must include the base path, as in https://HOST/BASE/PATH"
    )


def unexpected(url: str, reason: str) -> IndexUnavailableError:
    """Return the error for a response whose content this version doesn't understand."""
    return IndexUnavailableError(
        f"the answer of {url} isn't as expected: {reason[:_MAX_SHOWN]}\n"
        "Is it a cachesync server of about the same version as this one?"
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return {}


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)

"""What a server says instead of an answer, in a sentence with what to do."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from cachesync.errors import AmbiguousError, CachesyncError, IndexUnavailableError, NotThereError, UsageError
from cachesync.remote.address import OPTION, harmless

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NOT_NOW: Final = frozenset({429, 503})
_OF_A_PROXY: Final = frozenset({429, 502, 503, 504})
_FOR_SOME: Final = frozenset({401, 403, 407})
_TOO_LONG: Final = frozenset({413, 414, 431})
_NO_SUCH_PATH: Final = frozenset({404, 405, 410})

_LEAST_WAIT_SECONDS: Final = 0.5
"""A server that says "at once" is asked no faster, lest it gets all the more to do."""

_MOST_TOLD: Final = 2_000
_LONGEST_QUOTE: Final = 100
_MOST_LINES: Final = 20


def seconds_to_wait(status: int, retry_after: str) -> float | None:
    """Return after how long a server that says "not now" is to be asked again; None: it doesn't say so."""
    if status in _NOT_NOW and retry_after.isdecimal() and len(retry_after) < 5:
        return max(float(retry_after), _LEAST_WAIT_SECONDS)
    return None


def explained(url: str, status: int, body: bytes) -> CachesyncError:
    """Return the error that an answer is which isn't 200."""
    told = _object(body)
    error = told.get("error")
    if not isinstance(error, str) or (status == HTTPStatus.NOT_FOUND and error == HTTPStatus.NOT_FOUND.phrase):
        return _unexplained(url, status, told)
    error = "\n".join(error[:_MOST_TOLD].splitlines()[:_MOST_LINES])
    match status:
        case HTTPStatus.BAD_REQUEST:
            return UsageError(error)
        case HTTPStatus.NOT_FOUND:
            return NotThereError(error)
        case HTTPStatus.CONFLICT:
            return AmbiguousError(error)
        case _ if status >= 500 or status in _NOT_NOW:
            return IndexUnavailableError(f"{url}: {error}")
    return UsageError(f"{url}: {error}")


def _unexplained(url: str, status: int, told: Mapping[str, Any]) -> CachesyncError:
    """Say what an answer means by its status alone. A proxy may have given it."""
    reason = told.get("reason")
    if isinstance(reason, str):
        return IndexUnavailableError(f"{url} isn't ready: {reason[:_MOST_TOLD]}")
    if status in _NO_SUCH_PATH:
        return UsageError(
            f"there is no cachesync at {url}, or one too old for this ({_named(status)}): {OPTION} has to name where "
            "its page is, with the base path, as in https://HOST/BASE/PATH"
        )
    if status in _FOR_SOME:
        return IndexUnavailableError(
            f"{url} doesn't let everybody in ({_named(status)}): a user and a password are given as in "
            f"{OPTION} https://USER:PASSWORD@HOST"
        )
    if status in _TOO_LONG:
        return UsageError(f"{url}, or a proxy before it, takes no query as long as this one ({_named(status)})")
    if status in _OF_A_PROXY:
        return IndexUnavailableError(f"{url} can't answer now ({_named(status)}): try again later")
    if status >= 500:
        return IndexUnavailableError(f"something went wrong at {url} ({_named(status)}): its log says what")
    return UsageError(f"{url} answers what no cachesync does ({_named(status)}): check {OPTION}")


def leads_elsewhere(url: str, location: str) -> UsageError:
    """Say that a server wants to be asked elsewhere, where a password must not go by itself."""
    return UsageError(f"{url} leads elsewhere, to {harmless(location)}: if that is right, give it as {OPTION}")


def leads_nowhere(url: str) -> UsageError:
    """Say that a server wants to be asked at what is no URL, which isn't told: it may be made to look like another."""
    return UsageError(
        f"{url} leads elsewhere, by a Location that is no URL: check {OPTION}, and proxies before that server"
    )


def no_cachesync(url: str, body: bytes) -> UsageError:
    """Say that what answers is something else."""
    text = " ".join(body[:_MOST_TOLD].decode(errors="replace").split())
    quoted = repr(f"{text[:_LONGEST_QUOTE]}…" if len(text) > _LONGEST_QUOTE else text)
    return UsageError(
        f"what answers at {url} is no cachesync, but says {quoted}: check {OPTION}; "
        "the base path belongs to it, as in https://HOST/BASE/PATH"
    )


def unfit(url: str, reason: str) -> IndexUnavailableError:
    """Say that an answer isn't what this version knows."""
    return IndexUnavailableError(
        f"the answer of {url} isn't as expected: {reason[:_MOST_TOLD]}\n"
        "Is it a cachesync, and of about the same version as this one?"
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

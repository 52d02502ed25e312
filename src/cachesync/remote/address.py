"""Where a server is: what people write behind ``--server``."""

from base64 import b64encode
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from cachesync.errors import UsageError

OPTION: Final = "--server"
_EXPECTED: Final = "expected where its page is, as in https://HOST or http://HOST:8080/BASE/PATH"
_SCHEMES: Final = frozenset({"http", "https"})
_MOST_TOLD: Final = 200


class ServerUrl(NamedTuple):
    """Where a server is, and who we are there."""

    url: str
    """Without a slash at its end, and without a user. It may be shown to anybody."""
    authorization: str | None
    """The value of that header."""


def parse_address(text: str) -> ServerUrl:
    """Read an URL, which may have a user with a password and a base path.

    Raises:
        UsageError: it is none of a server. A password that may be in it isn't told.
    """
    told = f"{OPTION} {harmless(text)}"
    if not text.isprintable() or " " in text:
        raise UsageError(f"{told}: {_EXPECTED}, without blanks and control characters")
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
    except ValueError as error:
        raise UsageError(f"{told}: {_EXPECTED}; {_reason(error, text)}") from None
    if not is_one:
        raise UsageError(f"{told}: {_EXPECTED}")
    if parts.query or parts.fragment:
        raise UsageError(f"{told}: {_EXPECTED}, without what stands behind ? or #")
    user, at, host = parts.netloc.rpartition("@")
    return ServerUrl(f"{parts.scheme}://{host}{parts.path.rstrip('/')}", _basic(user) if at else None)


def harmless(url: str) -> str:
    """Return a URL, or what was meant to be one, without its user and password."""
    before, at, after = url[: 10 * _MOST_TOLD].rpartition("@")
    scheme, slashes, _ = before.partition("://")
    return f"{scheme}{slashes}{after}"[:_MOST_TOLD] if at and slashes else after[:_MOST_TOLD]


def _basic(user: str) -> str:
    name, _, password = user.partition(":")
    return f"Basic {b64encode(f'{unquote(name)}:{unquote(password)}'.encode()).decode()}"


def _reason(error: ValueError, text: str) -> str:
    """Return what is wrong with a URL. The words of Python name parts of it, so not of one with a password."""
    return "what stands before the @ has to be percent-encoded" if "@" in text else str(error)[:_MOST_TOLD]

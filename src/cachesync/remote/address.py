"""Parses the URL of a server, as given with ``--server``."""

from base64 import b64encode
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from cachesync.errors import UsageError

OPTION: Final = "--server"
_EXPECTED: Final = "expected the URL of its web page, as in https://HOST or http://HOST:8080/BASE/PATH"
_SCHEMES: Final = frozenset({"http", "https"})
_MAX_SHOWN: Final = 200


class ServerUrl(NamedTuple):
    """The URL of a server, kept apart from our credentials."""

    url: str
    """The URL without a trailing slash and without credentials, so that it may be shown."""
    authorization: str | None
    """The value of the Authorization header."""


def parse_address(text: str) -> ServerUrl:
    """Parse a URL, which may contain a user, a password and a base path.

    Raises:
        UsageError: the text can't be the URL of a server. The message contains no password.
    """
    option = f"{OPTION} {redacted(text)}"
    if not text.isprintable() or " " in text:
        raise UsageError(f"{option}: {_EXPECTED}, without whitespace and control characters")
    try:
        parts = urlsplit(text)
        is_valid = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
    except ValueError as error:
        raise UsageError(f"{option}: {_EXPECTED}; {_reason(error, text)}") from None
    if not is_valid:
        raise UsageError(f"{option}: {_EXPECTED}")
    if parts.query or parts.fragment:
        raise UsageError(f"{option}: {_EXPECTED}, without ? or # and what follows")
    user, at, host = parts.netloc.rpartition("@")
    return ServerUrl(f"{parts.scheme}://{host}{parts.path.rstrip('/')}", _basic(user) if at else None)


def redacted(url: str) -> str:
    """Return a URL, even an invalid one, without its user and password."""
    before, at, after = url[: 10 * _MAX_SHOWN].rpartition("@")
    scheme, slashes, _ = before.partition("://")
    return f"{scheme}{slashes}{after}"[:_MAX_SHOWN] if at and slashes else after[:_MAX_SHOWN]


def _basic(user: str) -> str:
    name, _, password = user.partition(":")
    return f"Basic {b64encode(f'{unquote(name)}:{unquote(password)}'.encode()).decode()}"


def _reason(error: ValueError, text: str) -> str:
    """Return why a URL is invalid. Python's message, which quotes the URL, is left out if it may contain a password."""
    return "what precedes the @ has to be percent-encoded" if "@" in text else str(error)[:_MAX_SHOWN]

"""Connections to a server: trusted certificates, proxies, and messages about failures."""

import re
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from urllib3 import PoolManager, ProxyManager
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as NoAnswerError
from urllib3.util import make_headers, parse_url

from cachesync import tls
from cachesync.errors import CachesyncError, IndexUnavailableError, UsageError, library_reason
from cachesync.remote.address import OPTION, redacted

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 90.0
"""How many seconds a server may send nothing. One part of an export takes up to 60 seconds."""

_MAX_REASON: Final = 300
_NAMES: Final = tls.Names(OPTION)
_PORTS: Final = {"http": 80, "https": 443}
_REFERENCE: Final = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*")
"""The characters of URLs by RFC 3986. If a URL has others, parsers disagree on where the host ends."""


def pool(url: str) -> PoolManager:
    """Return a connection pool for a server, which uses the proxy that the environment names, if any.

    The pool neither retries nor follows redirects. It trusts the system's certificate authorities, or those in
    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``.

    Raises:
        UsageError: the proxy is of an unsupported kind.
    """
    trusted = tls.trusting(None, _NAMES)
    proxy = _proxy(url)
    if proxy is None:
        return PoolManager(retries=False, ssl_context=trusted)
    parts = urlsplit(proxy)
    user, at, _ = parts.netloc.rpartition("@")
    headers = make_headers(proxy_basic_auth=unquote(user)) if at else None
    return ProxyManager(redacted(proxy), proxy_headers=headers, retries=False, ssl_context=trusted)


def resolved(url: str, location: str) -> str:
    """Return the URL that a ``Location`` header refers to, relative to the requested URL.

    Raises:
        ValueError: the location is invalid.
    """
    if not _REFERENCE.fullmatch(location):
        raise ValueError("it has characters that URLs can't have")
    return urljoin(url, location)


def same_origin(one: str, other: str) -> bool:
    """Whether requests for two URLs go to the same server, according to urllib3's parser, because urllib3 sends them.

    Raises:
        ValueError: one of the URLs can't be parsed.
    """
    return _origin(one) == _origin(other)


def _origin(url: str) -> tuple[str | None, str | None, int | None]:
    parts = parse_url(url)
    return parts.scheme, parts.host, parts.port or _PORTS.get(parts.scheme or "")


def _proxy(url: str) -> str | None:
    """Return the proxy for a server from http_proxy, https_proxy or all_proxy, unless no_proxy lists the host."""
    parts = urlsplit(url)
    proxies = getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or proxy_bypass(parts.netloc):
        return None
    proxy = found if "://" in found else f"http://{found}"
    if not proxy.startswith(("http://", "https://")):
        raise UsageError(f"the environment names {redacted(proxy)} as a proxy: expected one of http:// or https://")
    return proxy


def unreachable(url: str, error: HTTPError) -> CachesyncError:
    """Return the error for a failed connection, with advice on what to do."""
    if isinstance(error, ProxyError):
        proxy = redacted(_proxy(url) or "")
        return IndexUnavailableError(
            f"the proxy {proxy}, which the environment names, doesn't connect to {url}: "
            f"{_reason(error.original_error)}\nNO_PROXY lists the hosts to connect to without a proxy"
        )
    if isinstance(error, LocationValueError):
        return UsageError(f"{OPTION} {url}: {_reason(error)}: expected http(s)://HOST:PORT")
    if isinstance(error, SSLError):
        return IndexUnavailableError(f"no trusted connection to {url}: {tls.explained(_reason(error), _NAMES)}")
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return IndexUnavailableError(f"cannot reach {url}: no connection within {CONNECT_SECONDS:g} s")
    if isinstance(error, NameResolutionError):
        return IndexUnavailableError(
            f"cannot reach {url}: {_reason(error)}\nIs the name right, and is there a network?"
        )
    if isinstance(error, NewConnectionError):
        return IndexUnavailableError(f"cannot reach {url}: {_reason(error)}\nIs `cachesync serve` running there?")
    if isinstance(error, NoAnswerError):
        return timed_out(url)
    return IndexUnavailableError(f"{url} dropped the connection: {_reason(error)}\nTry again")


def timed_out(url: str) -> IndexUnavailableError:
    """Return the error for a server that takes too long."""
    return IndexUnavailableError(f"{url} didn't answer in time: try again later, or ask for less")


def _reason(error: BaseException) -> str:
    return library_reason(str(error))[:_MAX_REASON]

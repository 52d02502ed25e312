"""The connection to a server: whom to trust, which proxy to take, and what to say of one that fails."""

import re
import ssl
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

from cachesync.errors import CachesyncError, IndexUnavailableError, UsageError
from cachesync.remote.address import OPTION, harmless

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 90.0
"""So long a server may be silent. It gives a part of an export 60 seconds."""

_MEANINGS: Final = {
    "certificate has expired": "its certificate has expired: it must be renewed there, or is this clock wrong?",
    "certificate is not yet valid": "its certificate isn't valid yet: is this machine's clock right?",
    "mismatch": f"its certificate is for another name: {OPTION} must have a name that stands in it",
    "WRONG_VERSION_NUMBER": f"it answers without TLS: expected http:// behind {OPTION}",
    "record layer failure": f"it answers without TLS: expected http:// behind {OPTION}",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is by an authority that isn't trusted: let the system trust it, or "
    "name a file with its certificate in SSL_CERT_FILE",
}
"""What OpenSSL says, in part, and what that means to a person. The first one that fits counts."""

_PORTS: Final = {"http": 80, "https": 443}
_REFERENCE: Final = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*")
"""The characters of URLs, by RFC 3986. Of what has others, parsers disagree on where the host ends."""


def pool(url: str) -> PoolManager:
    """Return what connects to a server, through a proxy where the environment names one.

    It tries nothing twice and follows no redirects. Whom the system trusts, or ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``
    name, is trusted.

    Raises:
        UsageError: the proxy is of a kind that can't be used.
    """
    trusted = ssl.create_default_context()
    # Python 3.13 sets it, and then refuses the authorities that many a centre has made for itself.
    trusted.verify_flags &= ~ssl.VERIFY_X509_STRICT
    proxy = _proxy(url)
    if proxy is None:
        return PoolManager(retries=False, ssl_context=trusted)
    parts = urlsplit(proxy)
    user, at, _ = parts.netloc.rpartition("@")
    headers = make_headers(proxy_basic_auth=unquote(user)) if at else None
    return ProxyManager(harmless(proxy), proxy_headers=headers, retries=False, ssl_context=trusted)


def resolved(url: str, location: str) -> str:
    """Return the URL that a ``Location`` is, seen from another one.

    Raises:
        ValueError: it is none.
    """
    if not _REFERENCE.fullmatch(location):
        raise ValueError("it has characters that no URL has")
    return urljoin(url, location)


def same_origin(one: str, other: str) -> bool:
    """Tell whether requests for two URLs go to one server. What sends them parses them, so nothing else decides it.

    Raises:
        ValueError: one of them can't be parsed.
    """
    return _origin(one) == _origin(other)


def _origin(url: str) -> tuple[str | None, str | None, int | None]:
    parts = parse_url(url)
    return parts.scheme, parts.host, parts.port or _PORTS.get(parts.scheme or "")


def _proxy(url: str) -> str | None:
    """Return the proxy for a server: that of http_proxy, https_proxy or all_proxy, unless no_proxy has the host."""
    parts = urlsplit(url)
    proxies = getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or proxy_bypass(parts.netloc):
        return None
    proxy = found if "://" in found else f"http://{found}"
    if not proxy.startswith(("http://", "https://")):
        raise UsageError(f"the environment names {harmless(proxy)} as a proxy: expected one of http:// or https://")
    return proxy


def unreachable(url: str, error: HTTPError) -> CachesyncError:
    """Say why a server can't be asked, and what to do."""
    if isinstance(error, ProxyError):
        proxy = harmless(_proxy(url) or "")
        return IndexUnavailableError(
            f"the proxy {proxy}, which the environment names, doesn't let us through to {url}: "
            f"{_reason(error.original_error)}\nNO_PROXY names hosts that are asked without it"
        )
    if isinstance(error, LocationValueError):
        return UsageError(f"{OPTION} {url}: {_reason(error)}: expected http(s)://HOST:PORT")
    if isinstance(error, SSLError):
        said = _reason(error)
        meant = next((told for part, told in _MEANINGS.items() if part in said), None)
        return IndexUnavailableError(f"no trusted connection to {url}: {f'{meant} ({said})' if meant else said}")
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return IndexUnavailableError(f"cannot reach {url}: nobody took the connection within {CONNECT_SECONDS:g} s")
    if isinstance(error, NameResolutionError):
        return IndexUnavailableError(
            f"cannot reach {url}: {_reason(error)}\nIs the name right, and is there a network?"
        )
    if isinstance(error, NewConnectionError):
        return IndexUnavailableError(f"cannot reach {url}: {_reason(error)}\nIs `cachesync serve` running there?")
    if isinstance(error, NoAnswerError):
        return silent(url)
    return IndexUnavailableError(f"{url} broke the connection off: {_reason(error)}\nTry again")


def silent(url: str) -> IndexUnavailableError:
    """Say that a server takes too long."""
    return IndexUnavailableError(f"{url} didn't answer in time: try again later, or ask for less")


def _reason(error: BaseException) -> str:
    """Return what a library says of an error, without the objects it names."""
    return re.sub(r"^(\w*\(.*?\)|<.*?>): ", "", str(error))[:300]

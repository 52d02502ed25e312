"""The headers of every response, whether an endpoint, the middleware or the connection itself sends it."""

from collections.abc import Mapping
from typing import Final

HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""By default nothing is cached, loaded, run, framed, sent as a referrer or guessed at; a response may override each."""

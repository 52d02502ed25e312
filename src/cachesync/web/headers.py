"""The headers that every answer has, whoever gives it: an endpoint, what is around it, or the server itself."""

from collections.abc import Mapping
from typing import Final

HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Nothing is kept, loaded, run, framed, told to other sites or guessed at, unless an answer says otherwise."""

"""A server's limits on one request, learnt from its error messages.

Few users may read a cluster's settings, and all of these settings can change at any time. So requests ask for what
servers allow by default, and for less once a server has rejected a request and stated its limit.
"""

import re
from http import HTTPStatus
from typing import Final, NamedTuple

from elasticsearch import ApiError

EXPENSIVE: Final = "search.allow_expensive_queries"


class Limits(NamedTuple):
    """The most that one request may ask for."""

    prefixes: bool = True
    """Whether prefix queries are allowed (``search.allow_expensive_queries``)."""
    buckets: int = 65_535
    """The number of buckets of all aggregations together (``search.max_buckets``)."""
    window: int = 10_000
    """The number of hits (``index.max_result_window``)."""
    terms: int = 65_536
    """The number of values of one ``terms`` query (``index.max_terms_count``)."""
    keep_alive: str = "5m"
    """How long the server keeps a point in time open between two requests (``search.max_keep_alive``)."""
    body: int = 100_000_000
    """The size in bytes (``http.max_content_length``, or a proxy's limit)."""

    def after(self, error: ApiError) -> "Limits | None":
        """Return the limits with the one that an error states. Return None if the error states no new limit."""
        text = str(error.body)
        if self.prefixes and EXPENSIVE in text:
            return self._replace(prefixes=False)
        for name, pattern in _PATTERNS.items():
            if match := re.search(pattern, text):
                before = getattr(self, name)
                stated = type(before)(match[1])
                return None if stated == before else self._replace(**{name: stated})
        return None

    def after_too_large(self, size: int) -> "Limits":
        """Return the limits after a request of ``size`` bytes was rejected. Half is a guess: errors don't say more."""
        return self._replace(body=min(self.body, max(1, size // 2)))


_PATTERNS: Final = {
    "buckets": r"less than or equal to: \[(\d+)\].*?\[search\.max_buckets\]",
    "window": r"less than or equal to: \[(\d+)\].*?\[index\.max_result_window\]",
    "terms": r"allowed maximum of \[(\d+)\].*?\[index\.max_terms_count\]",
    "keep_alive": r"must be less than \((\w+)\).*?\[search\.max_keep_alive\]",
}
"""Patterns for the limits that a server states when it rejects a request [9.5.3]."""


class LimitError(Exception):
    """A request asked for more than the server allows."""

    def __init__(self, limits: Limits) -> None:
        """``limits`` are the limits to use from now on."""
        super().__init__()
        self.limits = limits


def is_too_large(error: Exception) -> bool:
    """Whether a request was rejected for its size, by the server or by a proxy in front of it."""
    return isinstance(error, ApiError) and error.meta.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def too_large(size: str = "") -> str:
    """Return the message for a request that was too large, with the settings that allow larger ones."""
    return (
        f"a request{size} is larger than the server, or a proxy before it, takes: "
        "raise http.max_content_length there, or the proxy's limit (nginx: client_max_body_size)"
    )

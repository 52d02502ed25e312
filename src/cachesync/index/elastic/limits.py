"""How much one request may ask of a server: what an administrator allows, as far as the server has said so.

Few may read a cluster's settings, and all of these can change at any time. So requests ask for what servers allow by
default, and for less once a refusal has told how much less.
"""

import re
from http import HTTPStatus
from typing import Final, NamedTuple

from elasticsearch import ApiError

EXPENSIVE: Final = "search.allow_expensive_queries"


class Limits(NamedTuple):
    """What one request asks for at most."""

    prefixes: bool = True
    """Queries for the beginning of a value or word are run (``search.allow_expensive_queries``)."""
    buckets: int = 65_535
    """Buckets of all aggregations together (``search.max_buckets``)."""
    window: int = 10_000
    """Hits (``index.max_result_window``)."""
    terms: int = 65_536
    """Values of one ``terms`` query (``index.max_terms_count``)."""
    keep_alive: str = "5m"
    """How long the server keeps a state of the index for who is walking it (``search.max_keep_alive``)."""
    body: int = 100_000_000
    """Bytes (``http.max_content_length``, or what a proxy lets through)."""

    def after(self, error: ApiError) -> "Limits | None":
        """Return the limits that a refusal tells of; None if it tells of none, or of none that isn't kept already."""
        said = str(error.body)
        if self.prefixes and EXPENSIVE in said:
            return self._replace(prefixes=False)
        for name, pattern in _TOLD.items():
            if match := re.search(pattern, said):
                before = getattr(self, name)
                told = type(before)(match[1])
                return None if told == before else self._replace(**{name: told})
        return None

    def after_too_large(self, size: int) -> "Limits":
        """Return the limits after a request of so many bytes was refused: nobody says how many would do."""
        return self._replace(body=min(self.body, max(1, size // 2)))


_TOLD: Final = {
    "buckets": r"less than or equal to: \[(\d+)\].*?\[search\.max_buckets\]",
    "window": r"less than or equal to: \[(\d+)\].*?\[index\.max_result_window\]",
    "terms": r"allowed maximum of \[(\d+)\].*?\[index\.max_terms_count\]",
    "keep_alive": r"must be less than \((\w+)\).*?\[search\.max_keep_alive\]",
}
"""How a server tells a limit in the sentence by which it refuses a request [9.5.3]."""


class LimitError(Exception):
    """A request asked for more than the server allows."""

    def __init__(self, limits: Limits) -> None:
        """``limits`` are those to keep from now on."""
        super().__init__()
        self.limits = limits


def is_too_large(error: Exception) -> bool:
    """Tell whether a request was refused for its size, by the server or by a proxy before it."""
    return isinstance(error, ApiError) and error.meta.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def too_large(size: str = "") -> str:
    """Say that a request was too large, and which settings allow larger ones."""
    return (
        f"a request{size} is larger than the server, or a proxy before it, takes: "
        "raise http.max_content_length there, or the proxy's limit (nginx: client_max_body_size)"
    )

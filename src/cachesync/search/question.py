"""What somebody asks, whichever way."""

from typing import NamedTuple

from cachesync.search.interpretation import Mode
from cachesync.search.request import DEFAULT_LIMIT, Facet, Filter, SortKey
from cachesync.search.targets import Machine


class Question(NamedTuple):
    """What somebody asks."""

    text: str = ""
    mode: Mode = "auto"
    filters: tuple[Filter, ...] = ()
    tag: str | None = None
    """A tag, or :data:`LATEST`."""
    machine: Machine | None = None
    """What binaries are to run on."""
    facets: tuple[Facet, ...] = ()
    order: tuple[SortKey, ...] = ()
    """None: the names that fit best first, and by :data:`cachesync.search.request.DEFAULT_ORDER`."""
    limit: int = DEFAULT_LIMIT
    distinct: bool = False

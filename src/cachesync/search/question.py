"""Questions in the form that the command line, the HTTP interface and the page share."""

from typing import NamedTuple

from cachesync.search.interpretation import Mode
from cachesync.search.request import DEFAULT_LIMIT, Facet, Filter, SortKey
from cachesync.search.targets import Machine


class Question(NamedTuple):
    """A search as a user requests it."""

    text: str = ""
    mode: Mode = "auto"
    filters: tuple[Filter, ...] = ()
    tag: str | None = None
    """A tag, or :data:`LATEST`."""
    machine: Machine | None = None
    """The machine on which binaries must run."""
    facets: tuple[Facet, ...] = ()
    order: tuple[SortKey, ...] = ()
    """The sort keys. If empty, the best-fitting names come first, then hits are in
    :data:`cachesync.search.request.DEFAULT_ORDER`."""
    limit: int = DEFAULT_LIMIT
    distinct: bool = False

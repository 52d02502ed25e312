"""The elementary searches of one index, of which all other searches consist.

Each search asks for no more than the server allows. If the server rejects a request and states a limit, another request
asks for less, see :mod:`cachesync.index.elastic.limits`.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any, Final

from elasticsearch import ApiError, BadRequestError, Elasticsearch, NotFoundError

from cachesync.errors import ExcessiveError, IndexUnavailableError
from cachesync.index.elastic.connection import Connection, unreadable
from cachesync.index.elastic.limits import EXPENSIVE, LimitError, Limits
from cachesync.index.elastic.query_dsl import ByValues

_BUCKET_COUNT: Final = 20_000
"""How many buckets one search asks for, unless the server allows fewer."""

_BUCKETS: Final = "buckets"

_NAMES_BYTES: Final = 10_000
"""How many bytes of names go into one request: including separators, fewer than what small proxies let through."""

ENUM_SIZE: Final = 10_000
"""How many values one request lists."""

_ENUM_TIMEOUT: Final = "20s"

MAX_VALUES: Final = 65_536
"""How many values may stand in for their common prefix on a server that doesn't allow prefix queries."""

Body = Callable[[Limits], dict[str, Any]]
"""Returns the body of a search that stays within the given limits."""

Send = Callable[[Elasticsearch], Any]
"""Sends a request with a client."""


class IndexSearcher:
    """Searches one index."""

    def __init__(self, connection: Connection, index: str) -> None:
        self.connection = connection
        self.index = index

    def search(self, body: Body, *, in_pit: bool = False) -> dict[str, Any]:
        """Search the index or, if ``in_pit``, the point in time that the body names.

        Raises:
            NotFoundError: the point in time doesn't exist.
            ExcessiveError: the facets have more values than the server counts.
        """
        index = None if in_pit else self.index

        def searching(limits: Limits) -> Send:
            # The client's arguments are named like a body's keys, but without underscores.
            arguments = {name.removeprefix("_"): value for name, value in body(limits).items()}
            return lambda client: client.search(index=index, allow_partial_search_results=False, **arguments)

        try:
            return self.request(searching, (BadRequestError, *([NotFoundError] if in_pit else [])))
        except BadRequestError as error:
            if "search.max_buckets" in str(error.body):
                raise ExcessiveError(
                    f"the facets have more values than {self.connection.server.url} counts in one search "
                    f"(search.max_buckets is {self.connection.limits.buckets:,}): ask for fewer, as in --facet os:10"
                ) from None
            raise self.connection.explained(error) from error

    def request(self, sending: Callable[[Limits], Send], expected: tuple[type[ApiError], ...] = ()) -> dict[str, Any]:
        """Send a request that ``sending`` creates for the current limits. ``expected`` errors are raised unchanged."""
        while True:
            limits = self.connection.limits
            try:
                return self.connection.call(partial(_sent, sending(limits), limits), expected)
            except LimitError as error:
                self.connection.limits = error.limits

    def total(self) -> int:
        """Count all documents."""
        return int(self.search(lambda _limits: {"size": 0, "track_total_hits": True})["hits"]["total"]["value"])

    def buckets(self, source: dict[str, Any], more: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield all buckets of a source, however many there are, each with ``more`` aggregations of its documents."""
        after: dict[str, Any] = {}
        while True:
            found = self.search(partial(_some_buckets, source, more, after))["aggregations"][_BUCKETS]
            yield from found["buckets"]
            if "after_key" not in found:
                return
            after = {"after": found["after_key"]}

    def get(self, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield those documents with these ids that exist, even documents that haven't been refreshed yet."""
        for batch in batches(ids):
            for found in self.connection.call(partial(Elasticsearch.mget, index=self.index, ids=batch))["docs"]:
                if "error" in found:
                    raise unreadable(self.index, found["error"], self.connection.server.url)
                if found["found"]:
                    yield found

    def vocabulary(self, field: str, start: str, at_most: int | None = None) -> list[str]:
        """Return the sorted values of a field that begin with ``start``. Nothing is counted.

        Raises:
            ExcessiveError: there are more than ``at_most`` values.
        """
        values: list[str] = []
        while at_most is None or len(values) <= at_most:
            more = self._next_values(field, start, values[-1] if values else None)
            values += more
            if len(more) < ENUM_SIZE:
                return values
        self.connection.limits = self.connection.limits._replace(prefixes=True)  # the setting may have changed
        raise ExcessiveError(
            f"too many values of {field} begin with {start!r:.80}: type more of it, "
            f"or set {EXPENSIVE} to true at {self.connection.server.url}"
        )

    def _next_values(self, field: str, start: str, after: str | None) -> list[str]:
        found = self.connection.call(
            lambda client: client.terms_enum(
                index=self.index, field=field, string=start, size=ENUM_SIZE, timeout=_ENUM_TIMEOUT, search_after=after
            )
        )
        if not found["complete"]:
            raise IndexUnavailableError(f"{self.index} could not list the values of {field} within {_ENUM_TIMEOUT}")
        return list(found["terms"])

    def by_values(self, *, bounded: bool = True) -> Callable[[Limits], ByValues | None]:
        """Return a function that maps limits to how one search expresses prefixes and ranges.

        Values are listed only once. If ``bounded``, at most :data:`MAX_VALUES` are listed for a prefix.
        """
        starting = cache(partial(self.vocabulary, at_most=MAX_VALUES if bounded else None))
        return lambda limits: None if limits.prefixes else ByValues(starting, limits.terms)


def _sent(send: Send, limits: Limits, client: Elasticsearch) -> Any:
    """Send a request that stays within limits.

    Raises:
        LimitError: the server allows less than the request asks for.
    """
    try:
        return send(client)
    except ApiError as error:
        if less := limits.after(error):
            raise LimitError(less) from None
        raise


def _some_buckets(
    source: dict[str, Any], more: dict[str, Any], after: dict[str, Any], limits: Limits
) -> dict[str, Any]:
    """Return the search for a source's next buckets, as many as one request may ask for. They begin ``after`` a key."""
    composite = {"size": min(_BUCKET_COUNT, limits.buckets), "sources": [source], **after}
    return {"size": 0, "aggs": {_BUCKETS: {"composite": composite, "aggs": more}}}


def batches(names: Sequence[str]) -> Iterator[list[str]]:
    """Divide names into batches that each fit into one request."""
    part: list[str] = []
    size = 0
    for name in names:
        size += len(name.encode())
        if part and size > _NAMES_BYTES:
            yield part
            part, size = [], len(name.encode())
        part.append(name)
    if part:
        yield part

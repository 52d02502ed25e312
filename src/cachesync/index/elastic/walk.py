"""Walks all documents that match a search, in the search's order, however many there are."""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

from elasticsearch import Elasticsearch, NotFoundError

from cachesync.errors import IndexUnavailableError
from cachesync.index.elastic import query_dsl
from cachesync.index.elastic.limits import Limits
from cachesync.index.elastic.searcher import Body, IndexSearcher
from cachesync.search.request import Part, Request

WALK_SIZE: Final = 5_000
"""How many documents one search of a walk asks for."""

PART_SIZE: Final = 2_000
"""How many documents of a walk are returned as one part."""

_NOT_WALKED: Final = ("aggs", "collapse", "track_total_hits")
"""The parts of a search body that a walk leaves out."""

_MAX_LOST_PITS: Final = 5
"""How often in a row a server may lose a point in time that it has just opened."""


def walk(searcher: IndexSearcher, request: Request) -> Iterator[Part]:
    """Yield all documents that match a request, as they are now and in the request's order, in parts."""
    listing = searcher.by_values()
    found = walk_search(searcher, lambda limits: query_dsl.body(request, listing(limits)))
    while some := list(islice(found, PART_SIZE)):
        rank = len(request.ranks) - round(some[-1]["sort"][0]) if request.ranks else 0
        yield Part(list(map(query_dsl.hit, some)), rank)


def walk_search(searcher: IndexSearcher, body: Body) -> Iterator[dict[str, Any]]:
    """Yield all hits of a search, in the search's order; see :func:`walk_hits`."""

    def wanted(limits: Limits) -> dict[str, Any]:
        return {name: value for name, value in body(limits).items() if name not in _NOT_WALKED}

    return walk_hits(searcher, wanted, wanted(searcher.connection.limits)["sort"])


def walk_hits(searcher: IndexSearcher, body: Body, sort: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield all hits, as they are now, however many there are.

    The server may lose the point in time, because a node was restarted or the caller consumes the hits slowly. The walk
    then continues in a new point in time, after the last hit, whose position in ``sort`` must be unique. An empty
    ``sort`` means the server's own order, which is cheapest; a walk then starts over, and yields some hits twice.
    """
    pit = _open_pit(searcher)
    last: list[Any] = []
    lost = 0
    while lost < _MAX_LOST_PITS:
        try:
            found = searcher.search(partial(_step, body, pit, sort, last), in_pit=True)
        except NotFoundError as error:
            if "search_context_missing_exception" not in str(error.body):
                raise searcher.connection.explained(error) from error
            lost += 1
            pit, last = _open_pit(searcher), last[: len(sort)]  # the tiebreaker was valid only in the lost pit
            continue
        lost = 0
        pit = found["pit_id"]
        hits = found["hits"]["hits"]
        yield from hits
        if len(hits) < min(WALK_SIZE, searcher.connection.limits.window):
            # The point in time of an unfinished walk is left to expire.
            searcher.connection.attempt(partial(Elasticsearch.close_point_in_time, id=pit))
            return
        last = hits[-1]["sort"]
    raise IndexUnavailableError(f"{searcher.index} can't be walked: the server keeps losing the point in time")


def _step(body: Body, pit: str, sort: list[dict[str, Any]], last: list[Any], limits: Limits) -> dict[str, Any]:
    """Return the search for the next hits of a walk, after the sort values ``last``."""
    return {
        **body(limits),
        "sort": sort or [{"_shard_doc": "asc"}],
        **({"search_after": last} if last else {}),
        "pit": {"id": pit, "keep_alive": limits.keep_alive},
        "size": min(WALK_SIZE, limits.window),
    }


def _open_pit(searcher: IndexSearcher) -> str:
    """Open a point in time of an index, and return its id."""
    opening = partial(Elasticsearch.open_point_in_time, index=searcher.index)
    return str(searcher.request(lambda limits: partial(opening, keep_alive=limits.keep_alive))["id"])

"""Answers requests with one search, or with a few if the server limits what one search may ask for."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from cachesync.index.distinct import first_of_each
from cachesync.index.elastic import query_dsl
from cachesync.index.elastic.limits import Limits
from cachesync.index.elastic.searcher import Body, IndexSearcher
from cachesync.index.elastic.walk import walk_search
from cachesync.search.query import Query
from cachesync.search.request import BINARIES, EXACT_BINARIES, FacetCount, Found, Request


def search(searcher: IndexSearcher, request: Request) -> Found:
    """Return the hits of a request, in the request's order, with all counts."""
    listing = searcher.by_values()

    def body(limits: Limits) -> dict[str, Any]:
        size = request.limit if request.limit <= limits.window else 0
        return {**query_dsl.body(request, listing(limits)), "size": size}

    found = searcher.search(body)
    total = found["hits"]["total"]["value"]
    within = request.limit <= searcher.connection.limits.window
    hits = found["hits"]["hits"] if within else islice(_all_hits(searcher, body, request), request.limit)
    counts = {facet.field: query_dsl.aggregated(found, facet.field) for facet in request.facets}
    approximate = [field for field, values in counts.items() if values["doc_count_error_upper_bound"]]
    binaries = _binaries(searcher, request, total) if request.binaries else None
    if request.binaries and binaries is None:
        binaries = min(total, query_dsl.aggregated(found, BINARIES)["value"])
        approximate.append(BINARIES)
    facets = {
        # The key of a date's bucket is a number, so use the date as it stands in the documents.
        field: [FacetCount(each.get("key_as_string", each["key"]), each["doc_count"]) for each in values["buckets"]]
        for field, values in counts.items()
    }
    return Found(total, list(map(query_dsl.hit, hits)), facets, binaries, tuple(approximate))


def count(searcher: IndexSearcher, queries: Sequence[Query]) -> list[int]:
    """Count the documents that match each of the queries."""
    if not queries:
        return []
    listing = searcher.by_values()
    found = searcher.search(lambda limits: query_dsl.counting(queries, listing(limits)))
    return [each["doc_count"] for each in query_dsl.aggregated(found, query_dsl.COUNTS)["buckets"]]


def _binaries(searcher: IndexSearcher, request: Request, total: int) -> int | None:
    """Count the binaries of a request's documents exactly. Return None if there are too many to do so."""
    if total > EXACT_BINARIES:
        return None
    listing = searcher.by_values()
    found = searcher.search(lambda limits: query_dsl.binaries(request, limits.buckets, listing(limits)))
    listed = query_dsl.aggregated(found, BINARIES)
    return None if listed["sum_other_doc_count"] else len(listed["buckets"])


def _all_hits(searcher: IndexSearcher, body: Body, request: Request) -> Iterator[dict[str, Any]]:
    """Yield all hits, however many there are. Duplicates are dropped here, because servers don't collapse a walk."""
    found = walk_search(searcher, body)
    return first_of_each(found, lambda hit: hit["_source"]["binary"] if request.distinct else hit["_id"])

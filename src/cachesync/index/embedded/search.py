"""Answers requests: finds the hits in their order, and counts documents, binaries and values.

Tantivy sorts by one field only, so documents with the same value of that field are sorted here or searched for again.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from operator import itemgetter
from typing import Any, Final

from cachesync.documents import BINARY_NUMBER
from cachesync.index.distinct import first_of_each
from cachesync.index.embedded import schema as layout
from cachesync.index.embedded.queries import folded
from cachesync.index.embedded.searcher import MOST_VALUES, CommitSearcher
from cachesync.search.query import All, And, Exists, Not, Or, Query, Term
from cachesync.search.request import BINARIES, EXACT_BINARIES, TIEBREAK, FacetCount, Found, Hit, Request, SortKey

_MORE: Final = 4
"""The factor by which more documents are read if too many of them had the same binaries."""

_FEW: Final = 64
"""Up to this many documents are sorted here, which takes less time than another search."""

_TOTAL: Final = "total"

_ID_KEY: Final = SortKey(layout.ID)


def search(searcher: CommitSearcher, request: Request) -> Found:
    """Return the hits of a request, in the request's order, with all counts."""
    whole = request.matching()
    by_query: dict[Query, set[str]] = {whole: set()}
    for facet in request.facets:
        by_query.setdefault(request.matching(facet.field), set()).add(facet.field)
    found = _counted(searcher, whole, by_query.pop(whole), binaries=request.binaries)
    for query, fields in by_query.items():
        found = _counted(searcher, query, fields, binaries=False) | found
    total = round(found[_TOTAL]["value"])
    hits = _hits(searcher, whole, request, total)
    facets = {facet.field: found[facet.field][: facet.size] for facet in request.facets}
    if not request.binaries:
        return Found(total, hits, facets)
    if total > EXACT_BINARIES:
        estimate = round(found[BINARIES]["value"]) if BINARIES in found else 0
        return Found(total, hits, facets, min(total, estimate), (BINARIES,))
    return Found(total, hits, facets, _binaries(searcher, whole))


def _counted(searcher: CommitSearcher, query: Query, fields: Collection[str], *, binaries: bool) -> dict[str, Any]:
    """Count the values of fields, documents and binaries in one search: finding documents takes most of the time.

    The result maps each field to all its values, and other names to what tantivy returns for total and binaries.
    """
    known = [field for field in fields if field in searcher.fields]
    aggregations: dict[str, Any] = {field: _values_of(field, MOST_VALUES) for field in known}
    if binaries and BINARY_NUMBER in searcher.fields:
        aggregations[BINARIES] = {"cardinality": {"field": BINARY_NUMBER}}
    aggregations[_TOTAL] = {"value_count": {"field": layout.ID}}
    try:
        found = searcher.aggregate(query, aggregations)
    except ValueError:  # the fields together may have more values than tantivy counts in one search
        if len(known) < 2:
            raise
        first, *others = fields
        rest = _counted(searcher, query, others, binaries=False)
        return rest | _counted(searcher, query, [first], binaries=binaries)
    for field in known:
        values = [(each["key"], each["doc_count"]) for each in found[field]["buckets"]]
        is_whole = len(values) < MOST_VALUES and not found[field]["sum_other_doc_count"]
        found[field] = _by_frequency(values if is_whole else searcher.values(field, query))
    return {field: [] for field in fields} | found


def _binaries(searcher: CommitSearcher, matching: Query) -> int:
    """Count the binaries of a few documents exactly."""
    if BINARY_NUMBER not in searcher.fields:
        return len(searcher.values("binary", matching))
    found = searcher.aggregate(matching, {BINARIES: _values_of(BINARY_NUMBER, EXACT_BINARIES)})
    return len(found[BINARIES]["buckets"])


def sort_keys(searcher: CommitSearcher, request: Request) -> tuple[SortKey, ...]:
    """Return all sort keys of a request; the last one is unique."""
    return tuple(key for key in (*request.order, *TIEBREAK, _ID_KEY) if key.field in searcher.fields)


def _hits(searcher: CommitSearcher, matching: Query, request: Request, total: int) -> list[Hit]:
    """Return the hits, with only the fields that the request asks for."""
    found = _in_order(searcher, matching, request, total)
    hits = islice(first_of_each(found, itemgetter("binary")) if request.distinct else found, request.limit)
    if not request.fields:
        return list(hits)
    return [{name: hit[name] for name in (layout.ID, *request.fields) if name in hit} for hit in hits]


def _in_order(searcher: CommitSearcher, matching: Query, request: Request, total: int) -> Iterator[Hit]:
    """Yield all documents rank by rank, reading them as needed. A rank leaves out the documents of earlier ranks.

    A search takes longer the more words it has, so searches that can't find anything are skipped. Documents are read in
    steps, because tantivy allocates memory for as many documents as are asked for.
    """
    keys = sort_keys(searcher, request)
    passed = 0
    for place, rank in enumerate((*request.ranks, All())):
        if passed == total:
            return
        part = And((matching, rank, Not(Or(request.ranks[:place])))) if place else And((matching, rank))
        whole = total - passed if isinstance(rank, All) else searcher.count(part)
        missing = request.limit - passed if request.limit > passed else request.limit
        number = min(whole, missing * 2 if request.distinct else missing)
        seen = 0
        while seen < whole:
            yield from sorted_by(_first(searcher, part, keys, number, whole), keys)[seen:number]
            number, seen = min(whole, number * _MORE), number
        passed += whole


def _first(
    searcher: CommitSearcher, query: Query, keys: tuple[SortKey, ...], limit: int, whole: int | None = None
) -> list[Hit]:
    """Return the first ``limit`` documents in the order of ``keys``, and possibly a few more, not yet sorted.

    Tantivy sorts by one field only. So the documents with the last value that is reached are searched for again, by
    the next keys, and documents without a value follow. If few documents match, all are returned. ``whole`` is the
    number of documents that match, if that number is known.
    """
    if limit <= 0:
        return []
    if whole is None or whole <= _FEW:
        few, whole = searcher.some(query, _FEW)
        if whole <= _FEW:
            return searcher.hits(few)
    key, *others = keys
    rest = tuple(others)
    found = searcher.first(query, key, limit)
    if not rest or len(found) == whole:
        return searcher.hits(address for _, address in found)
    if len(found) < limit:
        hits = searcher.hits(address for _, address in found)
        return hits + _first(searcher, And((query, Not(Exists(key.field)))), rest, limit - len(hits), whole - len(hits))
    last = found[-1][0]
    hits = searcher.hits(address for value, address in found if value != last)
    return hits + _first(searcher, And((query, Term(key.field, last))), rest, limit - len(hits))


def _values_of(field: str, most: int) -> dict[str, Any]:
    """Return the aggregation that counts documents by the values of a field."""
    return {"terms": {"field": field, "size": most, "segment_size": most}}


def _by_frequency(values: Iterable[tuple[str, int]]) -> list[FacetCount]:
    """Sort values by descending frequency, then alphabetically."""
    return sorted((FacetCount(*each) for each in values), key=lambda each: (-each.documents, each.value))


def sorted_by(hits: list[Hit], keys: tuple[SortKey, ...]) -> list[Hit]:
    """Sort documents by several keys."""
    for key in reversed(keys):
        with_value = [hit for hit in hits if key.field in hit]
        without = [hit for hit in hits if key.field not in hit]
        with_value.sort(key=lambda hit, field=key.field: folded(field, hit[field]), reverse=key.descending)  # type: ignore[misc]
        hits = with_value + without
    return hits

"""Translates the query tree and the order of a request into Elasticsearch's query DSL."""

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, Final, NamedTuple

from cachesync.documents import BINARY_NUMBER, FIELDS
from cachesync.search.query import All, And, Condition, Exists, In, Not, Or, Prefix, Query, Range, Term
from cachesync.search.request import BINARIES, EXACT_BINARIES, TIEBREAK, Filter, Hit, Request, SortKey

_MAX_TERMS: Final = 65_536
"""How many values one ``terms`` query may list by default."""


class ByValues(NamedTuple):
    """Replaces prefix and range queries with lists of values, for a server that doesn't allow such queries."""

    starting: Callable[[str, str], Sequence[str]]
    """Returns the values of a field that begin with a string."""
    terms: int
    """How many values one ``terms`` query may list."""


def query(tree: Query, by_values: ByValues | None = None) -> dict[str, Any]:
    """Translate a query tree into an Elasticsearch query without scores."""
    match tree:
        case All():
            return {"match_all": {}}
        case Not(part):
            return {"bool": {"must_not": [query(part, by_values)]}}
        case And(parts):
            return {"bool": {"filter": [query(part, by_values) for part in parts]}} if parts else {"match_all": {}}
        case Or(parts):
            alternatives = {"should": [query(part, by_values) for part in parts], "minimum_should_match": 1}
            return {"bool": alternatives} if parts else {"match_none": {}}
        case _:
            return _condition(tree, by_values)


def _condition(tree: Condition, by_values: ByValues | None) -> dict[str, Any]:
    match tree:
        case Term(field, value):
            return {"term": {field: value}}
        case In(field, values):
            return _terms(field, values, by_values.terms if by_values else _MAX_TERMS)
        case Range():
            return _range(tree, by_values)
        case Prefix(field, start):
            if by_values is None:
                return {"prefix": {field: start}}
            return _terms(field, by_values.starting(field, start), by_values.terms)
        case Exists(field):
            return {"exists": {"field": field}}


def _range(tree: Range, by_values: ByValues | None) -> dict[str, Any]:
    if by_values and FIELDS[tree.field].kind == "keyword":
        both = zip(str(tree.at_least or ""), str(tree.below or ""), strict=False)
        start = "".join(character for character, _ in takewhile(lambda pair: pair[0] == pair[1], both))
        return _terms(tree.field, tree.among(by_values.starting(tree.field, start)), by_values.terms)
    bounds = {name: bound for name, bound in (("gte", tree.at_least), ("lt", tree.below)) if bound is not None}
    return {"range": {tree.field: bounds}} if bounds else {"exists": {"field": tree.field}}


def _terms(field: str, values: Sequence[str], at_most: int) -> dict[str, Any]:
    parts = [values[start : start + at_most] for start in range(0, len(values), at_most)]
    return {"bool": {"should": [{"terms": {field: part}} for part in parts]}} if parts else {"match_none": {}}


def body(request: Request, by_values: ByValues | None = None) -> dict[str, Any]:
    """Return the body of the search for a request, without the size.

    A facet counts what the query and the filters on other fields match, so filters on faceted fields are applied after
    the aggregations. All other filters are part of the query, and so narrow both hits and facets.
    """
    faceted = {facet.field for facet in request.facets}
    late = tuple(each for each in request.filters if each.field in faceted)
    early = And((request.query, *(each.query() for each in request.filters if each not in late)))
    found: dict[str, Any] = {
        "query": _ranked(early, request.ranks, by_values),
        "sort": [*([{"_score": {"order": "desc"}}] if request.ranks else []), *ordered((*request.order, *TIEBREAK))],
        "track_total_hits": True,
        "_source": list(request.fields) or True,
    }
    if late:
        found["post_filter"] = query(_all_of(late))
    if request.distinct:
        found["collapse"] = {"field": "binary"}
    if aggregations := _aggregations(request, late):
        found["aggs"] = aggregations
    return found


_PRECISION: Final = 40_000
"""The number of distinct values up to which the server's estimate is close. Higher thresholds aren't accepted."""


def _aggregations(request: Request, late: tuple[Filter, ...]) -> dict[str, Any]:
    """Return all aggregations. Aggregations with the same filters are grouped below one filter aggregation."""
    wanted = {facet.field: {"terms": {"field": facet.field, "size": facet.size}} for facet in request.facets}
    if request.binaries:
        wanted[BINARIES] = {"cardinality": {"field": BINARY_NUMBER, "precision_threshold": _PRECISION}}
    by_filters: dict[tuple[Filter, ...], dict[str, Any]] = {}
    for name, aggregation in wanted.items():
        by_filters.setdefault(tuple(each for each in late if each.field != name), {})[name] = aggregation
    found = by_filters.pop((), {})
    for number, (filters, aggregations) in enumerate(by_filters.items()):
        found[f"{_PASSING}{number}"] = {"filter": query(_all_of(filters)), "aggs": aggregations}
    return found


def binaries(request: Request, buckets: int, by_values: ByValues | None = None) -> dict[str, Any]:
    """Return the search that lists the binaries of a few documents, with an aggregation called :data:`BINARIES`.

    The search lists at most ``buckets`` binaries, which is the server's limit.
    """
    values = {"terms": {"field": "binary", "size": min(EXACT_BINARIES, buckets)}}
    matching = query(request.matching(), by_values)
    return {"size": 0, "query": matching, "aggs": {BINARIES: values}}


COUNTS: Final = "counts"


def counting(queries: Sequence[Query], by_values: ByValues | None = None) -> dict[str, Any]:
    """Return the search that counts the documents of each query, with an aggregation called :data:`COUNTS`."""
    filters = [query(each, by_values) for each in queries]
    either = {"bool": {"should": filters, "minimum_should_match": 1}}
    return {"size": 0, "query": either, "aggs": {COUNTS: {"filters": {"filters": filters}}}}


def _ranked(matching: Query, ranks: Sequence[Query], by_values: ByValues | None) -> dict[str, Any]:
    """Score each document by the first rank that it matches; the first rank has the highest score."""
    scores = [
        {"constant_score": {"filter": query(rank, by_values), "boost": float(len(ranks) - place)}}
        for place, rank in enumerate(ranks)
    ]
    filtered = {"filter": [query(matching, by_values)]}
    if not scores:
        return {"bool": filtered}
    return {"bool": {**filtered, "should": [{"dis_max": {"queries": scores}}], "minimum_should_match": 0}}


def ordered(keys: Sequence[SortKey]) -> list[dict[str, Any]]:
    """Return the sort clause for these keys."""
    return [
        {key.field: {"order": "desc" if key.descending else "asc", "missing": "_last", "unmapped_type": "keyword"}}
        for key in keys
    ]


_PASSING: Final = "passing "
"""Prefix of the names of filter aggregations. No field's name begins with it."""


def aggregated(answer: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an aggregation's result from the response to :func:`body`, :func:`binaries` or :func:`counting`."""
    found: dict[str, Any] = answer["aggregations"]
    within = (each for key, each in found.items() if key.startswith(_PASSING))
    values: dict[str, Any] = next(each[name] for each in (found, *within) if name in each)
    return values


def hit(found: dict[str, Any]) -> Hit:
    """Return a document that the server has found, including its ``_id``."""
    return {"_id": found["_id"], **found["_source"]}


def _all_of(filters: tuple[Filter, ...]) -> And:
    return And(tuple(each.query() for each in filters))

"""The search tree and the request's order, in Elasticsearch's terms."""

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, Final, NamedTuple

from cachesync.documents import BINARY_NUMBER, FIELDS
from cachesync.search.query import All, And, Condition, Exists, In, Not, Or, Prefix, Query, Range, Term
from cachesync.search.request import BINARIES, EXACT_BINARIES, TIEBREAK, Filter, Request, SortKey

_MAX_TERMS: Final = 65_536
"""How many values a server lets one query name by default."""


class ByValues(NamedTuple):
    """How to ask a server that runs no queries for the beginning of a value, or for a range: by all values there."""

    starting: Callable[[str, str], Sequence[str]]
    """Returns the values of a field that start like a text."""
    terms: int
    """How many values one query may name."""


def query(tree: Query, by_values: ByValues | None = None) -> dict[str, Any]:
    """Turn the tree into Elasticsearch's. Nothing in it is scored."""
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
            return _terms(field, by_values.starting(field, start), by_values.terms) if by_values else _prefix(tree)
        case Exists(field):
            return {"exists": {"field": field}}


def _range(tree: Range, by_values: ByValues | None) -> dict[str, Any]:
    if by_values and FIELDS[tree.field].kind == "keyword":
        both = zip(str(tree.at_least or ""), str(tree.below or ""), strict=False)
        start = "".join(character for character, _ in takewhile(lambda pair: pair[0] == pair[1], both))
        return _terms(tree.field, tree.among(by_values.starting(tree.field, start)), by_values.terms)
    bounds = {name: bound for name, bound in (("gte", tree.at_least), ("lt", tree.below)) if bound is not None}
    return {"range": {tree.field: bounds}} if bounds else {"exists": {"field": tree.field}}


def _prefix(tree: Prefix) -> dict[str, Any]:
    return {"prefix": {tree.field: tree.start}}


def _terms(field: str, values: Sequence[str], at_most: int) -> dict[str, Any]:
    parts = [values[start : start + at_most] for start in range(0, len(values), at_most)]
    return {"bool": {"should": [{"terms": {field: part}} for part in parts]}} if parts else {"match_none": {}}


def body(request: Request, by_values: ByValues | None = None) -> dict[str, Any]:
    """Return the search without its size.

    Facets count what the query and the filters of other fields match, so filters of faceted fields come after the
    aggregations. All other filters come first, where they narrow everything at once.
    """
    faceted = {facet.field for facet in request.facets}
    late = tuple(each for each in request.filters if each.field in faceted)
    early = And((request.query, *(each.query() for each in request.filters if each not in late)))
    found: dict[str, Any] = {
        "query": _ranked(early, request.ranks, by_values),
        "sort": _order(request),
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
"""Up to about how many distinct values the server's estimate is close; it takes no higher threshold."""


def _aggregations(request: Request, late: tuple[Filter, ...]) -> dict[str, Any]:
    """Return all aggregations; those that leave the same documents out are below one that does so."""
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
    """Return the search that lists the binaries of few documents, by an aggregation called :data:`BINARIES`.

    It lists no more than the server makes ``buckets``.
    """
    values = {"terms": {"field": "binary", "size": min(EXACT_BINARIES, buckets)}}
    matching = query(request.matching(), by_values)
    return {"size": 0, "query": matching, "aggs": {BINARIES: values}}


COUNTS: Final = "counts"


def counting(queries: Sequence[Query], by_values: ByValues | None = None) -> dict[str, Any]:
    """Return the search that counts what matches each query, by an aggregation called :data:`COUNTS`."""
    filters = [query(each, by_values) for each in queries]
    either = {"bool": {"should": filters, "minimum_should_match": 1}}
    return {"size": 0, "query": either, "aggs": {COUNTS: {"filters": {"filters": filters}}}}


def _ranked(matching: Query, ranks: Sequence[Query], by_values: ByValues | None) -> dict[str, Any]:
    """Score a document by the first rank that it matches: the best one counts, and the first is the highest."""
    scores = [
        {"constant_score": {"filter": query(rank, by_values), "boost": float(len(ranks) - place)}}
        for place, rank in enumerate(ranks)
    ]
    filtered = {"filter": [query(matching, by_values)]}
    if not scores:
        return {"bool": filtered}
    return {"bool": {**filtered, "should": [{"dis_max": {"queries": scores}}], "minimum_should_match": 0}}


def _order(request: Request) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = [{"_score": {"order": "desc"}}] if request.ranks else []
    return keys + ordered((*request.order, *TIEBREAK))


def ordered(keys: Sequence[SortKey]) -> list[dict[str, Any]]:
    """Return how to sort by fields."""
    return [_key(key) for key in keys]


def _key(key: SortKey) -> dict[str, Any]:
    return {key.field: {"order": "desc" if key.descending else "asc", "missing": "_last", "unmapped_type": "keyword"}}


_PASSING: Final = "passing "
"""What aggregations are called that leave out documents. No field is called so."""


def aggregated(answer: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what an aggregation of :func:`body` or :func:`binaries` came to."""
    found: dict[str, Any] = answer["aggregations"]
    within = (each for key, each in found.items() if key.startswith(_PASSING))
    values: dict[str, Any] = next(each[name] for each in (found, *within) if name in each)
    return values


def _all_of(filters: tuple[Filter, ...]) -> And:
    return And(tuple(each.query() for each in filters))

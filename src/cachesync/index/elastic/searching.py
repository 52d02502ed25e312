"""The search tree and the request's order, in Elasticsearch's terms."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from cachesync.search.query import All, And, Condition, Exists, In, Not, Or, Prefix, Query, Range, Term, Words
from cachesync.search.request import TIEBREAK, Facet, Request, SortKey

_MAX_TERMS: Final = 65_536
"""How many values a server lets one query name by default."""

MAX_EXPANSIONS: Final = 100_000
"""How many words may begin with what was typed. The server's own bound on clauses comes first."""


class ByValues(NamedTuple):
    """How to ask a server that runs no queries for the beginning of a value: by all values that begin so."""

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
        case Range(field, at_least, below):
            return _range(field, at_least, below)
        case Prefix(field, start):
            return _terms(field, by_values.starting(field, start), by_values.terms) if by_values else _prefix(tree)
        case Words():
            return _words(tree, by_values)
        case Exists(field):
            return {"exists": {"field": field}}


def _range(field: str, at_least: str | None, below: str | None) -> dict[str, Any]:
    bounds = {name: bound for name, bound in (("gte", at_least), ("lt", below)) if bound is not None}
    return {"range": {field: bounds}} if bounds else {"exists": {"field": field}}


def _prefix(tree: Prefix) -> dict[str, Any]:
    return {"prefix": {tree.field: tree.start}}


def _terms(field: str, values: Sequence[str], at_most: int) -> dict[str, Any]:
    parts = [values[start : start + at_most] for start in range(0, len(values), at_most)]
    return {"bool": {"should": [{"terms": {field: part}} for part in parts]}} if parts else {"match_none": {}}


def _words(tree: Words, by_values: ByValues | None) -> dict[str, Any]:
    """The server splits the words again by its own rules, which are the same for ASCII and finer for other scripts.

    A phrase whose last word is begun isn't among the queries that a server may refuse to run, also if that is its only
    word; but it has one clause for each word that begins so, of which a server allows fewer.
    """
    *others, last = tree.words
    if not others and last.isascii() and not (tree.begun and by_values):
        return _prefix(Prefix(tree.field, last)) if tree.begun else {"term": {tree.field: last}}
    text = " ".join(tree.words)
    if tree.begun:
        return {"match_phrase_prefix": {tree.field: {"query": text, "max_expansions": MAX_EXPANSIONS}}}
    return {"match_phrase": {tree.field: text}}


def body(request: Request, by_values: ByValues | None = None) -> dict[str, Any]:
    """Return the search without its size.

    Facets count what the query and the filters of other fields match, so filters come after the aggregations.
    """
    found: dict[str, Any] = {
        "query": _ranked(request, by_values),
        "post_filter": query(And(tuple(each.query() for each in request.filters))),
        "sort": _order(request),
        "track_total_hits": True,
        "_source": True,
    }
    if request.facets:
        found["aggs"] = {facet.field: _facet(request, facet) for facet in request.facets}
    return found


def _ranked(request: Request, by_values: ByValues | None) -> dict[str, Any]:
    """Score a document by the first rank that it matches: the best one counts, and the first is the highest."""
    ranks = [
        {"constant_score": {"filter": query(rank, by_values), "boost": float(len(request.ranks) - place)}}
        for place, rank in enumerate(request.ranks)
    ]
    matching = [query(request.query, by_values)]
    if not ranks:
        return {"bool": {"filter": matching}}
    return {"bool": {"filter": matching, "should": [{"dis_max": {"queries": ranks}}], "minimum_should_match": 0}}


def _order(request: Request) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = [{"_score": {"order": "desc"}}] if request.ranks else []
    return keys + ordered((*request.order, *TIEBREAK))


def ordered(keys: Sequence[SortKey]) -> list[dict[str, Any]]:
    """Return how to sort by fields."""
    return [_key(key) for key in keys]


def _key(key: SortKey) -> dict[str, Any]:
    return {key.field: {"order": "desc" if key.descending else "asc", "missing": "_last", "unmapped_type": "keyword"}}


def _facet(request: Request, facet: Facet) -> dict[str, Any]:
    others = And(tuple(each.query() for each in request.filters if each.field != facet.field))
    terms = {"field": facet.field, "size": facet.size}
    return {"filter": query(others), "aggs": {"values": {"terms": terms}}}

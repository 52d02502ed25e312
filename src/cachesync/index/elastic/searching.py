"""The search tree and the request's order, in Elasticsearch's terms."""

from typing import Any, Final

from cachesync.search.query import All, And, Exists, Not, Or, Prefix, Query, Term, Words
from cachesync.search.request import TIEBREAK, Facet, Request, SortKey

MAX_EXPANSIONS: Final = 100_000
"""How many words may begin with what was typed. The server's own bound on clauses comes first."""


def query(tree: Query) -> dict[str, Any]:
    """Turn the tree into Elasticsearch's. Nothing in it is scored."""
    match tree:
        case All():
            return {"match_all": {}}
        case Term(field, value):
            return {"term": {field: value}}
        case Prefix(field, start):
            return {"prefix": {field: start}}
        case Words():
            return _words(tree)
        case Exists(field):
            return {"exists": {"field": field}}
        case Not(part):
            return {"bool": {"must_not": [query(part)]}}
        case And(parts):
            return {"bool": {"filter": [query(part) for part in parts]}} if parts else {"match_all": {}}
        case Or(parts):
            alternatives = {"should": [query(part) for part in parts], "minimum_should_match": 1}
            return {"bool": alternatives} if parts else {"match_none": {}}


def _words(tree: Words) -> dict[str, Any]:
    """The server splits the words again by its own rules, which are the same for ASCII and finer for other scripts."""
    *others, last = tree.words
    if not others and last.isascii():
        return {"prefix": {tree.field: last}} if tree.begun else {"term": {tree.field: last}}
    text = " ".join(tree.words)
    if tree.begun:
        return {"match_phrase_prefix": {tree.field: {"query": text, "max_expansions": MAX_EXPANSIONS}}}
    return {"match_phrase": {tree.field: text}}


def body(request: Request) -> dict[str, Any]:
    """Return the search without its size.

    Facets count what the query and the filters of other fields match, so filters come after the aggregations.
    """
    found: dict[str, Any] = {
        "query": _ranked(request),
        "post_filter": query(And(tuple(each.query() for each in request.filters))),
        "sort": _order(request),
        "track_total_hits": True,
        "_source": True,
    }
    if request.facets:
        found["aggs"] = {facet.field: _facet(request, facet) for facet in request.facets}
    return found


def _ranked(request: Request) -> dict[str, Any]:
    """Score a document by the first rank that it matches: the best one counts, and the first is the highest."""
    ranks = [
        {"constant_score": {"filter": query(rank), "boost": float(len(request.ranks) - place)}}
        for place, rank in enumerate(request.ranks)
    ]
    matching = [query(request.query)]
    if not ranks:
        return {"bool": {"filter": matching}}
    return {"bool": {"filter": matching, "should": [{"dis_max": {"queries": ranks}}], "minimum_should_match": 0}}


def _order(request: Request) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = [{"_score": {"order": "desc"}}] if request.ranks else []
    return keys + [_key(key) for key in (*request.order, *TIEBREAK)]


def _key(key: SortKey) -> dict[str, Any]:
    return {key.field: {"order": "desc" if key.descending else "asc", "missing": "_last", "unmapped_type": "keyword"}}


def _facet(request: Request, facet: Facet) -> dict[str, Any]:
    others = And(tuple(each.query() for each in request.filters if each.field != facet.field))
    terms = {"field": facet.field, "size": facet.size}
    return {"filter": query(others), "aggs": {"values": {"terms": terms}}}

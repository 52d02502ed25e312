"""Paginate hits: compute a hit's position in the order of a request, and find the hits after it.

A position consists only of the hit's values, so it remains valid on every engine and in every generation, even while
pages change. A walk that continues from a position returns no document twice and misses no document that was in the
index all the time.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from cachesync.documents import FIELDS, OPTIONAL, date_of
from cachesync.search.query import All, And, Exists, In, Not, Or, Query, Range, Term
from cachesync.search.request import TIEBREAK, Hit, Request, Searchable, SortKey

_GROWTH: Final = 4
"""The factor by which the next request is larger if too many hits belonged to binaries that had come before."""

_MAX_HITS: Final = 1_000
"""The maximum number of hits in one request, unless the requested page itself is larger."""


_LARGEST: Final = 2**63 - 1
"""The largest number that all engines accept."""


class Position(NamedTuple):
    """The position of a hit in the order of a request."""

    rank: int
    """The index of the first rank that the hit matches; if it matches none, the number of ranks."""
    values: tuple[str | int | None, ...]
    """The hit's values for the request's sort keys, then for the tiebreak's; None for a field that the hit lacks."""


class ResultPage(NamedTuple):
    """Some consecutive hits."""

    hits: list[Hit]
    next: Position | None
    """The position from which to continue, or None if there are no more hits."""


def page_after(index: Searchable, request: Request, position: Position) -> ResultPage:
    """Return the hits after a position, up to the request's limit.

    If the request is distinct, documents of a binary that has an earlier document are left out.
    """
    wanted = request.limit + 1
    hits: list[Hit] = []
    number = wanted
    at: Position | None = position
    while at and len(hits) < wanted:
        after = query_after(request, at)
        found = index.search(
            request._replace(
                query=And((request.matching(), after)), filters=(), facets=(), binaries=False, limit=number
            )
        ).hits
        hits += without_earlier(index, request, after, found) if request.distinct else found
        at = position_of(index, request, found[-1]) if len(found) == number else None
        number = min(number * _GROWTH, max(wanted, _MAX_HITS))
    return cut(index, request, hits)


def cut(index: Searchable, request: Request, hits: list[Hit]) -> ResultPage:
    """Cut hits to the request's limit. If there are more hits, the result has the position of the next page."""
    shown = hits[: request.limit]
    return ResultPage(shown, position_of(index, request, shown[-1]) if shown and len(hits) > len(shown) else None)


def position_of(index: Searchable, request: Request, hit: Hit) -> Position:
    """Return the position of a hit."""
    of_hit = And(tuple(Term(key.field, hit[key.field]) for key in TIEBREAK))
    counts = index.count([And((of_hit, rank)) for rank in request.ranks])
    rank = next((number for number, count in enumerate(counts) if count), len(counts))
    return position_at(rank, request, hit)


def position_at(rank: int, request: Request, hit: Hit) -> Position:
    """Return the position of a hit that has the given rank."""
    return Position(rank, tuple(_value(key, hit) for key in _keys(request)))


def is_position(position: Position, request: Request) -> bool:
    """Whether a position can belong to a request."""
    keys = _keys(request)
    return (
        0 <= position.rank <= len(request.ranks)
        and len(position.values) == len(keys)
        and all(_may_have(key.field, value) for key, value in zip(keys, position.values, strict=True))
    )


def _may_have(field: str, value: str | int | None) -> bool:
    if value is None:
        return field in OPTIONAL
    if FIELDS[field].kind == "date":
        return isinstance(value, str) and date_of(value) == value
    if FIELDS[field].kind == "long":
        return isinstance(value, int) and abs(value) <= _LARGEST
    return isinstance(value, str)


def _value(key: SortKey, hit: Hit) -> str | int | None:
    value: str | int | None = hit.get(key.field)
    return value.lower() if isinstance(value, str) and FIELDS[key.field].any_case else value


def _keys(request: Request) -> tuple[SortKey, ...]:
    return (*request.order, *TIEBREAK)


def without_earlier(index: Searchable, request: Request, after: Query, hits: Sequence[Hit]) -> list[Hit]:
    """Leave out hits of binaries with documents before a position; ``after`` matches the documents after it."""
    binaries = In("binary", tuple(hit["binary"] for hit in hits))
    before = And((request.matching(), Not(after), binaries))
    asked = Request(before, order=(), limit=len(hits), distinct=True, fields=("binary",))
    earlier = {hit["binary"] for hit in index.search(asked).hits} if hits else set()
    return [hit for hit in hits if hit["binary"] not in earlier]


def query_after(request: Request, position: Position) -> Query:
    """Return the query for all documents after a position: later in the same rank, or in a later rank."""
    ranks = request.ranks
    later = _later(_keys(request), position.values)
    if not ranks:
        return later
    same = ranks[position.rank] if position.rank < len(ranks) else All()
    in_earlier = Or(ranks[: position.rank])
    in_later = Not(Or(ranks[: position.rank + 1])) if position.rank < len(ranks) else Or(())
    return Or((And((same, Not(in_earlier), later)), in_later))


def _later(keys: Sequence[SortKey], values: Sequence[str | int | None]) -> Query:
    """Return the query for a later value of the first key, or the same value and a later one of the second, and so on.

    The alternatives are in one list instead of nested because Elasticsearch limits the depth of a query.
    """
    same: tuple[Query, ...] = ()
    later: list[Query] = []
    for key, value in zip(keys, values, strict=True):
        later += [And((*same, each)) for each in beyond(key, value)]
        same += (Not(Exists(key.field)) if value is None else Term(key.field, value),)
    return Or(tuple(later))


def beyond(key: SortKey, value: str | int | None) -> tuple[Query, ...]:
    """Return queries for later values of a key. Documents without a value come last in both directions."""
    if value is None:
        return ()
    if key.descending:
        beyond: Query = Range(key.field, None, value)
    else:
        beyond = And((Range(key.field, value, None), Not(Term(key.field, value))))
    return (beyond, Not(Exists(key.field))) if key.field in OPTIONAL else (beyond,)

"""Page after page: where a hit stands in the one order of a request, and what comes behind it.

A place is made of nothing but a hit's own values. So it stays where it is while pages change, come and go, in every
generation and on every engine: whoever walks on from it meets no document twice, and misses none that was there all
the while.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from cachesync.documents import FIELDS, date_of, is_optional
from cachesync.search.query import All, And, Exists, In, Not, Or, Query, Range, Term
from cachesync.search.request import TIEBREAK, Hit, Request, Searchable, SortKey

_MORE: Final = 4
"""How many times more hits to look at where too many were of binaries that came before."""

_MOST: Final = 1_000
"""At most so many hits are looked at in one request."""


_LARGEST: Final = 2**63 - 1
"""No engine takes a larger number."""


class Position(NamedTuple):
    """Where a hit stands."""

    rank: int
    """The first of the request's ranks that it matches; their number: it matches none."""
    values: tuple[str | int | None, ...]
    """Its values of the fields that the request sorts by, then of the tiebreak's; None: it has none."""


class ResultPage(NamedTuple):
    """Some hits, one after another."""

    hits: list[Hit]
    next: Position | None
    """Where to go on; None: there are no more."""


def page_after(index: Searchable, request: Request, place: Position) -> ResultPage:
    """Return the hits behind a place, as many as the request's limit.

    Of a binary that has a document before, none is a hit where the request is distinct.
    """
    wanted = request.limit + 1
    hits: list[Hit] = []
    number = wanted
    at: Position | None = place
    while at and len(hits) < wanted:
        after = behind(request, at)
        found = index.search(
            request._replace(
                query=And((request.matching(), after)), filters=(), facets=(), binaries=False, limit=number
            )
        ).hits
        hits += without_earlier(index, request, after, found) if request.distinct else found
        at = place_of(index, request, found[-1]) if len(found) == number else None
        number = min(number * _MORE, max(wanted, _MOST))
    return cut(index, request, hits)


def cut(index: Searchable, request: Request, hits: list[Hit]) -> ResultPage:
    """Return as many hits as the request's limit; that there are more of them tells that there is a next page."""
    shown = hits[: request.limit]
    return ResultPage(shown, place_of(index, request, shown[-1]) if shown and len(hits) > len(shown) else None)


def place_of(index: Searchable, request: Request, hit: Hit) -> Position:
    """Return where a hit stands."""
    of_hit = And(tuple(Term(key.field, hit[key.field]) for key in TIEBREAK))
    counts = index.count([And((of_hit, rank)) for rank in request.ranks])
    rank = next((place for place, count in enumerate(counts) if count), len(counts))
    return place_at(rank, request, hit)


def place_at(rank: int, request: Request, hit: Hit) -> Position:
    """Return where a hit of a rank stands."""
    return Position(rank, tuple(_value(key, hit) for key in _keys(request)))


def is_place(place: Position, request: Request) -> bool:
    """Tell whether a place can be one of a request."""
    keys = _keys(request)
    return (
        0 <= place.rank <= len(request.ranks)
        and len(place.values) == len(keys)
        and all(_may_have(key.field, value) for key, value in zip(keys, place.values, strict=True))
    )


def _may_have(field: str, value: str | int | None) -> bool:
    if value is None:
        return is_optional(field)
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


def without_earlier(index: Searchable, request: Request, behind: Query, hits: Sequence[Hit]) -> list[Hit]:
    """Leave out hits of binaries that have a document that isn't behind a place."""
    binaries = In("binary", tuple(hit["binary"] for hit in hits))
    before = And((request.matching(), Not(behind), binaries))
    asked = Request(before, order=(), limit=len(hits), distinct=True, fields=("binary",))
    earlier = {hit["binary"] for hit in index.search(asked).hits} if hits else set()
    return [hit for hit in hits if hit["binary"] not in earlier]


def behind(request: Request, place: Position) -> Query:
    """Return what comes behind a place: in the same rank by the order, or in a later one."""
    ranks = request.ranks
    later = _later(_keys(request), place.values)
    if not ranks:
        return later
    same = ranks[place.rank] if place.rank < len(ranks) else All()
    in_earlier = Or(ranks[: place.rank])
    in_later = Not(Or(ranks[: place.rank + 1])) if place.rank < len(ranks) else Or(())
    return Or((And((same, Not(in_earlier), later)), in_later))


def _later(keys: Sequence[SortKey], values: Sequence[str | int | None]) -> Query:
    """Return what has a later value of the first key; or the same one, and a later one of the second; and so on.

    The alternatives stand side by side: Elasticsearch bounds how deep a query may be.
    """
    same: tuple[Query, ...] = ()
    later: list[Query] = []
    for key, value in zip(keys, values, strict=True):
        later += [And((*same, each)) for each in beyond(key, value)]
        same += (Not(Exists(key.field)) if value is None else Term(key.field, value),)
    return Or(tuple(later))


def beyond(key: SortKey, value: str | int | None) -> tuple[Query, ...]:
    """Return what has a later value of a key. Documents without one come last, in both directions."""
    if value is None:
        return ()
    if key.descending:
        beyond: Query = Range(key.field, None, value)
    else:
        beyond = And((Range(key.field, value, None), Not(Term(key.field, value))))
    return (beyond, Not(Exists(key.field))) if is_optional(key.field) else (beyond,)

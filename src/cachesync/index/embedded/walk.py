"""Walks all documents that match a request, in the request's order, however many there are.

Tantivy sorts by one field only, and always sorts all matches. Sorting all matches for each part of a walk would take
quadratic time. So the documents are divided into cells by their values of the first sort key, a large cell is divided
by the values of the next key, and so on. Each cell is searched, read and sorted on its own.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from cachesync.documents import FIELDS
from cachesync.index.embedded.search import sort_keys, sorted_by
from cachesync.index.embedded.searcher import MOST_VALUES, CommitSearcher
from cachesync.search.pagination import beyond
from cachesync.search.query import All, And, Exists, In, Not, Or, Query, Term
from cachesync.search.request import Part, Request, SortKey

PART_SIZE: Final = 2_000
"""How many documents are read and sorted at a time, and returned as one part."""


class _Cell(NamedTuple):
    """A contiguous part of the documents, in the order of the walk."""

    query: Query
    size: int


def walk(searcher: CommitSearcher, request: Request) -> Iterator[Part]:
    """Yield all documents that match a request, in the request's order and in parts."""
    matching, keys = request.matching(), sort_keys(searcher, request)
    for rank, query in enumerate((*request.ranks, All())):
        chosen = And((matching, query, Not(Or(request.ranks[:rank])))) if rank else And((matching, query))
        whole = _Cell(chosen, searcher.count(chosen))
        for cell, rest in _divided(searcher, whole, keys):
            yield Part(sorted_by(searcher.hits(searcher.some(*cell)[0]), rest), rank)


def _divided(
    searcher: CommitSearcher, whole: _Cell, keys: tuple[SortKey, ...]
) -> Iterator[tuple[_Cell, tuple[SortKey, ...]]]:
    """Yield non-empty cells that are small enough, each with the keys by which to sort its documents."""
    if whole.size <= PART_SIZE or len(keys) == 1:
        if whole.size:
            yield whole, keys
        return
    key, *others = keys
    some: list[_Cell] = []
    for cell in _cells(searcher, whole, key):
        if some and sum(each.size for each in some) + cell.size > PART_SIZE:
            yield _together(whole.query, key.field, some), keys
            some = []
        if cell.size > PART_SIZE:
            yield from _divided(searcher, _together(whole.query, key.field, [cell]), tuple(others))
        else:
            some.append(cell)
    if some:
        yield _together(whole.query, key.field, some), keys


def _together(within: Query, field: str, cells: Sequence[_Cell]) -> _Cell:
    """Merge several cells into one. The many values of the cells become one condition."""
    queries = [cell.query for cell in cells]
    values = tuple(each.value for each in queries if isinstance(each, Term) and isinstance(each.value, str))
    others = tuple(each for each in queries if not (isinstance(each, Term) and isinstance(each.value, str)))
    return _Cell(And((within, Or((In(field, values), *others)))), sum(cell.size for cell in cells))


def _cells(searcher: CommitSearcher, whole: _Cell, key: SortKey) -> Iterator[_Cell]:
    """Divide documents by a key, in the key's order. A cell has one value, or several that few documents have."""
    is_many = FIELDS[key.field].kind == "long" or searcher.cardinality(key.field, whole.query) > MOST_VALUES
    find = _by_order if is_many else _by_values
    found = 0
    for cell in find(searcher, whole.query, key):
        found += cell.size
        yield cell
    if found < whole.size:
        yield _Cell(Not(Exists(key.field)), whole.size - found)


def _by_values(searcher: CommitSearcher, within: Query, key: SortKey) -> Iterator[_Cell]:
    values = searcher.values(key.field, within)
    for value, size in sorted(values, reverse=key.descending):
        if size:
            yield _Cell(Term(key.field, value), size)


def _by_order(searcher: CommitSearcher, within: Query, key: SortKey) -> Iterator[_Cell]:
    """Search for the next documents repeatedly, so that all values are never in memory together."""
    before: Query = All()
    while values := [value for value, _ in searcher.first(And((within, before)), key, PART_SIZE)]:
        last = values[-1]
        behind = Or(beyond(key, last))
        if others := len(values) - values.count(last):
            yield _Cell(And((Exists(key.field), before, Not(behind), Not(Term(key.field, last)))), others)
        same = Term(key.field, last)
        yield _Cell(same, searcher.count(And((within, same))))
        before = And((Exists(key.field), behind))

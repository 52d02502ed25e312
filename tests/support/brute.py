"""Answers to searches, counted out document by document. It shares no code with the engines."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from cachesync.search.query import All, And, Condition, Exists, In, Not, Or, Prefix, Query, Range, Term
from cachesync.search.request import Request, SortKey

Document = dict[str, Any]


def matches(document: Document, query: Query) -> bool:
    match query:
        case All():
            return True
        case Not(part):
            return not matches(document, part)
        case And(parts):
            return all(matches(document, part) for part in parts)
        case Or(parts):
            return any(matches(document, part) for part in parts)
        case _:
            return _meets(document, query)


def _meets(document: Document, condition: Condition) -> bool:
    match condition:
        case Term(field, value):
            return _folded(field, value) in _values(document, field)
        case In(field, values):
            return any(_folded(field, value) in _values(document, field) for value in values)
        case Range(field, at_least, below):
            least, end = _folded(field, at_least), _folded(field, below)
            return any(
                (least is None or least <= value) and (end is None or value < end) for value in _values(document, field)
            )
        case Prefix(field, start):
            return any(str(value).startswith(_folded(field, start)) for value in _values(document, field))
        case Exists(field):
            return field in document


def _values(document: Document, field: str) -> list[Any]:
    value = document.get(field, [])
    return [_folded(field, each) for each in (value if isinstance(value, list) else [value])]


def _folded(field: str, value: Any) -> Any:
    """Packages are found in any case."""
    return value.lower() if field == "package" and isinstance(value, str) else value


def answer(documents: Iterable[Document], request: Request) -> tuple[int, list[str], dict[str, list[tuple[str, int]]]]:
    """Return the total, the ids of the hits in order, and the facets."""
    documents = list(documents)
    kept = [each for each in documents if matches(each, request.query)]
    found = [each for each in kept if all(_passes(each, one.field, one.values) for one in request.filters)]
    ids = [each["_id"] for each in _in_order(found, request)]
    facets = {}
    for facet in request.facets:
        others = [one for one in request.filters if one.field != facet.field]
        counted = Counter(
            value
            for each in kept
            if all(_passes(each, one.field, one.values) for one in others)
            for value in set(_values(each, facet.field))
        )
        facets[facet.field] = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[: facet.size]
    if request.distinct:
        first: dict[str, str] = {}
        for each in _in_order(found, request):
            first.setdefault(each["binary"], each["_id"])
        ids = list(first.values())
    return len(found), ids[: request.limit], facets


def binaries(documents: Iterable[Document], request: Request) -> int:
    """Return of how many binaries the documents are that match."""
    kept = [each for each in documents if matches(each, request.query)]
    return len(
        {each["binary"] for each in kept if all(_passes(each, one.field, one.values) for one in request.filters)}
    )


def _passes(document: Document, field: str, values: tuple[str | int, ...]) -> bool:
    return any(_folded(field, value) in _values(document, field) for value in values)


def _in_order(found: list[Document], request: Request) -> list[Document]:
    found = sorted(found, key=lambda each: (each["page"], each["binary"]))
    for key in reversed(request.order):
        found = _by(found, key)
    return sorted(found, key=lambda each: _rank(each, request.ranks))


def _by(found: list[Document], key: SortKey) -> list[Document]:
    present = [each for each in found if key.field in each]
    absent = [each for each in found if key.field not in each]
    return sorted(present, key=lambda each: _folded(key.field, each[key.field]), reverse=key.descending) + absent


def _rank(document: Document, ranks: tuple[Query, ...]) -> int:
    return next((place for place, rank in enumerate(ranks) if matches(document, rank)), len(ranks))

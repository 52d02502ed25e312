"""Encodes a question as URL parameters, which a server decodes to the same question."""

from collections.abc import Iterator, Sequence

from cachesync.search.question import Question
from cachesync.search.request import Filter

Pairs = list[tuple[str, str]]


def narrowing(question: Question) -> Pairs:
    """Return the parameters that determine which hits are found and in which order: all but facets and limit."""
    return list(_narrowing(question))


def _narrowing(question: Question) -> Iterator[tuple[str, str]]:
    if question.text:
        yield "q", question.text
    if question.mode != "auto":
        yield "mode", question.mode
    yield from of_filters(question.filters)
    if question.tag:
        yield "tag", question.tag
    if question.machine:
        yield "arch", "-".join(question.machine)
    for key in question.order:
        yield "sort", f"{key.field}:{'desc' if key.descending else 'asc'}"
    if question.distinct:
        yield "distinct", "true"


def facets(question: Question) -> Pairs:
    """Return the parameters of the facets."""
    return [("facet", f"{each.field}:{each.size}") for each in question.facets]


def of_filters(filters: Sequence[Filter]) -> Pairs:
    """Return the parameters of filters: one for each value, named like the field."""
    return [(each.field, str(value)) for each in filters for value in each.values]

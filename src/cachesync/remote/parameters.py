"""A question as the parameters of a URL, by which a server reads it as it is read here."""

from collections.abc import Iterator, Sequence

from cachesync.search.question import Question
from cachesync.search.request import Filter

Pairs = list[tuple[str, str]]


def narrowing(question: Question) -> Pairs:
    """Return what is asked, but for the facets and the limit, which don't change what is found and in which order."""
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
    """Return which fields are counted."""
    return [("facet", f"{each.field}:{each.size}") for each in question.facets]


def of_filters(filters: Sequence[Filter]) -> Pairs:
    """Return filters: each value as the field's own parameter."""
    return [(each.field, str(value)) for each in filters for value in each.values]

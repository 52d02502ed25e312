"""Encodes a question as URL parameters, which a server decodes to the same question."""

from collections.abc import Sequence

from cachesync.search.question import Question
from cachesync.search.request import Filter

Pairs = list[tuple[str, str]]


def narrowing(question: Question) -> Pairs:
    """Return the parameters that determine which hits are found and in which order: all but facets and limit."""
    whole = [
        ("q", question.text),
        ("mode", "" if question.mode == "auto" else question.mode),
        *of_filters(question.filters),
        ("tag", question.tag or ""),
        ("arch", "-".join(question.machine or ())),
        *(("sort", f"{key.field}:{'desc' if key.descending else 'asc'}") for key in question.order),
        ("distinct", "true" if question.distinct else ""),
    ]
    return [(name, value) for name, value in whole if value]


def facets(question: Question) -> Pairs:
    """Return the parameters of the facets."""
    return [("facet", f"{each.field}:{each.size}") for each in question.facets]


def of_filters(filters: Sequence[Filter]) -> Pairs:
    """Return the parameters of filters: one for each value, named like the field."""
    return [(each.field, str(value)) for each in filters for value in each.values]

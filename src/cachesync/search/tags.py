"""The tags of an index."""

from collections.abc import Iterable
from typing import NamedTuple

from cachesync.documents import date_of
from cachesync.search.query import Term
from cachesync.search.request import MAX_FACET_SIZE, Facet, Request, Searchable


class Tag(NamedTuple):
    """A tag, and what is in it."""

    tag: str
    date: str | None
    """Where it ends in one."""
    specs: int
    """How many documents it has."""
    stacks: list[str]
    """The one with the most documents first."""


def tags(index: Searchable) -> list[Tag]:
    """Return all tags, the newest first, those without a date last."""
    counts = index.search(Request(facets=(Facet("tag", MAX_FACET_SIZE),), limit=0)).facets["tag"]
    return [_tag(index, name) for name in newest_first(each.value for each in counts)]


def newest_first(names: Iterable[str]) -> list[str]:
    """Return tags by their dates, the newest first; those without a date come last, by their names."""
    return sorted(sorted(names), key=lambda name: date_of(name) or "", reverse=True)


def _tag(index: Searchable, name: str) -> Tag:
    found = index.search(Request(Term("tag", name), facets=(Facet("stacks", MAX_FACET_SIZE),), limit=0))
    return Tag(name, date_of(name), found.total, [each.value for each in found.facets["stacks"]])

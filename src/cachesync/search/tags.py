"""List the tags of an index."""

from collections.abc import Iterable
from typing import NamedTuple

from cachesync.documents import date_of
from cachesync.search.query import Term
from cachesync.search.request import MAX_FACET_SIZE, Facet, Request, Searchable


class Tag(NamedTuple):
    """A tag and its contents."""

    tag: str
    date: str | None
    """The date at the end of the tag's name, or None if the name has no date."""
    specs: int
    """The number of documents."""
    stacks: list[str]
    """The stacks, with the most frequent among the documents first."""


def tags(index: Searchable) -> list[Tag]:
    """Return all tags, with the newest first and those without a date last."""
    counts = index.search(Request(facets=(Facet("tag", MAX_FACET_SIZE),), limit=0)).facets["tag"]
    return [_tag(index, name) for name in newest_first(each.value for each in counts)]


def newest_first(names: Iterable[str]) -> list[str]:
    """Sort tags by date, the newest first. Tags without a date come last, sorted by name."""
    return sorted(sorted(names), key=lambda name: date_of(name) or "", reverse=True)


def _tag(index: Searchable, name: str) -> Tag:
    found = index.search(Request(Term("tag", name), facets=(Facet("stacks", MAX_FACET_SIZE),), limit=0))
    return Tag(name, date_of(name), found.total, [each.value for each in found.facets["stacks"]])

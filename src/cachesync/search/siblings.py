"""Find a binary's siblings: the other binaries of its package and version in the same tag."""

from typing import Final

from cachesync.search.query import And, Not, Term
from cachesync.search.request import Hit, Request, Searchable, SortKey

_MAX_SIBLINGS: Final = 500
"""The most siblings that are returned."""

_ORDER: Final = (SortKey("compiler"), SortKey("os"), SortKey("target"))


def siblings_of(hit: Hit, index: Searchable) -> list[Hit]:
    """Return the other binaries of a hit's package, version and tag, at most 500."""
    same = tuple(Term(field, hit[field]) for field in ("package", "version", "tag") if field in hit)
    others = And((*same, Not(Term("binary", hit["binary"]))))
    return index.search(Request(others, order=_ORDER, limit=_MAX_SIBLINGS, distinct=True)).hits

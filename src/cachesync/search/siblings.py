"""Compare binaries that are shown together: a binary's siblings, and the variants by which binaries differ."""

from collections.abc import Iterable, Mapping
from typing import Final

from cachesync.pages.variants import variants as variants_of
from cachesync.search.query import And, Not, Term
from cachesync.search.request import Hit, Request, Searchable, SortKey

_MAX_SIBLINGS: Final = 500
"""The maximum number of siblings that are returned."""

_ORDER: Final = (SortKey("compiler"), SortKey("os"), SortKey("target"))


def siblings_of(hit: Hit, index: Searchable) -> list[Hit]:
    """Return at most 500 siblings of a binary: other binaries of the same package, version and tag."""
    same = tuple(Term(field, hit[field]) for field in ("package", "version", "tag") if field in hit)
    others = And((*same, Not(Term("binary", hit["binary"]))))
    return index.search(Request(others, order=_ORDER, limit=_MAX_SIBLINGS, distinct=True)).hits


Common = Mapping[str, frozenset[str]]
"""For each package, the variants that all of the package's hits have."""


def common_variants(hits: Iterable[Hit]) -> Common:
    """Return the variants that hits of the same package have in common."""
    common: dict[str, frozenset[str]] = {}
    for hit in hits:
        variants = frozenset(hit["variants"])
        common[hit["package"]] = common.get(hit["package"], variants) & variants
    return common


def differing(hit: Hit, common: Common) -> list[str]:
    """Return the variants of a hit that at least one other hit of the same package doesn't have."""
    return [variant for variant in hit["variants"] if variant not in common[hit["package"]]]


def differing_names(one: Hit, other: Hit) -> frozenset[str]:
    """Return the names of variants that have different values in two hits, or that only one of them has."""
    return frozenset(map(_name, set(one["variants"]) ^ set(other["variants"])))


def of_variant(name: str, variants: Iterable[str]) -> str:
    """Return the variant with the given name as written, or an empty string if the variants don't include it."""
    return " ".join(variant for variant in variants if _name(variant) == name)


def _name(variant: str) -> str:
    return variants_of((variant,)).names[0]

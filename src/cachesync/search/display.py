"""Find the variants by which binaries that are shown together differ."""

from collections.abc import Iterable, Mapping

from cachesync.pages.variants import variants as variants_of
from cachesync.search.request import Hit

Common = Mapping[str, frozenset[str]]
"""For each package the variants that all of its hits have."""


def common_variants(hits: Iterable[Hit]) -> Common:
    """Return for each package the variants that all of its hits have."""
    common: dict[str, frozenset[str]] = {}
    for hit in hits:
        variants = frozenset(hit["variants"])
        common[hit["package"]] = common.get(hit["package"], variants) & variants
    return common


def differing(hit: Hit, common: Common) -> list[str]:
    """Return the variants of a hit that some other hit of its package doesn't have."""
    return [variant for variant in hit["variants"] if variant not in common[hit["package"]]]


def one_variant_apart(hit: Hit, others: Iterable[Hit]) -> list[Hit]:
    """Return the other binaries of the same package and version that differ in only one variant."""
    return [
        other
        for other in others
        if (other["package"], other["version"]) == (hit["package"], hit["version"])
        and other["binary"] != hit["binary"]
        and len(differing_names(hit, other)) == 1
    ]


def differing_names(one: Hit, other: Hit) -> frozenset[str]:
    """Return the names of variants that have different values in two hits, or that only one of them has."""
    return frozenset(map(_name, set(one["variants"]) ^ set(other["variants"])))


def of_variant(name: str, variants: Iterable[str]) -> str:
    """Return the variant with the given name and its value; empty if it is not among the variants."""
    return " ".join(variant for variant in variants if _name(variant) == name)


def _name(variant: str) -> str:
    return variants_of((variant,)).names[0]

"""What tells binaries apart that are shown together: their variants."""

from collections.abc import Iterable, Mapping

from cachesync.pages.variants import variants as variants_of
from cachesync.search.request import Hit

Common = Mapping[str, frozenset[str]]
"""Of each package the variants that all of its hits have."""


def common_variants(hits: Iterable[Hit]) -> Common:
    """Return of each package the variants that all of these hits have."""
    common: dict[str, frozenset[str]] = {}
    for hit in hits:
        variants = frozenset(hit["variants"])
        common[hit["package"]] = common.get(hit["package"], variants) & variants
    return common


def differing(hit: Hit, common: Common) -> list[str]:
    """Return the variants in which a hit differs from another of its package."""
    return [variant for variant in hit["variants"] if variant not in common[hit["package"]]]


def one_variant_apart(hit: Hit, others: Iterable[Hit]) -> list[Hit]:
    """Return those of other hits that are the same package in the same version, but for the value of one variant."""
    return [
        other
        for other in others
        if (other["package"], other["version"]) == (hit["package"], hit["version"])
        and other["binary"] != hit["binary"]
        and len(differing_names(hit, other)) == 1
    ]


def differing_names(one: Hit, other: Hit) -> frozenset[str]:
    """Return the names of variants that two hits have with other values, or only one of them has at all."""
    return frozenset(map(_name, set(one["variants"]) ^ set(other["variants"])))


def of_variant(name: str, variants: Iterable[str]) -> str:
    """Return what some variants say of the one with a name; nothing where it isn't among them."""
    return " ".join(variant for variant in variants if _name(variant) == name)


def _name(variant: str) -> str:
    return variants_of((variant,)).names[0]

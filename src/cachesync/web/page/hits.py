"""Binaries as the page shows them: a row for each hit, and the siblings of a binary."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from cachesync.search.install import stacks_of
from cachesync.search.request import ID, Hit
from cachesync.search.siblings import common_variants, differing, differing_names, of_variant
from cachesync.web.page.address import PageUrl

_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


# Many fields: one for each part of a row that the template places separately.
class Row(NamedTuple):
    """A hit."""

    id: str
    package: str
    version: str
    url: str
    """The URL of the binary's page."""
    compiler: str
    os: str
    target: str
    runs: str | None
    """Whether the binary's operating system is that of the architecture in the query."""
    tags: tuple[str, ...]
    stacks: tuple[str, ...]
    differing: tuple[str, ...]
    """The variants in which the hit differs from other rows of its package."""
    variants: tuple[str, ...]
    size: str
    size_exactly: str
    hash: str
    commands: tuple[str, ...]
    """The install block."""


class Sibling(NamedTuple):
    """A binary that differs from another binary in a single variant."""

    row: Row
    variant: str
    """This binary's setting of the variant."""
    instead_of: str
    """The other binary's setting of the variant."""


def rows(hits: Sequence[Hit], here: PageUrl) -> Iterator[Row]:
    """Yield a row for each hit."""
    common = common_variants(hits)
    for hit in hits:
        yield row(hit, here, tuple(differing(hit, common)))


def row(hit: Hit, here: PageUrl, differing: tuple[str, ...] = ()) -> Row:
    """Return the row of a hit."""
    size = hit.get("size")
    return Row(
        id=hit[ID],
        package=hit["package"],
        version=hit["version"],
        url=here.binary_url(hit["binary"]),
        compiler=hit.get("compiler", ""),
        os=hit.get("os", ""),
        target=hit.get("target", ""),
        runs=hit.get("runs"),
        tags=tuple(hit.get("tags") or filter(None, [hit.get("tag")])),
        stacks=tuple(stacks_of(hit)),
        differing=differing,
        variants=tuple(hit["variants"]),
        size="" if size is None else readable_size(size),
        size_exactly="" if size is None else f"{size:,} bytes",
        hash=hit.get("hash", ""),
        commands=tuple(hit["install"]["commands"]) if "install" in hit else (),
    )


def siblings(hit: Hit, others: Sequence[Hit], here: PageUrl) -> Iterator[Sibling]:
    """Yield the siblings of ``hit`` among ``others``: those that differ from it in one variant, ordered by its name."""
    same = (other for other in others if other["package"] == hit["package"])  # searches ignore the case of a package
    apart = [(name, other) for other in same if len(names := differing_names(hit, other)) == 1 for name in names]
    for name, other in sorted(apart, key=lambda each: each[0]):
        yield Sibling(row(other, here), of_variant(name, other["variants"]), of_variant(name, hit["variants"]))


def readable_size(size: int) -> str:
    """Format a number of bytes in the smallest unit that keeps the number below 1,024."""
    number = float(size)
    for unit in _UNITS:
        if number < 1_024 or unit == _UNITS[-1]:
            break
        number /= 1_024
    return f"{number:,.0f} {unit}" if number >= 10 or unit == _UNITS[0] else f"{number:.1f} {unit}"

"""Compare the binaries of two tags."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from cachesync.errors import NotThereError
from cachesync.search.query import Term
from cachesync.search.request import Filter, Request, Searchable, SortKey

_ALL = 2**40


class DiffEntry(NamedTuple):
    """A binary that only one of the tags has."""

    package: str
    hash: str | None
    """The binary's hash, or None if the page doesn't contain a hash."""
    spec: str


class PackageCount(NamedTuple):
    """How many binaries of a package were added and how many are gone."""

    package: str
    added: int
    gone: int


class TagDifference(NamedTuple):
    """The binaries that only one of two tags has."""

    before: str
    after: str
    added: list[DiffEntry]
    """Sorted by package, version and hash."""
    gone: list[DiffEntry]
    packages: list[PackageCount]
    """Sorted by name."""


def difference(index: Searchable, before: str, after: str, filters: Sequence[Filter]) -> TagDifference:
    """Compare the binaries of two tags.

    Raises:
        NotThereError: one of the tags doesn't exist.
    """
    old, new = (_binaries(index, tag, tuple(filters)) for tag in (before, after))
    added = [each for key, each in new.items() if key not in old]
    gone = [each for key, each in old.items() if key not in new]
    came, went = (Counter(each.package for each in binaries) for binaries in (added, gone))
    packages = [PackageCount(name, came[name], went[name]) for name in sorted({*came, *went})]
    return TagDifference(before, after, added, gone, packages)


def _binaries(index: Searchable, tag: str, filters: tuple[Filter, ...]) -> dict[str, DiffEntry]:
    """Return the binaries of a tag, sorted by package, version and hash."""
    if not index.search(Request(Term("tag", tag), limit=0)).total:
        raise NotThereError(f"no page has the tag {tag!r:.80}")
    fields = ("binary", "hash", "package", "spec")
    order = (SortKey("package"), SortKey("version_key"), SortKey("binary"))
    found = index.search(Request(Term("tag", tag), filters=filters, order=order, limit=_ALL, fields=fields))
    return {hit["binary"]: DiffEntry(hit["package"], hit.get("hash"), hit["spec"]) for hit in found.hits}


def as_object(found: TagDifference) -> dict[str, Any]:
    """Return the difference as the object that JSON output contains."""
    return {
        "from": found.before,
        "to": found.after,
        "added": [each._asdict() for each in found.added],
        "gone": [each._asdict() for each in found.gone],
        "packages": [each._asdict() for each in found.packages],
    }

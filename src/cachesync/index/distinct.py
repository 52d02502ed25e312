"""Drops duplicates among hits."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Found = TypeVar("Found")


def first_of_each(found: Iterable[Found], key: Callable[[Found], str]) -> Iterator[Found]:
    """Yield the items found, but only the first of all items that have the same key."""
    seen: set[str] = set()
    for each in found:
        if (its_key := key(each)) not in seen:
            seen.add(its_key)
            yield each

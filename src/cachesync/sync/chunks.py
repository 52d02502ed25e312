"""Split pages into chunks, to bound the memory needed to compare them with the index."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

_Page = TypeVar("_Page")

_MAX_PAGES: Final = 250
_MAX_SPECS: Final = 20_000


def in_chunks(pages: Iterable[_Page], specs_of: Callable[[_Page], int]) -> Iterator[list[_Page]]:
    """Yield the pages in lists; ``specs_of`` returns how many specs of a page the index has."""
    chunk: list[_Page] = []
    specs = 0
    for page in pages:
        chunk.append(page)
        specs += specs_of(page)
        if len(chunk) >= _MAX_PAGES or specs >= _MAX_SPECS:
            yield chunk
            chunk, specs = [], 0
    if chunk:
        yield chunk

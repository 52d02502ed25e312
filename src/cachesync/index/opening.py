"""``index.url`` → the engine that serves it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cachesync.errors import UsageError
from cachesync.index.base import Index
from cachesync.index.embedded import EmbeddedIndex


def open_index(urls: Sequence[str], name: str, resolve: Callable[[Path], Path]) -> Index:
    """Return the index called ``name`` at ``urls``; ``resolve`` makes a folder absolute. Nothing is touched yet.

    Raises:
        UsageError: no engine serves this URL.
    """
    engine, _, place = urls[0].partition(":")
    if engine == "embedded":
        return EmbeddedIndex(resolve(Path(place)), name)
    raise UsageError(f"index.url: {urls[0]}: this version keeps its index in a folder; expected embedded:DIR")

"""``index.url`` → the engine that serves it."""

from collections.abc import Callable
from pathlib import Path

from cachesync.index.base import Index
from cachesync.index.embedded import EmbeddedIndex
from cachesync.index.server import Layout, Server

EMBEDDED = "embedded"


def open_index(server: Server, name: str, layout: Layout, resolve: Callable[[Path], Path]) -> Index:
    """Return the index called ``name`` at a server's URLs; ``resolve`` makes a folder absolute. Nothing is touched yet.

    Raises:
        IndexUnavailableError: the client can't even be made of what is said of the server.
    """
    engine, _, place = server.urls[0].partition(":")
    if engine == EMBEDDED:
        return EmbeddedIndex(resolve(Path(place)), name, layout.keep_generations)
    from cachesync.index.elastic import ElasticIndex  # noqa: PLC0415  its client takes a while to load

    return ElasticIndex(server, name, layout)

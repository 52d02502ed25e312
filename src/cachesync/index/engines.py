"""Chooses the engine of an index by its ``index.url``."""

from collections.abc import Callable
from pathlib import Path

from cachesync.errors import UsageError
from cachesync.index.base import Index
from cachesync.index.connection_health import ConnectionHealth
from cachesync.index.embedded import EmbeddedIndex
from cachesync.index.server import IndexServer, Layout

EMBEDDED = "embedded"


def open_index(
    server: IndexServer,
    name: str,
    layout: Layout,
    resolve: Callable[[Path], Path],
    health: ConnectionHealth | None = None,
) -> Index:
    """Return the index called ``name`` at a server's URLs. Certificates are read; the index isn't accessed yet.

    ``resolve`` makes a folder's path absolute.

    Raises:
        UsageError: the folder's path isn't UTF-8, or a certificate or key is unusable.
    """
    engine, _, place = server.urls[0].partition(":")
    if engine == EMBEDDED:
        folder = resolve(Path(place))
        try:
            str(folder).encode()
        except UnicodeEncodeError:
            raise UsageError(f"index.url: {folder} is not UTF-8: expected a path that is") from None
        return EmbeddedIndex(folder, name, layout.keep_generations)
    from cachesync.index.elastic import ElasticIndex  # noqa: PLC0415  its client takes a while to load

    return ElasticIndex(server, name, layout, health)

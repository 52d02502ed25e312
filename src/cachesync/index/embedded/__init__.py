"""The embedded engine: an index in a folder, made by tantivy, with no server."""

from cachesync.index.embedded.folder import EmbeddedIndex

__all__ = ["EmbeddedIndex"]

"""The embedded engine: an index in a folder, kept by tantivy, without a server."""

from cachesync.index.embedded.folder import EmbeddedIndex

__all__ = ["EmbeddedIndex"]

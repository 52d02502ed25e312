"""The Elasticsearch engine: an index in a cluster, by the core features of every server."""

from cachesync.index.elastic.cluster import ElasticIndex

__all__ = ["ElasticIndex"]

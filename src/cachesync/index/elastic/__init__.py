"""The Elasticsearch engine: an index in a cluster, using only features that every server has."""

from cachesync.index.elastic.cluster import ElasticIndex

__all__ = ["ElasticIndex"]

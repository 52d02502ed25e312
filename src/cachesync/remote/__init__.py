"""The client of another cachesync server: answers queries over HTTP instead of from an index."""

"""Another cachesync, asked over HTTP: the answers of an index without the index."""

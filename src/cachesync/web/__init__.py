"""The HTTP side: an API and a web page, both of which only read the index."""

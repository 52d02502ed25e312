"""Search: turn a typed query into a query tree, a request to an index, and an answer."""

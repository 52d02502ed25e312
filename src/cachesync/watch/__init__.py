"""Watch the pages. What the watcher reports is only a hint: a scan decides what has changed."""

"""Watch the pages. The watcher's reports are only hints: a scan decides what has changed."""

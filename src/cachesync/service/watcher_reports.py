"""Takes the watcher's reports: marks paths as dirty, publishes how the pages are watched, and wakes the loop."""

import time
from collections.abc import Callable

from cachesync.service.session import Resources
from cachesync.sync.scan import EVERYTHING
from cachesync.watch.watcher import WatcherState


class WatcherReports:
    """What the watcher calls, from a thread of its own."""

    def __init__(self, resources: Resources, on_start: Callable[[], None]) -> None:
        """``on_start`` is called whenever watching has started."""
        self._resources = resources
        self._on_start = on_start

    def mark_dirty(self, paths: list[str]) -> None:
        """Mark paths as dirty."""
        self._resources.dirty.mark(paths, time.monotonic())
        self._resources.publish_queue()
        self._resources.wake.set()

    def publish(self, watching: WatcherState) -> None:
        """Publish how the pages are watched now."""
        state = self._resources.state
        before, state.watching = state.watching, watching
        if watching.watching and not (before and before.watching):
            self._on_start()
        elif not watching.watching:  # a full pass finds out what is wrong, such as a missing root
            self.mark_dirty([EVERYTHING])
        self._resources.wake.set()

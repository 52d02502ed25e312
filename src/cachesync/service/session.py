"""The objects that the service's jobs share: for a whole run of the service, and for one term as the writer."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cachesync.index.base import Index
from cachesync.index.connection_health import ConnectionHealth
from cachesync.index.lifecycle import Writer
from cachesync.service.background_reindex import BackgroundReindex
from cachesync.service.debounce import DirtyPaths
from cachesync.service.first_fill import FirstFill
from cachesync.service.freshness_notes import FreshnessNotes
from cachesync.service.loss_guard import LossGuard
from cachesync.service.metrics import Metrics
from cachesync.service.options import JobOptions
from cachesync.service.request_inbox import RequestInbox
from cachesync.service.schedule import Timetable
from cachesync.service.state import ServiceState
from cachesync.sync.scan import EVERYTHING
from cachesync.watch.watcher import WatcherState


@dataclass(frozen=True)
class Resources:
    """The objects that last for one run of the service, however often the service becomes the writer."""

    options: JobOptions
    index: Index
    health: ConnectionHealth
    """The object that ``index`` was opened with."""
    state: ServiceState
    metrics: Metrics
    dirty: DirtyPaths
    wake: threading.Event
    """An event that is set when a job may have become due and when the context is to stop."""

    def publish_queue(self) -> None:
        """Record in the state how many dirty paths are waiting, and since when."""
        with self.state.changing():
            self.state.queue = len(self.dirty)
            self.state.queue_bytes = self.dirty.bytes
            self.state.waiting_since = None if self.state.rolled_back else self.dirty.oldest()

    def mark_dirty(self, paths: list[str]) -> None:
        """Mark the paths that the watcher's thread reports as dirty."""
        self.dirty.mark(paths, time.monotonic())
        self.publish_queue()
        self.wake.set()

    def publish_watching(self, on_start: Callable[[], None], watching: WatcherState) -> None:
        """Record in the state how the pages are now watched, and call ``on_start`` if watching has started."""
        before, self.state.watching = self.state.watching, watching
        if watching.watching and not (before and before.watching):
            on_start()
        elif not watching.watching:  # a full pass finds out what is wrong, such as a missing root
            self.mark_dirty([EVERYTHING])
        self.wake.set()


class Session:
    """The objects that every job needs during one term as the writer."""

    def __init__(self, resources: Resources, writer: Writer, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` determines when requests and freshness notes are due."""
        options, state = resources.options, resources.state
        notes = resources.index.notes()
        self.resources = resources
        self.writer = writer
        self.notes = notes
        self.first_fill = FirstFill(notes)
        self.freshness_notes = FreshnessNotes(
            notes, state, lambda: resources.health.trouble, options.rescan_interval, clock
        )
        self.requests = RequestInbox(writer, notes, clock)
        self.loss_guard = LossGuard(options.guard, notes, state)
        self.timetable = Timetable(options.schedule, notes)
        self.reindex = BackgroundReindex(options.source, writer, state, resources.wake.set)

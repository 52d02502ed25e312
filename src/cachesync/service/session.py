"""What the jobs of the service share while this process is the writer."""

import threading
from collections.abc import Callable
from typing import NamedTuple

from cachesync.index.base import Index, Writer
from cachesync.index.connection_health import ConnectionHealth
from cachesync.service.background_reindex import BackgroundReindex
from cachesync.service.debounce import DirtyPaths
from cachesync.service.first_fill import FirstFill
from cachesync.service.freshness_notes import FreshnessNotes
from cachesync.service.loss_guard import LossGuard
from cachesync.service.metrics import Metrics
from cachesync.service.requests import Requests
from cachesync.service.schedule import Schedule
from cachesync.service.state import ServiceState
from cachesync.service.timetable import Timetable
from cachesync.sync.guard import Consent, Guard
from cachesync.sync.scan import Source


class ServiceSettings(NamedTuple):
    """The configuration of the jobs."""

    source: Source
    guard: Callable[[Consent], Guard]
    """Returns a guard that asks the given function for consent."""
    schedule: Schedule
    rescan_interval: float
    auto_reindex: bool
    """Whether to reindex by itself an index that another version made."""


class Session:
    """One term as the writer: what every job needs. Its fields are many because jobs share all of them."""

    def __init__(
        self,
        settings: ServiceSettings,
        index: Index,
        writer: Writer,
        dirty: DirtyPaths,
        state: ServiceState,
        metrics: Metrics,
        health: ConnectionHealth,
        wake: threading.Event,
    ) -> None:
        """``wake`` is set whenever a job may have become due, and when the context is to stop."""
        self.settings = settings
        self.source = settings.source
        self.index = index
        self.writer = writer
        self.dirty = dirty
        self.state = state
        self.metrics = metrics
        self.health = health
        self.wake = wake
        self.notes = notes = index.notes()
        self.first_fill = FirstFill(notes)
        self.freshness_notes = FreshnessNotes(notes, state, lambda: health.trouble, settings.rescan_interval)
        self.requests = Requests(writer, notes)
        self.loss_guard = LossGuard(settings.guard, notes, state)
        self.timetable = Timetable(settings.schedule, notes)
        self.reindex = BackgroundReindex(settings.source, writer, state, wake.set)

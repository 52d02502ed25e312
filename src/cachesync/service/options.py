"""The service's configuration, as plain values and as functions that open its index and API."""

from collections.abc import Callable
from typing import NamedTuple

from cachesync.index.base import Index
from cachesync.index.connection_health import ConnectionHealth
from cachesync.service.schedule import Schedule
from cachesync.sync.guard import Consent, Guard
from cachesync.sync.scan import Source
from cachesync.watch.messages import Mode
from cachesync.web.api import Api


class JobOptions(NamedTuple):
    """The configuration of the jobs."""

    source: Source
    guard: Callable[[Consent], Guard]
    """Returns a guard that calls the given function to ask for consent."""
    schedule: Schedule
    rescan_interval: float
    auto_reindex: bool
    """Whether to automatically reindex an index that another version made."""


class ServiceOptions(NamedTuple):
    """All settings that one configuration has for the service."""

    jobs: JobOptions
    watch_mode: Mode
    debounce: tuple[float, float]
    """How many seconds a dirty path has to be quiet, and how many seconds it waits at most."""
    host: str
    port: int
    base_path: str
    allow_origins: tuple[str, ...]
    max_lag: float
    """How many seconds a change may wait before the service is no longer ready."""
    open_index: Callable[[ConnectionHealth | None], Index]
    """Opens the index; the given object records the health of the connection."""
    open_api: Callable[[], Api]
    """Returns the HTTP API. The API opens the index separately, so that searches don't delay the service."""
    set_up_log: Callable[[], None]

"""What the service is told by the configuration, as values and as what opens its index and API."""

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
    """Returns a guard that asks the given function for consent."""
    schedule: Schedule
    rescan_interval: float
    auto_reindex: bool
    """Whether to reindex by itself an index that another version made."""


class ServiceOptions(NamedTuple):
    """Everything that one configuration says of the service."""

    jobs: JobOptions
    watch_mode: Mode
    debounce: tuple[float, float]
    """How long a dirty path has to be quiet, and how long it waits at most."""
    host: str
    port: int
    base_path: str
    allow_origins: tuple[str, ...]
    max_lag: float
    """For how many seconds a change may wait before the service isn't ready any more."""
    open_index: Callable[[ConnectionHealth | None], Index]
    """Opens the index, with the given object recording the state of its connection."""
    open_api: Callable[[], Api]
    """Returns the HTTP API. It opens an index of its own, so that searches don't hold up the service."""
    set_up_log: Callable[[], None]

"""How a daemon handles its watcher's messages, without being started."""

from pathlib import Path

import pytest

from cachesync.index.connection_health import ConnectionHealth
from cachesync.index.embedded import EmbeddedIndex
from cachesync.pages.pattern import Pattern
from cachesync.service.daemon import Daemon, WatchOptions
from cachesync.service.metrics import Metrics
from cachesync.service.schedule import Schedule
from cachesync.service.session import ServiceSettings
from cachesync.service.state import Health, ServiceState
from cachesync.sync.guard import Guard
from cachesync.sync.scan import EVERYTHING, Source
from cachesync.watch.watcher import WatcherState


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    source = Source(tmp_path / "pages", Pattern(("_cache/**/specs.md",)), 10_000)
    settings = ServiceSettings(
        source, lambda consent: Guard(0.5, consent), Schedule(None, "UTC"), 3600, auto_reindex=True
    )
    state = ServiceState()
    metrics = Metrics(state, lambda: Health(ready=True, reason=None, degraded=[]), {})
    index = EmbeddedIndex(tmp_path / "index", "specs")
    return Daemon(settings, WatchOptions("native", 0.3, 5), index, state, metrics, ConnectionHealth())


def test_everything_is_dirty_whenever_watching_stops(daemon: Daemon) -> None:
    daemon._on_change(WatcherState("native", watching=True, folders=3))
    assert daemon._dirty.take_all() == []
    for reason in ("no root", "it ended"):
        daemon._on_change(WatcherState("native", watching=False, reason=reason))
        assert daemon._state.queue == 1
        assert daemon._dirty.take_all() == [EVERYTHING]
        daemon._dirty.done()

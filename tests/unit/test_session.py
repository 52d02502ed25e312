"""What becomes of the watcher's reports."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cachesync.index.connection_health import ConnectionHealth
from cachesync.index.embedded import EmbeddedIndex
from cachesync.pages.pattern import Pattern
from cachesync.service.debounce import DirtyPaths
from cachesync.service.metrics import Metrics
from cachesync.service.options import JobOptions
from cachesync.service.schedule import Schedule
from cachesync.service.session import Resources
from cachesync.service.state import Health, ServiceState
from cachesync.sync.guard import Guard
from cachesync.sync.scan import EVERYTHING, Source
from cachesync.watch.watcher import WatcherState


@pytest.fixture
def resources(tmp_path: Path) -> Resources:
    source = Source(tmp_path / "pages", Pattern(("_cache/**/specs.md",)), 10_000)
    options = JobOptions(source, lambda consent: Guard(0.5, consent), Schedule(None, "UTC"), 3600, auto_reindex=True)
    state = ServiceState()
    return Resources(
        options,
        EmbeddedIndex(tmp_path / "index", "specs"),
        ConnectionHealth(),
        state,
        Metrics(state, lambda: Health(ready=True, reason=None, degraded=[]), {}),
        DirtyPaths(0.3, 5),
        threading.Event(),
    )


def counter() -> tuple[list[None], Callable[[], None]]:
    calls: list[None] = []
    return calls, lambda: calls.append(None)


def test_everything_is_dirty_whenever_watching_stops(resources: Resources) -> None:
    starts, on_start = counter()
    resources.publish_watching(on_start, WatcherState("native", watching=True, folders=3))
    assert resources.dirty.take_all() == []
    for reason in ("no root", "it ended"):
        resources.publish_watching(on_start, WatcherState("native", watching=False, reason=reason))
        assert resources.state.queue == 1
        assert resources.dirty.take_all() == [EVERYTHING]
        resources.dirty.done()
    assert len(starts) == 1


def test_each_start_is_told_once(resources: Resources) -> None:
    starts, on_start = counter()
    for folders in (3, 4):
        resources.publish_watching(on_start, WatcherState("native", watching=True, folders=folders))
    assert (len(starts), resources.state.watching) == (1, WatcherState("native", watching=True, folders=4))
    resources.publish_watching(on_start, WatcherState("native", watching=False, reason="it ended"))
    resources.publish_watching(on_start, WatcherState("native", watching=True, folders=4))
    assert len(starts) == 2


def test_the_loop_wakes_for_each_report(resources: Resources) -> None:
    resources.mark_dirty(["_cache/a/b/specs.md"])
    assert resources.wake.is_set()
    resources.wake.clear()
    resources.publish_watching(lambda: None, WatcherState("native", watching=True))
    assert resources.wake.is_set()

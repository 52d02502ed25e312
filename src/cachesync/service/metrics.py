"""Metrics for Prometheus: counters of events, and gauges that are computed at each scrape."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final

from prometheus_client import Counter, Histogram, disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cachesync import __version__
from cachesync.service.state import Health, ServiceState, in_sync, lag
from cachesync.web.metrics import ServerMetrics

_ACKNOWLEDGED: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_BULK: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_PASS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800, 7200)
_KINDS: Final = ("catch-up", "partial", "rescan", "sync", "reindex")
_OUTCOMES: Final = ("done", "held", "failed")


class Metrics(ServerMetrics):
    """All metrics of one service. The class is thread-safe."""

    def __init__(self, state: ServiceState, health: Callable[[], Health], retries: Mapping[str, int]) -> None:
        """Create the metrics; each scrape reads the arguments. ``retries`` counts retried index requests by reason."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations
        super().__init__()
        self._registry.register(_LiveGauges(state, health, retries))
        self._acknowledged = Histogram(
            "cachesync_acknowledged_seconds",
            "From the first report of a page's change until the index has acknowledged it.",
            buckets=_ACKNOWLEDGED,
            registry=self._registry,
        )
        self._bulk = Histogram(
            "cachesync_bulk_seconds", "How long successful bulk requests took.", buckets=_BULK, registry=self._registry
        )
        self._passes = Counter(
            "cachesync_passes_total",
            "Passes that have ended: catch-up, partial, rescan, sync or reindex; done, held or failed.",
            ("kind", "outcome"),
            registry=self._registry,
        )
        for kind, outcome in itertools.product(_KINDS, _OUTCOMES):
            self._passes.labels(kind, outcome)  # starts at 0: rate() would miss the first increment of a new series
        self._pass_seconds = Histogram(
            "cachesync_pass_seconds", "How long passes took.", ("kind",), buckets=_PASS, registry=self._registry
        )
        self._written = Counter(
            "cachesync_specs_written_total",
            "Documents of specs that were added, updated or deleted.",
            ("what",),
            registry=self._registry,
        )
        for what in ("added", "updated", "deleted"):
            self._written.labels(what)

    def acknowledged(self, seconds: float) -> None:
        """Record how many seconds after its first report a page's change was acknowledged."""
        self._acknowledged.observe(seconds)

    def bulk(self, seconds: float) -> None:
        """Record how long a bulk request took."""
        self._bulk.observe(seconds)

    def record_pass(self, kind: str, outcome: str, seconds: float) -> None:
        """Record that a pass has finished. Each kind and outcome is a time series, so neither may come from pages."""
        self._passes.labels(kind, outcome).inc()
        if outcome != "failed":
            self._pass_seconds.labels(kind).observe(seconds)

    def written(self, added: int, updated: int, deleted: int) -> None:
        """Record how many documents were added, updated and deleted."""
        for what, count in (("added", added), ("updated", updated), ("deleted", deleted)):
            self._written.labels(what).inc(count)


class _LiveGauges(Collector):
    """Metrics that are computed from the service's state at each scrape."""

    def __init__(self, state: ServiceState, health: Callable[[], Health], retries: Mapping[str, int]) -> None:
        self._state = state
        self._health = health
        self._retries = retries

    def collect(self) -> Iterator[Metric]:
        state = self._state.snapshot()
        health = self._health()
        watching = state.watching
        folders, overflows, restarts = (
            (watching.folders, watching.overflows, watching.restarts) if watching else (0, 0, 0)
        )
        synced = in_sync(state, None) and health.ready
        last, upcoming = _unix(state.last_reindex), _unix(state.next_reindex)
        gauges: tuple[tuple[str, str, float], ...] = (
            ("pages", "Pages that the index knows.", state.pages),
            ("specs", "Documents of specs in the index.", state.specs),
            ("problems", "Pages that can't be used.", len(state.problems)),
            ("held_pages", "Pages whose deletes the guard withholds.", len(state.withheld)),
            ("queue_paths", "Dirty paths that wait for a pass.", state.queue),
            ("queue_bytes", "Memory that those paths take.", state.queue_bytes),
            ("lag_seconds", "Age of the oldest change that isn't acknowledged.", lag(state, time.monotonic())),
            ("up_to_date", "1 if the index equals the pages, as far as is known.", synced),
            ("ready", "1 if the service is ready, see /readyz.", health.ready),
            ("serving", "1 if this service is the writer; 0 while it stands by.", state.role == "serving"),
            ("degraded", "What needs attention: the number of sentences in /readyz.", len(health.degraded)),
            ("rolled_back", "1 while a rollback pins the index.", state.rolled_back),
            ("reindex_needed", "1 if another version made the generation.", state.reindex_needed),
            ("reindex_running", "1 while a new generation is built.", state.reindexing is not None),
            ("last_reindex_timestamp_seconds", "When the last reindex ended; 0: never.", last),
            ("next_reindex_timestamp_seconds", "When the next reindex is due; 0: never.", upcoming),
            ("watched_folders", "Folders that are watched.", folders),
        )
        counters = (
            ("watcher_overflows", "How often more changed at once than the watcher could report.", overflows),
            ("watcher_restarts", "How often the watcher was restarted.", restarts),
            ("rescan_found", "Changes that only a rescan has found.", state.found_by_rescan),
        )
        for name, text, value in gauges:
            yield GaugeMetricFamily(f"cachesync_{name}", text, value=value)
        for name, text, value in counters:
            yield CounterMetricFamily(f"cachesync_{name}", text, value=value)
        mode = GaugeMetricFamily("cachesync_watcher", "1 if the pages are watched, by mode.", labels=("mode",))
        if watching:
            mode.add_metric((watching.mode,), watching.watching)
        yield mode
        retries = CounterMetricFamily(
            "cachesync_retries", "Requests to the index that were retried.", labels=("reason",)
        )
        for reason, count in dict(self._retries).items():
            retries.add_metric((reason,), count)
        yield retries
        build = GaugeMetricFamily("cachesync_build_info", "The version of cachesync.", labels=("version",))
        build.add_metric((__version__,), 1)
        yield build


def _unix(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0

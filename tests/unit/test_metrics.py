"""Metrics as Prometheus reads them, and their documentation."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cachesync import __version__
from cachesync.pages.page import Problem
from cachesync.service.metrics import Metrics
from cachesync.service.state import Health, ServiceState
from tests.support.watching import watching

DOCUMENTED = Path(__file__).parents[2] / "docs/metrics.md"
WELL = Health(ready=True, reason=None, degraded=[])


def busy() -> ServiceState:
    return ServiceState(
        role="serving",
        caught_up=True,
        pages=1,
        specs=2,
        problems={"a": Problem("a", "bad")},
        withheld={"b": 1, "c": 1},
        queue=6,
        queue_bytes=70,
        waiting_since=0.0,
        found_by_rescan=8,
        last_reindex=datetime(1970, 1, 1, 0, 0, 9, tzinfo=UTC),
        reindexing=0.5,
        watching=watching(overflows=4, restarts=5),
        rolled_back=True,
        reindex_needed=True,
    )


def values(metrics: Metrics) -> dict[str, float]:
    """Return all samples except those of the process, as Prometheus reads them."""
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return {name: value for name, value in found.items() if not name.startswith("process_")}


def test_gauges_are_read_at_each_scrape() -> None:
    state = ServiceState()
    retries: Counter[str] = Counter()
    health = WELL
    metrics = Metrics(state, lambda: health, retries)
    assert values(metrics)["cachesync_pages"] == 0
    for name, value in vars(busy()).items():
        setattr(state, name, value)
    retries["429"] += 3
    health = Health(ready=False, reason="x", degraded=["y", "z"])
    found = values(metrics)
    assert found.pop("cachesync_lag_seconds") > 0
    assert (
        found
        | {
            "cachesync_pages": 1,
            "cachesync_specs": 2,
            "cachesync_problems": 1,
            "cachesync_held_pages": 2,
            "cachesync_queue_paths": 6,
            "cachesync_queue_bytes": 70,
            "cachesync_up_to_date": 0,
            "cachesync_ready": 0,
            "cachesync_serving": 1,
            "cachesync_degraded": 2,
            "cachesync_rolled_back": 1,
            "cachesync_reindex_needed": 1,
            "cachesync_reindex_running": 1,
            "cachesync_last_reindex_timestamp_seconds": 9,
            "cachesync_next_reindex_timestamp_seconds": 0,
            "cachesync_watcher{mode=native}": 1,
            "cachesync_watched_folders": 3,
            "cachesync_watcher_overflows_total": 4,
            "cachesync_watcher_restarts_total": 5,
            "cachesync_rescan_found_total": 8,
            "cachesync_retries_total{reason=429}": 3,
            f"cachesync_build_info{{version={__version__}}}": 1,
        }
        == found
    )


@pytest.mark.parametrize(
    ("state", "health", "expected"),
    [
        (ServiceState(role="serving", caught_up=True), WELL, 1),
        (
            ServiceState(role="serving", caught_up=True),
            Health(ready=False, reason="the index doesn't answer", degraded=[]),
            0,
        ),
        (ServiceState(role="serving", caught_up=True, waiting_since=1.0), WELL, 0),
    ],
)
def test_when_the_index_is_up_to_date(state: ServiceState, health: Health, expected: float) -> None:
    assert values(Metrics(state, lambda: health, {}))["cachesync_up_to_date"] == expected


def test_a_watcher_that_doesnt_watch_is_0() -> None:
    state = replace(busy(), watching=watching(mode="polling", watching=False, overflows=4, restarts=5))
    assert values(Metrics(state, lambda: WELL, {}))["cachesync_watcher{mode=polling}"] == 0


def test_a_standby_service_doesnt_serve() -> None:
    assert values(Metrics(ServiceState(role="standing by"), lambda: WELL, {}))["cachesync_serving"] == 0


def test_events_are_counted() -> None:
    metrics = Metrics(ServiceState(), lambda: WELL, {})
    assert values(metrics)["cachesync_passes_total{kind=reindex,outcome=failed}"] == 0
    assert values(metrics)["cachesync_specs_written_total{what=deleted}"] == 0
    metrics.acknowledged(0.3)
    metrics.acknowledged(3000)
    metrics.bulk(0.02)
    metrics.record_pass("rescan", "done", 0.2)
    metrics.record_pass("rescan", "failed", 2)
    metrics.written(1, 2, 3)
    metrics.written(1, 0, 0)
    found = values(metrics)
    expected = {
        "cachesync_acknowledged_seconds_count": 2,
        "cachesync_acknowledged_seconds_sum": 3000.3,
        "cachesync_acknowledged_seconds_bucket{le=0.05}": 0,
        "cachesync_acknowledged_seconds_bucket{le=0.5}": 1,
        "cachesync_acknowledged_seconds_bucket{le=600.0}": 1,
        "cachesync_bulk_seconds_count": 1,
        "cachesync_passes_total{kind=rescan,outcome=done}": 1,
        "cachesync_passes_total{kind=rescan,outcome=failed}": 1,
        "cachesync_pass_seconds_sum{kind=rescan}": 0.2,
        "cachesync_specs_written_total{what=added}": 2,
        "cachesync_specs_written_total{what=updated}": 2,
        "cachesync_specs_written_total{what=deleted}": 3,
    }
    assert found | expected == found
    assert not [name for name in found if name.endswith("_created")]


def test_two_services_in_one_process_dont_share_metrics() -> None:
    first, second = (Metrics(ServiceState(), lambda: WELL, {}) for _ in range(2))
    first.bulk(1)
    assert values(second)["cachesync_bulk_seconds_count"] == 0


def test_the_process_has_metrics() -> None:
    assert b"process_resident_memory_bytes" in Metrics(ServiceState(), lambda: WELL, {}).text()


def test_every_metric_is_documented() -> None:
    metrics = Metrics(busy(), lambda: WELL, {"429": 1})
    metrics.record_pass("rescan", "done", 1)
    documented = {
        tuple(cell.strip(" `") for cell in line.strip("|").split("|"))
        for line in DOCUMENTED.read_text().splitlines()
        if line.startswith("| `")
    }
    real = set()
    for family in text_string_to_metric_families(metrics.text().decode()):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        ending = "_total" if family.type == "counter" else ""
        if not family.name.startswith("process_"):
            real.add((family.name + ending, family.type, ", ".join(sorted(labels)), family.documentation.rstrip(".")))
    assert documented == real
    for name, kind, *_ in documented:
        assert re.fullmatch(r"cachesync_[a-z]+(_[a-z]+)*", name)
        assert name.endswith("_total") == (kind == "counter")

"""The service's state: when it is ready, its shortcomings, and its lag."""

import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from cachesync.context import Awaited
from cachesync.pages.page import Problem
from cachesync.service.state import Health, LastPass, ServiceState, health, in_sync, lag, status
from tests.support.watching import watching

NOW = 1000.0
MAX_LAG = 600.0


def serving(**changes: Any) -> ServiceState:
    return replace(ServiceState(role="serving", caught_up=True, watching=watching()), **changes)


def test_a_service_that_has_caught_up_is_ready_and_not_degraded() -> None:
    assert health(serving(), None, MAX_LAG, NOW) == (True, None, [])
    assert in_sync(serving(), None)


@pytest.mark.parametrize(
    ("state", "index_trouble", "reason"),
    [
        (ServiceState(), None, "the first full pass isn't done"),
        (ServiceState(trouble="/srv is missing"), None, "the first full pass isn't done: /srv is missing"),
        (serving(role="standing by", holder="host:12"), None, "standing by: host:12 is the writer"),
        (serving(role="standing by"), None, "standing by: another process is the writer"),
        (serving(role="stopping"), None, "the service is stopping"),
        (serving(), "connection refused", "the index can't be used: connection refused"),
        (serving(waiting_since=399.0), None, "the index is behind by 601 s, and http.max_lag allows 600 s"),
        (
            serving(trouble="gone", trouble_since=399.0),
            None,
            "the index is behind by 601 s, and http.max_lag allows 600 s: gone",
        ),
    ],
)
def test_why_it_isnt_ready(state: ServiceState, index_trouble: str | None, reason: str) -> None:
    found = health(state, index_trouble, MAX_LAG, NOW)
    assert (found.ready, found.reason) == (False, reason)
    assert not in_sync(replace(state, role="serving", caught_up=False), index_trouble)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"trouble": "/srv is missing", "trouble_since": NOW}, "can't continue for now: /srv is missing"),
        ({"withheld": {"a": 600, "b": 600}}, "of 2 pages with 1,200 specs"),
        ({"rolled_back": True}, "a rollback pins the index"),
        ({"problems": {"a": Problem("a", "broken")}}, "1 of the pages can't be used"),
        ({"watching": watching(mode="polling", reason="too few watches")}, "by polling: too few watches"),
        (
            {"watching": watching(watching=False, reason="no root")},
            "the pages are not watched, only rescans find changes: no root",
        ),
        (
            {
                "trouble": "pages.root: cannot list it",
                "trouble_since": NOW,
                "watching": watching(watching=False, reason="pages.root: cannot list it"),
            },
            "can't continue for now: pages.root: cannot list it",
        ),
        ({"blind": True, "found_by_rescan": 7}, "found 7"),
    ],
)
def test_shortcomings_leave_it_ready(changes: dict[str, Any], says: str) -> None:
    found = health(serving(**changes), None, MAX_LAG, NOW)
    assert found.ready
    (lack,) = found.degraded
    assert says in lack


def test_polling_by_choice_is_no_shortcoming() -> None:
    assert health(serving(watching=watching(mode="polling")), None, MAX_LAG, NOW).degraded == []


def test_shortcomings_are_listed_even_while_it_isnt_ready() -> None:
    assert len(health(serving(blind=True, rolled_back=True), "down", MAX_LAG, NOW).degraded) == 2


@pytest.mark.parametrize(
    ("waiting", "trouble", "expected"),
    [
        (None, None, 0),
        (990.0, None, 10),
        (None, 980.0, 20),
        (990.0, 980.0, 20),
        (970.0, 980.0, 30),
        (0.0, None, 1000),
        (1001.0, None, 0),
    ],
)
def test_lag_is_the_age_of_the_oldest_change(waiting: float | None, trouble: float | None, expected: float) -> None:
    assert lag(serving(waiting_since=waiting, trouble_since=trouble), NOW) == expected


def test_trouble_keeps_the_time_when_it_began() -> None:
    state = serving()
    state.set_trouble("gone", 0.0)
    state.set_trouble("still gone", 20.0)
    assert (state.trouble, lag(state, 30.0)) == ("still gone", 30)
    state.set_trouble(None, 40.0)
    assert (state.trouble, lag(state, 50.0)) == (None, 0)
    state.set_trouble("again", 60.0)
    assert lag(state, 70.0) == 10


@pytest.mark.parametrize(
    "changes",
    [
        {"role": "standing by"},
        {"caught_up": False},
        {"trouble": "gone"},
        {"waiting_since": NOW},
        {"queue": 1},
        {"withheld": ("a",)},
        {"rolled_back": True},
    ],
)
def test_what_isnt_in_sync(changes: dict[str, Any]) -> None:
    assert not in_sync(serving(**changes), None)


def test_an_index_that_doesnt_answer_isnt_known_to_be_in_sync() -> None:
    assert not in_sync(serving(), "down")


def test_status_is_one_json_object() -> None:
    moment = datetime(2026, 5, 5, 4, tzinfo=UTC)
    state = serving(
        engine="embedded",
        url="embedded:/i",
        generation="spack-specs-3",
        specs=7,
        pages=2,
        problems={"b": Problem("b", "bad", 3), "a": Problem("a", "worse")},
        withheld={"c": 4},
        queue=1,
        queue_bytes=90,
        waiting_since=998.5,
        next_reindex=moment,
        kept_generations=("spack-specs-2",),
        last_pass=LastPass("events", "done", moment, 0.25, 1, 2),
        found_by_rescan=5,
    )
    found = msgspec.json.decode(msgspec.json.encode(status(state, None, MAX_LAG, NOW)))
    assert (found["specs"], found["pages"], found["generation"]) == (7, 2, "spack-specs-3")
    assert found["problems"] == [
        {"page": "a", "message": "worse", "line": None},
        {"page": "b", "message": "bad", "line": 3},
    ]
    assert (found["in_sync"], found["lag_seconds"], found["ready"], len(found["degraded"])) == (False, 1.5, True, 2)
    assert found["queue"] == {"paths": 1, "bytes": 90}
    assert found["held_deletes"] == {"pages": 1, "specs": 4}
    assert found["next_reindex"] == "2026-05-05T04:00:00Z"
    assert found["watcher"] == {
        "mode": "native", "watching": True, "reason": None, "folders": 3, "overflows": 0, "restarts": 0, "blind": False, "found_by_rescan": 5,
    }  # fmt: skip
    assert found["last_pass"] == {
        "kind": "events", "outcome": "done", "started": "2026-05-05T04:00:00Z", "seconds": 0.25, "pages": 1, "specs": 2,
    }  # fmt: skip


def test_a_snapshot_never_shows_half_a_change() -> None:
    state = ServiceState()
    seen: list[ServiceState] = []
    reader = threading.Thread(target=lambda: seen.append(state.snapshot()))
    with state.changing():
        state.specs = 1
        reader.start()
        reader.join(0.2)  # while it is blocked, this only takes time
        state.pages = 1
    reader.join()
    assert [(each.specs, each.pages) for each in seen] == [(1, 1)]


def test_status_names_what_hasnt_responded_for_a_second() -> None:
    state = ServiceState(role="serving", caught_up=True)
    awaited = Awaited("the file system of pages.root /srv/pages", 100.0)
    assert status(state, None, 60, 100.5, awaited)["waiting_for"] is None
    assert status(state, None, 60, 101.5, awaited)["waiting_for"] == {"what": awaited.what, "seconds": 1.5}
    assert status(state, None, 60, 200.0)["waiting_for"] is None


def test_a_long_wait_counts_as_lag_and_degrades() -> None:
    """What has changed meanwhile is not known."""
    state = ServiceState(role="serving", caught_up=True)
    awaited = Awaited("the file system of pages.root /srv/pages", 100.0)
    assert health(state, None, 60, 109, awaited) == Health(ready=True, reason=None, degraded=[])
    late = health(state, None, 60, 120, awaited)
    assert (late.ready, late.degraded) == (
        True,
        ["the service is stalled: " + awaited.what + " hasn't responded for 20 s"],
    )
    behind = health(state, None, 60, 170, awaited)
    assert not behind.ready
    assert "behind by 70 s" in str(behind.reason)

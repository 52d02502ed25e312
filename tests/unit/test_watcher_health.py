"""Whether the watcher reports the changes that rescans find."""

import math

import pytest

from cachesync.service import watcher_health
from cachesync.service.debounce import DirtyPaths
from cachesync.service.state import ServiceState
from cachesync.service.watcher_health import WatcherHealth

PAGE = "_cache/develop/zlib/specs.md"
OTHER = "_cache/develop/hdf5/specs.md"


class Rescans:
    def __init__(self) -> None:
        self.dirty, self.state = DirtyPaths(0, 0), ServiceState()
        self.blindness = WatcherHealth(self.dirty, self.state)

    def missed(self, *found: str, told_before: str = "", told_after: str = "") -> bool:
        """Rescan, and return whether the watcher has missed a change."""
        self.dirty.mark([told_before] if told_before else [], 0)
        self.blindness.rescan_begins()
        self.dirty.take_all()
        self.dirty.done()
        self.blindness.rescan_ended(found)
        assert self.blindness.due < math.inf
        self.dirty.mark([told_after] if told_after else [], 0)
        missed = self.blindness.judge()
        assert self.blindness.due == math.inf
        return missed


def test_changes_that_the_watcher_reports_are_not_missed() -> None:
    rescans = Rescans()
    assert not rescans.missed()
    assert not rescans.missed(PAGE, told_before=PAGE)
    assert not rescans.missed(PAGE, OTHER, told_after="_cache/develop/")
    assert (rescans.state.blind, rescans.state.found_by_rescan) == (False, 0)


def test_changes_that_only_the_rescan_found_are_counted() -> None:
    rescans = Rescans()
    assert rescans.missed(PAGE, OTHER, told_after=OTHER)
    assert (rescans.state.blind, rescans.state.found_by_rescan) == (True, 1)


def test_a_watcher_is_trusted_again_after_rescans_without_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_health, "MAX_RESCANS", 3)
    rescans = Rescans()
    for _ in range(2):
        assert rescans.missed(PAGE)
        for _ in range(2):
            assert not rescans.missed()
            assert rescans.state.blind
    rescans.missed()
    assert (rescans.state.blind, rescans.state.found_by_rescan) == (False, 2)


def test_a_rescan_before_the_last_one_is_judged_adds_to_it() -> None:
    rescans = Rescans()
    for found in (PAGE, OTHER):
        rescans.blindness.rescan_begins()
        rescans.blindness.rescan_ended([found])
    rescans.dirty.mark([PAGE], 0)
    assert rescans.blindness.judge()
    assert rescans.state.found_by_rescan == 1

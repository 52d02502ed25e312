"""A reindex that fails, with a clock that the test sets."""

import itertools
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from cachesync.errors import DefectError, IndexUnavailableError
from cachesync.index.embedded import EmbeddedIndex
from cachesync.pages.pattern import Pattern
from cachesync.service import background_reindex
from cachesync.service.background_reindex import BackgroundReindex
from cachesync.service.state import ServiceState
from cachesync.sync.guard import Guard
from cachesync.sync.reindex import Reindex
from cachesync.sync.scan import Source
from tests.support.pages import entry, page, put

ERROR = IndexUnavailableError("no room for another index")
NOW = 1000.0


def pauses(of: BackgroundReindex) -> list[float]:
    """Return the delay after each further failure, for as long as it grows."""
    found: list[float] = []
    for _ in itertools.count():
        of.failed(ERROR)
        pause = of.not_before - NOW
        if found and pause == found[-1]:
            return found
        found.append(pause)
    raise AssertionError


def test_a_failing_reindex_is_retried_with_back_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_reindex, "time", SimpleNamespace(monotonic=lambda: NOW))
    monkeypatch.setattr("random.uniform", lambda _least, most: most)
    put(tmp_path / "pages", page(entry()))
    state, filled = ServiceState(), threading.Event()
    source = Source(tmp_path / "pages", Pattern(("_cache/**/specs.md",)), 10_000)
    with EmbeddedIndex(tmp_path / "index", "specs").writer(1) as writer:
        reindex = BackgroundReindex(source, writer, state, filled.set)
        grown = pauses(reindex)
        assert grown == [60, 120, 240, 480, 960, 1920, 3600]
        assert state.reindex_trouble == str(ERROR)
        for _ in range(2000):
            reindex.failed(ERROR)
        assert reindex.not_before == NOW + 3600

        reindex.start()
        assert filled.wait(10)
        named: list[str] = []
        assert reindex.finish(Guard(0.5), named.append).pages.added == 1
        assert named == ["specs-1"]
        assert not reindex.running
        assert state.snapshot().reindex_trouble is None
        assert pauses(reindex) == grown


def test_an_unexpected_error_in_the_thread_is_raised_by_finish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_rebuild: Reindex) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Reindex, "fill", fails)
    (tmp_path / "pages").mkdir()
    state, filled = ServiceState(), threading.Event()
    source = Source(tmp_path / "pages", Pattern(("_cache/**/specs.md",)), 10_000)
    with EmbeddedIndex(tmp_path / "index", "specs").writer(1) as writer:
        reindex = BackgroundReindex(source, writer, state, filled.set)
        reindex.start("a-request")
        assert state.reindexing == 0
        assert filled.wait(10)
        with pytest.raises(DefectError, match="ZeroDivisionError"):
            reindex.finish(Guard(0.5), lambda _name: None)
        assert not reindex.running
        assert state.snapshot().reindexing is None
        assert writer.live() is None

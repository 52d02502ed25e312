"""The jobs of the service, done one by one when the test says so, on a real index in a folder."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from cachesync.errors import IndexUnavailableError
from cachesync.index.embedded import EmbeddedIndex
from cachesync.index.vitals import Vitals
from cachesync.pages.pattern import Pattern
from cachesync.service import errands
from cachesync.service.dirty import Dirty
from cachesync.service.handover import Errand, Reply, errand_key, reply_key
from cachesync.service.metrics import Metrics
from cachesync.service.schedule import LAST_REINDEX, Schedule
from cachesync.service.serving import Serving, Settings
from cachesync.service.state import Health, State
from cachesync.service.systemd import Heartbeat
from cachesync.service.timetable import Timetable
from cachesync.sync.guard import Guard
from cachesync.sync.scan import EVERYTHING, Source
from tests.support.pages import entry, page, path_of, put

TAGS, PACKAGES, SPECS = 4, 5, 3
ALL = TAGS * PACKAGES * SPECS


def content(number: int, specs: int = SPECS) -> bytes:
    return page(*(entry(f"h{number}x{spec}" + "a" * 24) for spec in range(specs)))


class Bench:
    """A service that has caught up, and whose loop is the test."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "pages"
        self.folder = folder / "index"
        self.index = EmbeddedIndex(self.folder, "specs")
        self.state = State()
        self.dirty = Dirty(0, 0)
        self._wake = threading.Event()

    def serve(self) -> Iterator["Bench"]:
        source = Source(self.root, Pattern(("_cache/**/specs.md",)), 100_000)
        settings = Settings(source, lambda consent: Guard(0.5, consent=consent), Schedule(None, "UTC"), 3600)
        metrics = self.metrics = Metrics(self.state, lambda: Health(ready=True, reason=None, degraded=[]), {})
        with self.index.writer(1, serving=True) as self.writer:
            self.serving = Serving(
                settings, self.index, self.writer, self.dirty, self.state, metrics, Vitals(), Heartbeat({}), self._wake
            )
            try:
                yield self
            finally:
                self.serving._reindexing.cancel()

    def do(self, name: str) -> float:
        """Do a job, and return in how many seconds it is to be done again."""
        job = next(each for each in self.serving._jobs if each.name == name)
        self.serving._do(job)
        return self.serving._due(job) - time.monotonic()

    def passes(self, kind: str, outcome: str) -> float:
        """How many passes have ended so, by the metrics."""
        counted = f'cachesync_passes_total{{kind="{kind}",outcome="{outcome}"}} '
        return float(self.metrics.text().decode().partition(counted)[2].partition("\n")[0])

    def changed(self, *paths: str) -> None:
        """Look at what the watcher says of these paths."""
        self.dirty.mark(paths, 0)
        self.do("partial")

    def settle(self) -> None:
        """Do what is due until nothing is, without the pauses after what failed."""
        for _ in range(100):
            job = min(self.serving._jobs, key=lambda each: each.due())
            if job.due() > time.monotonic():
                return
            self.serving._do(job)
        pytest.fail(f"{job.name} is due again and again")

    def reindex(self) -> None:
        """Let a reindex be filled."""
        self._wake.clear()
        self.serving._reindexing.start(Guard(0.5))
        assert self._wake.wait(10)

    def size(self) -> tuple[int, int]:
        """How many specs and pages are found."""
        return self.index.reader(fresh=True).size()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    for tag in range(TAGS):
        for number in range(PACKAGES):
            put(bench.root, content(100 * tag + number), f"p{number}", f"t{tag}")
    for each in bench.serve():
        each.do("whole")
        assert each.size() == (ALL, TAGS * PACKAGES)
        yield each


def fail(*_: object, **__: object) -> NoReturn:
    raise IndexUnavailableError("away")


# --- passes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [EVERYTHING, "_cache/t0/", path_of("new", "t0")])
def test_what_couldnt_be_looked_at_is_looked_at_again(bench: Bench, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    put(bench.root, content(1000), "new", "t0")
    with monkeypatch.context() as away:
        for method in ("held", "live"):
            away.setattr(bench.writer, method, fail)
        away.setattr(bench.serving._live, "write", fail)
        bench.changed(path)
    assert bench.size() == (ALL, 20)
    assert (len(bench.dirty), bench.dirty.oldest()) == (1, 0)
    bench.settle()
    assert bench.size() == (ALL + 3, 21)
    assert len(bench.dirty) == 0
    assert bench.passes("partial", "failed") == (path != EVERYTHING), "that one is no pass yet when it fails"


def test_another_root_is_told_from_the_one_that_is_known(bench: Bench) -> None:
    """A path that isn't in it isn't gone."""
    bench.root.rename(bench.root.with_name("away"))
    (bench.root / "_cache").mkdir(parents=True)
    bench.changed("_cache/t0/")
    assert bench.size() == (ALL, 20)
    assert "was replaced" in str(bench.state.trouble)
    bench.settle()
    assert bench.size() == (ALL, 20)
    assert (len(bench.state.held), bench.state.trouble) == (20, None)


def test_what_is_held_back_counts_as_lost(bench: Bench) -> None:
    shutil.rmtree(bench.root / "_cache")
    bench.changed(EVERYTHING)
    for tag in range(TAGS):
        bench.changed(f"_cache/t{tag}/")
    assert bench.size() == (ALL, 20)
    assert (len(bench.state.held), bench.state.lost) == (20, ALL)


def test_what_was_lost_until_the_guard_stopped_it_counts_for_what_follows(bench: Bench) -> None:
    """Half may be lost, and the third quarter is half of what is left then."""
    later = time.monotonic() + 1_000_000
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
        bench.dirty.mark([f"_cache/t{tag}/"], 0)
        bench.dirty.mark([path_of("p0", "t3")], later)  # so there is no quiet moment
        bench.do("partial")
    for _ in range(2):
        assert bench.size() == (ALL // 2, 10)
        assert len(bench.state.held) == 5
        bench.do("whole")
    assert bench.size() == (ALL // 2, 10)


def half_is_gone_and_no_generation_is_live(bench: Bench) -> None:
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
    next(bench.folder.rglob("live")).unlink()


def all_is_gone_and_the_index_cant_be_read(bench: Bench) -> None:
    shutil.rmtree(bench.root / "_cache")
    for meta in bench.folder.rglob("meta.json"):
        meta.write_text("{")
    bench.index.close()


@pytest.mark.parametrize("harm", [half_is_gone_and_no_generation_is_live, all_is_gone_and_the_index_cant_be_read])
def test_what_a_person_has_to_consent_to_isnt_tried_all_the_time(bench: Bench, harm: Callable[[Bench], None]) -> None:
    harm(bench)
    assert bench.do("whole") > 3000
    assert "allow-mass-delete" in str(bench.state.trouble)


# --- reindex ------------------------------------------------------------------------------------------------------------


def test_what_changes_after_it_was_filled_is_in_a_reindex(bench: Bench) -> None:
    bench.reindex()
    put(bench.root, content(1000), "new", "t0")
    bench.do("swap")
    assert bench.index.reader().generation == "specs-2"
    assert bench.size() == (ALL + 3, 21)


def test_what_changes_after_a_reindex_is_in_the_new_generation(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it can't be noted at first when that was."""
    bench.reindex()
    with monkeypatch.context() as away:
        away.setattr(bench.serving._timetable._notes, "put", fail)
        bench.do("swap")
    put(bench.root, content(1000), "new", "t0")
    bench.dirty.mark([path_of("new", "t0")], 0)
    bench.settle()
    assert bench.state.generation == bench.index.reader().generation == "specs-2"
    assert bench.size() == (ALL + 3, 21)


def test_an_index_that_is_lost_during_a_reindex_is_built_anew_at_once(bench: Bench) -> None:
    bench.reindex()
    next(bench.folder.rglob("live")).unlink()
    bench.do("pulse")
    bench.settle()
    assert not bench.serving._reindexing.is_running
    assert bench.size() == (ALL, 20)


def test_a_reindex_that_cant_be_begun_is_no_trouble(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.index.notes().put(LAST_REINDEX, b"2020-01-01T00:00:00+00:00")
    bench.serving._timetable = Timetable(Schedule("0 0 1 1 *", "UTC"), bench.index.notes())
    monkeypatch.setattr(bench.writer, "build", fail)
    for _ in range(2):
        bench.do("schedule")
    assert (bench.state.reindex_trouble, bench.state.trouble, bench.serving._vitals.trouble) == ("away", None, None)
    assert bench.serving._reindexing._failures == 1, "it is put off"
    assert bench.passes("reindex", "failed") == 1


# --- errands ------------------------------------------------------------------------------------------------------------


def test_an_errand_is_tried_for_a_while(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = bench.index.notes()
    notes.put(errand_key("a"), msgspec.json.encode(Errand("sync")))
    bench.index.knock("a")
    with monkeypatch.context() as away:
        away.setattr(bench.writer, "held", fail)
        bench.do("errand")
        assert notes.get(reply_key("a")) is None
        assert bench.writer.knocks() == ["a"]
        away.setattr(errands, "PATIENCE_SECONDS", 0)
        bench.do("errand")
    reply = msgspec.json.decode(notes.get(reply_key("a")) or b"", type=Reply)
    assert reply.failure == ("IndexUnavailableError", "away")
    assert bench.writer.knocks() == []

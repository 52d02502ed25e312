"""The jobs of the service, done one by one when the test says so, on a real index in a folder."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest

from cachesync.errors import IndexUnavailableError
from cachesync.index.embedded import EmbeddedIndex
from cachesync.index.vitals import Vitals
from cachesync.pages.pattern import Pattern
from cachesync.service import errands, guarding
from cachesync.service.dirty import Dirty
from cachesync.service.handover import HELD, Errand, Held, Reply, errand_key, reply_key
from cachesync.service.metrics import Metrics
from cachesync.service.schedule import LAST_REINDEX, Schedule
from cachesync.service.serving import Serving, Settings
from cachesync.service.state import Health, State
from cachesync.service.systemd import Heartbeat
from cachesync.service.timetable import Timetable
from cachesync.sync import turn
from cachesync.sync.guard import Guard
from cachesync.sync.report import Report
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
        with self.index.writer(1, serving=True) as self.writer:
            self.serving = self._serving()
            try:
                yield self
            finally:
                self.serving._reindexing.cancel()

    def _serving(self) -> Serving:
        source = Source(self.root, Pattern(("_cache/**/specs.md",)), 100_000)
        settings = Settings(source, lambda consent: Guard(0.5, consent=consent), Schedule(None, "UTC"), 3600)
        self.metrics = Metrics(self.state, lambda: Health(ready=True, reason=None, degraded=[]), {})
        self.vitals = Vitals()
        return Serving(
            settings,
            self.index,
            self.writer,
            self.dirty,
            self.state,
            self.metrics,
            self.vitals,
            Heartbeat({}),
            self._wake,
        )

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

    def changed_in_a_burst(self, *paths: str) -> None:
        """Look at what the watcher says of these paths, while another is about to be told: there is no quiet moment."""
        self.dirty.mark(paths, 0)
        self.dirty.mark([path_of("never", "t9")], time.monotonic() + 1_000_000)
        self.do("partial")

    def calm(self) -> None:
        """Nothing more is to be told."""
        self.dirty.take_all()
        self.dirty.done()

    def ask(self, id: str, errand: Errand) -> None:
        """Ask for something as a command does, and let the service look for it."""
        self.index.notes().put(errand_key(id), msgspec.json.encode(errand))
        self.index.knock(id)
        self.do("errand")

    def reply(self, id: str) -> Reply:
        """What has come of it."""
        return msgspec.json.decode(self.index.notes().get(reply_key(id)) or b"{}", type=Reply)

    def restart(self) -> None:
        """Serve anew, and know nothing of before."""
        self.state = State()
        self.serving = self._serving()
        self.serving._guarding.remember()

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
        self.serving._reindexing.start()
        assert self._wake.wait(10)

    def troubles(self) -> tuple[str | None, str | None]:
        """What is told of the pages, or of a defect, and of the index."""
        return self.state.trouble, self.vitals.trouble

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


def test_a_look_at_everything_goes_on_from_what_was_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a rescan, or one after an overflow, while a tree is being removed."""
    look = turn.one_turn

    def look_while_more_happens(*arguments: Any, **options: Any) -> Report:
        report = look(*arguments, **options)
        bench.dirty.mark([path_of("never", "t9")], time.monotonic() + 1_000_000)
        return report

    monkeypatch.setattr(turn, "one_turn", look_while_more_happens)
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
        bench.changed_in_a_burst(f"_cache/t{tag}/")
        bench.do("whole")
    assert bench.size() == (ALL // 2, 10)
    assert len(bench.state.held) == 5


def test_after_a_quiet_moment_losses_count_anew(bench: Bench) -> None:
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
        bench.changed(f"_cache/t{tag}/")
        bench.do("whole")
        put(bench.root, content(1000 + tag, ALL), "new", f"n{tag}")
        bench.changed(path_of("new", f"n{tag}"))
    assert not bench.state.held


def test_losses_add_up_for_an_hour_where_there_is_no_quiet_moment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "_WINDOW_SECONDS", -1)
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
        bench.changed_in_a_burst(f"_cache/t{tag}/")
    assert bench.size() == (ALL // 4, 5)


def test_what_is_consented_to_doesnt_count_for_what_follows(bench: Bench) -> None:
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
    bench.changed_in_a_burst(EVERYTHING)
    assert len(bench.state.held) == 15
    bench.ask("a", Errand("sync", consent=True))
    assert bench.size() == (ALL // 4, 5)
    (bench.root / path_of("p0", "t3")).unlink()
    bench.changed_in_a_burst(path_of("p0", "t3"))
    assert bench.size() == (ALL // 4 - SPECS, 4)


def test_pages_that_are_written_anew_add_nothing_that_may_be_lost(bench: Bench) -> None:
    paths = [path_of(f"p{number}", f"t{tag}") for tag in range(TAGS) for number in range(PACKAGES)]
    for number, path in enumerate(paths):
        (bench.root / path).write_bytes(content(9000 + number))
    bench.changed_in_a_burst(*paths)
    shutil.rmtree(bench.root / "_cache")
    bench.changed_in_a_burst(*paths)
    assert bench.size() == (ALL, 20)
    assert len(bench.state.held) == 20


def test_what_is_held_is_noted_however_often_that_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is started again goes on holding it back."""
    for tag in range(2):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
        bench.changed_in_a_burst(f"_cache/t{tag}/")
    (bench.root / path_of("p0", "t2")).unlink()
    with monkeypatch.context() as away:
        away.setattr(bench.serving._guarding._notes, "put", fail)
        bench.changed_in_a_burst(path_of("p0", "t2"))
    bench.do("whole")
    assert Held.decoded(bench.index.notes().get(HELD)) == Held(1, SPECS, ALL // 2)
    bench.restart()
    bench.do("whole")
    assert bench.size() == (ALL // 2, 10)


def test_what_is_held_is_noted_again_when_the_note_may_be_lost(bench: Bench) -> None:
    shutil.rmtree(bench.root / "_cache")
    bench.changed(EVERYTHING)
    bench.index.notes().remove(HELD)
    bench.serving._look_at_everything()
    bench.do("whole")
    assert Held.decoded(bench.index.notes().get(HELD)).pages == 20


@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_missing_when_the_pages_are_back_is_deleted(bench: Bench, restarted: bool) -> None:
    """Though the service began without any page, so that it held everything at once."""
    (bench.root / "_cache").rename(bench.root / "away")
    bench.restart()
    bench.do("whole")
    assert len(bench.state.held) == 20
    put(bench.root, content(1000), "new", "t9")
    bench.changed(path_of("new", "t9"))
    (bench.root / "away").rename(bench.root / "back")
    shutil.copytree(bench.root / "back", bench.root / "_cache", dirs_exist_ok=True)
    (bench.root / path_of("p0", "t0")).unlink()
    if restarted:
        bench.restart()
    bench.do("whole")
    assert bench.size() == (ALL, 20)
    assert not bench.state.held


def test_what_is_held_is_looked_at_again_when_some_of_it_has_come_back(bench: Bench) -> None:
    """At the next quiet moment, whatever else happens until then."""
    for tag in range(3):
        (bench.root / f"_cache/t{tag}").rename(bench.root / f"away{tag}")
    bench.changed(EVERYTHING)
    assert len(bench.state.held) == 15
    for tag in range(2):
        (bench.root / f"away{tag}").rename(bench.root / f"_cache/t{tag}")
        bench.changed_in_a_burst(f"_cache/t{tag}/")
    put(bench.root, content(1000), "new", "t3")
    bench.calm()
    bench.changed(path_of("new", "t3"))
    bench.settle()
    assert not bench.state.held
    assert bench.size() == (ALL * 3 // 4 + SPECS, 16)


def test_a_root_that_is_missing_doesnt_hide_that_the_index_is_gone(bench: Bench) -> None:
    bench.root.rename(bench.root.with_name("away"))
    bench.do("whole")
    pages, index = bench.troubles()
    assert "cannot list" in str(pages)
    assert index is None
    next(bench.folder.rglob("live")).unlink()
    bench.do("pulse")
    assert "being mended" in str(bench.troubles()[1])
    bench.root.with_name("away").rename(bench.root)
    bench.settle()
    assert bench.troubles() == (None, None)


def test_only_what_still_fails_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.root.rename(bench.root.with_name("away"))
    bench.do("whole")
    with monkeypatch.context() as away:
        away.setattr(bench.writer, "knocks", fail)
        bench.do("errand")
        assert bench.troubles()[1] == "away"
    bench.do("errand")
    assert bench.troubles()[1] is None
    bench.root.with_name("away").rename(bench.root)
    with monkeypatch.context() as away:
        away.setattr(bench.writer, "held", fail)
        bench.do("whole")
        assert bench.troubles() == (None, "away")


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
    assert (bench.state.reindex_trouble, bench.state.trouble, bench.vitals.trouble) == ("away", None, None)
    assert bench.serving._reindexing._failures == 1, "it is put off"
    assert bench.passes("reindex", "failed") == 1


def test_a_reindex_loses_nothing_that_is_held_back_meanwhile(bench: Bench) -> None:
    bench.reindex()
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
        bench.changed_in_a_burst(f"_cache/t{tag}/")
    assert len(bench.state.held) == 5
    bench.do("swap")
    assert bench.index.reader().generation == "specs-1"
    assert bench.size() == (ALL // 2, 10)


def test_a_reindex_loses_what_somebody_has_consented_to_meanwhile(bench: Bench) -> None:
    bench.reindex()
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
    bench.ask("a", Errand("sync", consent=True))
    bench.do("swap")
    assert bench.index.reader().generation == "specs-2"
    assert bench.size() == (ALL // 4, 5)


def test_the_watchdog_hears_of_a_swap(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.reindex()
    for number in range(PACKAGES):
        put(bench.root, content(9000 + number), f"p{number}", "t0")
    beats: list[None] = []
    monkeypatch.setattr(bench.serving._heart, "beat", lambda: beats.append(None))
    bench.do("swap")
    assert len(beats) >= PACKAGES


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


def test_a_rollback_whose_reply_fails_isnt_repeated(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.reindex()
    bench.do("swap")
    bench.settle()
    with monkeypatch.context() as away:
        away.setattr(bench.serving._errands._notes, "put", fail)
        bench.ask("a", Errand("rollback"))
    bench.do("errand")
    assert bench.reply("a").generation == bench.index.reader().generation == "specs-1"


def test_a_reindex_whose_reply_fails_ends_a_rollback(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.reindex()
    bench.do("swap")
    bench.settle()
    bench.ask("a", Errand("rollback"))
    bench._wake.clear()
    bench.ask("b", Errand("reindex"))
    assert bench._wake.wait(10)
    with monkeypatch.context() as away:
        away.setattr(bench.serving._errands._notes, "put", fail)
        bench.do("swap")
        bench.do("errand")
    put(bench.root, content(1000), "new", "t0")
    bench.dirty.mark([path_of("new", "t0")], 0)
    bench.settle()
    assert bench.size() == (ALL + SPECS, 21)
    bench.do("errand")
    assert bench.reply("b").report
    assert (bench.state.rolled_back, bench.vitals.trouble) == (False, None)


def test_a_defect_is_replied_to_and_keeps_no_other_waiting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.reindex()
    bench.do("swap")
    bench.settle()

    def break_down(*_: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr("cachesync.sync.turn.sync", break_down)
    for id, errand in (("a", Errand("sync")), ("b", Errand("rollback"))):
        bench.index.notes().put(errand_key(id), msgspec.json.encode(errand))
        bench.index.knock(id)
    bench.do("errand")
    assert bench.reply("a").failure
    assert bench.reply("b").generation == "specs-1"

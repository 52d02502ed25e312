"""The jobs of the service's loop, which the tests run one by one, on a real index in a folder."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NoReturn

import msgspec
import pytest
from structlog.testing import capture_logs

from cachesync.context import Context, Pulse, StoppedError, running
from cachesync.errors import IndexUnavailableError, OvertakenError
from cachesync.index.connection_health import ConnectionHealth
from cachesync.index.embedded import EmbeddedIndex, store
from cachesync.index.freshness import FRESHNESS, Freshness, note_freshness, read_freshness
from cachesync.pages.pattern import Pattern
from cachesync.service import freshness_notes, loss_guard, request_inbox
from cachesync.service.debounce import DirtyPaths
from cachesync.service.first_fill import FillProgress, noted_progress
from cachesync.service.loop import ServiceLoop
from cachesync.service.loss_guard import WITHHELD, Withheld
from cachesync.service.metrics import Metrics
from cachesync.service.options import JobOptions
from cachesync.service.requests import CommandRequest, Response, RootNames
from cachesync.service.schedule import SCHEDULED_SINCE, CountingStart, Schedule
from cachesync.service.session import Resources, Session
from cachesync.service.state import Health, ServiceState, status
from cachesync.sync import full_sync
from cachesync.sync.guard import Guard
from cachesync.sync.report import Report
from cachesync.sync.scan import EVERYTHING, Source
from tests.support.pages import entry, page, path_of, put
from tests.support.service import until

TAGS, PACKAGES, SPECS = 4, 5, 3
ALL = TAGS * PACKAGES * SPECS


def content(number: int, specs: int = SPECS) -> bytes:
    return page(*(entry(f"h{number}x{spec}" + "a" * 24) for spec in range(specs)))


class Bench:
    """A service that has caught up, without its loop: the test runs the jobs."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "pages"
        self.folder = folder / "index"
        self.index = EmbeddedIndex(self.folder, "specs", keep_generations=2)
        self.state = ServiceState()
        self.dirty = DirtyPaths(0, 0)
        self.signs = 0
        self.wake = threading.Event()
        self.ahead = 0.0
        """By how many seconds the clock of requests and freshness notes is ahead."""
        self.schedule = Schedule(None, "UTC")
        self.auto_reindex = True

    def serve(self) -> Iterator["Bench"]:
        with self.index.writer(1, serving=True) as self.writer:
            self.serving = self._serving()
            try:
                yield self
            finally:
                self.serving.session.reindex.cancel()

    def _serving(self) -> ServiceLoop:
        source = Source(self.root, Pattern(("_cache/**/specs.md",)), 100_000)
        options = JobOptions(
            source, lambda consent: Guard(0.5, consent), self.schedule, 3600, auto_reindex=self.auto_reindex
        )
        self.metrics = Metrics(self.state, lambda: Health(ready=True, reason=None, degraded=[]), {})
        self.health = ConnectionHealth()
        self.resources = Resources(options, self.index, self.health, self.state, self.metrics, self.dirty, self.wake)
        return ServiceLoop(Session(self.resources, self.writer, lambda: time.monotonic() + self.ahead))

    def do(self, name: str) -> float:
        """Run a job, and return in how many seconds it is due again."""
        scheduler = self.serving.scheduler
        scheduler.run(scheduler.jobs[name])
        return scheduler.seconds_until(scheduler.jobs[name])

    def passes(self, kind: str, outcome: str) -> float:
        """Return how many passes have ended with this outcome, by the metrics."""
        counted = f'cachesync_passes_total{{kind="{kind}",outcome="{outcome}"}} '
        return float(self.metrics.text().decode().partition(counted)[2].partition("\n")[0])

    def changed(self, *paths: str) -> None:
        """Make paths dirty and run a partial pass."""
        self.dirty.mark(paths, 0)
        self.do("partial pass")

    def changed_in_a_burst(self, *paths: str) -> None:
        """Make paths dirty and run a partial pass, while another dirty path keeps waiting."""
        self.dirty.mark(paths, 0)
        self.dirty.mark([path_of("never", "t9")], time.monotonic() + 1_000_000)
        self.do("partial pass")

    def calm(self) -> None:
        """Clear all dirty paths."""
        self.dirty.take_all()
        self.dirty.done()

    def ask(self, request: CommandRequest) -> str:
        """Write a request as a command that keeps waiting, let the service poll for it, and return the id."""
        self.index.notes().put(f"request-{request.id}", msgspec.json.encode(request))
        self.sign(request.id)
        self.do("requests")
        self.sign(request.id)
        self.do("requests")
        return request.id

    def ask_and_wait(self, request: CommandRequest) -> None:
        """Do the same while the command gives signs until the request is done."""
        with self.signing(request.id):
            self.ask(request)

    def sign(self, id: str) -> None:
        """Give the sign of a waiting command."""
        self.signs += 1
        self.index.notes().put(f"sign-{id}", str(self.signs).encode())

    @contextmanager
    def signing(self, id: str) -> Iterator[None]:
        """Give signs repeatedly."""
        ended = threading.Event()

        def sign() -> None:
            while not ended.wait(0.01):
                self.sign(id)

        thread = threading.Thread(target=sign)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def response(self, id: str) -> Response:
        """Return the response to a request."""
        return msgspec.json.decode(self.index.notes().get(f"response-{id}") or b"{}", type=Response)

    def restart(self) -> None:
        """Start a new service with an empty state."""
        self.state = ServiceState()
        self.serving = self._serving()
        self.serving.session.loss_guard.load()

    def settle(self) -> None:
        """Run jobs until none is due, ignoring the back-off of failed ones."""
        for _ in range(100):
            job = min(self.serving.scheduler.jobs.values(), key=lambda each: each.due())
            if job.due() > time.monotonic():
                return
            self.serving.scheduler.run(job)
        pytest.fail(f"{job.name} is due again and again")

    def reindex(self) -> None:
        """Start a reindex and wait until it is filled."""
        self.wake.clear()
        self.serving.session.reindex.start()
        assert self.wake.wait(10)

    def troubles(self) -> tuple[str | None, str | None]:
        """Return the reported trouble of the service and of the index."""
        return self.state.trouble, self.health.trouble

    def size(self) -> tuple[int, int]:
        """Return how many specs and pages the index has."""
        return self.index.reader(refresh=True).size()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    for tag in range(TAGS):
        for number in range(PACKAGES):
            put(bench.root, content(100 * tag + number), f"p{number}", f"t{tag}")
    for each in bench.serve():
        each.do("full pass")
        assert each.size() == (ALL, TAGS * PACKAGES)
        yield each


def fail(*_: object, **__: object) -> NoReturn:
    raise IndexUnavailableError("away")


# --- passes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [EVERYTHING, "_cache/t0/", path_of("new", "t0")])
def test_paths_of_a_failed_pass_are_dirty_again(bench: Bench, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    put(bench.root, content(1000), "new", "t0")
    with monkeypatch.context() as away:
        for method in ("pinned", "live"):
            away.setattr(bench.writer, method, fail)
        away.setattr(bench.serving.sync_jobs.live, "write", fail)
        bench.changed(path)
    assert bench.size() == (ALL, 20)
    assert (len(bench.dirty), bench.dirty.oldest()) == (1, 0)
    bench.settle()
    assert bench.size() == (ALL + 3, 21)
    assert len(bench.dirty) == 0
    assert bench.passes("partial", "failed") == (path != EVERYTHING), "that one is no pass yet when it fails"


def test_a_replaced_root_is_detected(bench: Bench) -> None:
    """A path that is missing there must not count as deleted."""
    bench.root.rename(bench.root.with_name("away"))
    (bench.root / "_cache").mkdir(parents=True)
    bench.changed("_cache/t0/")
    assert bench.size() == (ALL, 20)
    assert "was replaced" in str(bench.state.trouble)
    bench.settle()
    assert bench.size() == (ALL, 20)
    assert (len(bench.state.withheld), bench.state.trouble) == (20, None)


def test_withheld_deletes_count_as_lost(bench: Bench) -> None:
    shutil.rmtree(bench.root / "_cache")
    bench.changed(EVERYTHING)
    for tag in range(TAGS):
        bench.changed(f"_cache/t{tag}/")
    assert bench.size() == (ALL, 20)
    assert (len(bench.state.withheld), bench.state.lost) == (20, ALL)


def test_losses_before_the_guard_refuses_count_for_later_passes(bench: Bench) -> None:
    """Half may be lost in all; the third quarter would be half of what is left."""
    later = time.monotonic() + 1_000_000
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
        bench.dirty.mark([f"_cache/t{tag}/"], 0)
        bench.dirty.mark([path_of("p0", "t3")], later)  # so that a change is always waiting
        bench.do("partial pass")
    for _ in range(2):
        assert bench.size() == (ALL // 2, 10)
        assert len(bench.state.withheld) == 5
        bench.do("full pass")
    assert bench.size() == (ALL // 2, 10)


def test_a_full_pass_continues_from_earlier_losses(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a rescan, or one after an overflow, while a tree is being removed."""
    look = full_sync.sync_once

    def look_while_more_happens(*arguments: Any, **options: Any) -> Report:
        report = look(*arguments, **options)
        bench.dirty.mark([path_of("never", "t9")], time.monotonic() + 1_000_000)
        return report

    monkeypatch.setattr(full_sync, "sync_once", look_while_more_happens)
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
        bench.changed_in_a_burst(f"_cache/t{tag}/")
        bench.do("full pass")
    assert bench.size() == (ALL // 2, 10)
    assert len(bench.state.withheld) == 5


def test_losses_are_reset_when_no_change_waits(bench: Bench) -> None:
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
        bench.changed(f"_cache/t{tag}/")
        bench.do("full pass")
        put(bench.root, content(1000 + tag, ALL), "new", f"n{tag}")
        bench.changed(path_of("new", f"n{tag}"))
    assert not bench.state.withheld


def test_losses_add_up_for_an_hour_while_changes_keep_coming(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_guard, "WINDOW_SECONDS", -1)
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
        bench.changed_in_a_burst(f"_cache/t{tag}/")
    assert bench.size() == (ALL // 4, 5)


def test_a_loss_with_consent_doesnt_count_for_later_passes(bench: Bench) -> None:
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
    bench.changed_in_a_burst(EVERYTHING)
    assert len(bench.state.withheld) == 15
    bench.ask_and_wait(CommandRequest(command="sync", consent=True))
    assert bench.size() == (ALL // 4, 5)
    (bench.root / path_of("p0", "t3")).unlink()
    bench.changed_in_a_burst(path_of("p0", "t3"))
    assert bench.size() == (ALL // 4 - SPECS, 4)


def test_rewritten_pages_dont_raise_the_limit_of_losses(bench: Bench) -> None:
    paths = [path_of(f"p{number}", f"t{tag}") for tag in range(TAGS) for number in range(PACKAGES)]
    for number, path in enumerate(paths):
        (bench.root / path).write_bytes(content(9000 + number))
    bench.changed_in_a_burst(*paths)
    shutil.rmtree(bench.root / "_cache")
    bench.changed_in_a_burst(*paths)
    assert bench.size() == (ALL, 20)
    assert len(bench.state.withheld) == 20


def test_withheld_pages_are_noted_despite_failures(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restarted service continues to withhold them."""
    for tag in range(2):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
        bench.changed_in_a_burst(f"_cache/t{tag}/")
    (bench.root / path_of("p0", "t2")).unlink()
    with monkeypatch.context() as away:
        away.setattr(bench.serving.session.notes, "put", fail)
        bench.changed_in_a_burst(path_of("p0", "t2"))
    bench.do("full pass")
    assert Withheld.decoded(bench.index.notes().get(WITHHELD)) == Withheld(1, SPECS, ALL // 2)
    bench.restart()
    bench.do("full pass")
    assert bench.size() == (ALL // 2, 10)


def test_withheld_pages_are_noted_again_when_the_note_may_be_lost(bench: Bench) -> None:
    shutil.rmtree(bench.root / "_cache")
    bench.changed(EVERYTHING)
    bench.index.notes().remove(WITHHELD)
    bench.serving.sync_jobs.require_full_pass()
    bench.do("full pass")
    assert Withheld.decoded(bench.index.notes().get(WITHHELD)).pages == 20


@pytest.mark.parametrize("restarted", [False, True])
def test_pages_still_missing_when_the_others_return_are_deleted(bench: Bench, restarted: bool) -> None:
    """Although the service started without any page, so that it withheld everything at once."""
    (bench.root / "_cache").rename(bench.root / "away")
    bench.restart()
    bench.do("full pass")
    assert len(bench.state.withheld) == 20
    put(bench.root, content(1000), "new", "t9")
    bench.changed(path_of("new", "t9"))
    (bench.root / "away").rename(bench.root / "back")
    shutil.copytree(bench.root / "back", bench.root / "_cache", dirs_exist_ok=True)
    (bench.root / path_of("p0", "t0")).unlink()
    if restarted:
        bench.restart()
    bench.do("full pass")
    assert bench.size() == (ALL, 20)
    assert not bench.state.withheld


def test_withheld_pages_are_scanned_again_when_some_return(bench: Bench) -> None:
    """When no change waits any more, whatever happens until then."""
    for tag in range(3):
        (bench.root / f"_cache/t{tag}").rename(bench.root / f"away{tag}")
    bench.changed(EVERYTHING)
    assert len(bench.state.withheld) == 15
    for tag in range(2):
        (bench.root / f"away{tag}").rename(bench.root / f"_cache/t{tag}")
        bench.changed_in_a_burst(f"_cache/t{tag}/")
    put(bench.root, content(1000), "new", "t3")
    bench.calm()
    bench.changed(path_of("new", "t3"))
    bench.settle()
    assert not bench.state.withheld
    assert bench.size() == (ALL * 3 // 4 + SPECS, 16)


def test_a_missing_root_doesnt_hide_a_missing_index(bench: Bench) -> None:
    bench.root.rename(bench.root.with_name("away"))
    bench.do("full pass")
    pages, index = bench.troubles()
    assert "cannot list" in str(pages)
    assert index is None
    next(bench.folder.rglob("live")).unlink()
    bench.do("index check")
    assert "being repaired" in str(bench.troubles()[1])
    bench.root.with_name("away").rename(bench.root)
    bench.settle()
    assert bench.troubles() == (None, None)


def test_only_jobs_that_still_fail_are_reported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.root.rename(bench.root.with_name("away"))
    bench.do("full pass")
    with monkeypatch.context() as away:
        away.setattr(bench.writer, "signals", fail)
        bench.do("requests")
        assert bench.troubles()[1] == "away"
    bench.do("requests")
    assert bench.troubles()[1] is None
    bench.root.with_name("away").rename(bench.root)
    with monkeypatch.context() as away:
        away.setattr(bench.writer, "pinned", fail)
        bench.do("full pass")
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
def test_a_job_that_needs_consent_is_retried_rarely(bench: Bench, harm: Callable[[Bench], None]) -> None:
    harm(bench)
    assert bench.do("full pass") > 3000
    assert "allow-mass-delete" in str(bench.state.trouble)


def test_progress_of_the_first_fill_is_noted_until_it_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[FillProgress | None] = []
    first_fill = bench.serving.session.first_fill
    note = first_fill.note

    def listened(done: int, pages: int) -> None:
        note(done, pages)
        told.append(noted_progress(bench.index.notes()))

    monkeypatch.setattr(first_fill, "note", listened)
    next(bench.folder.rglob("live")).unlink()
    bench.do("index check")
    bench.serving.sync_jobs.live = None
    bench.do("full pass")
    assert told[0] == FillProgress(1, 20)
    assert noted_progress(bench.index.notes()) is None


def test_an_index_whose_notes_cant_be_written_is_still_filled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.serving.session.notes, "put", fail)
    monkeypatch.setattr(bench.serving.session.notes, "remove", fail)
    bench.serving.sync_jobs.live = None
    put(bench.root, content(1000), "new", "t0")
    bench.do("full pass")
    assert bench.size() == (ALL + 3, 21)


# --- freshness ----------------------------------------------------------------------------------------------------------


def is_noted(bench: Bench) -> Freshness:
    """Return the freshness by the next note."""
    assert bench.serving.session.freshness_notes.due() < time.monotonic() + 3, "nothing is to be noted"
    bench.do("freshness")
    found = read_freshness(bench.index.notes())
    assert found
    return found


def test_freshness_is_noted_after_catching_up_and_after_writes(bench: Bench) -> None:
    first = is_noted(bench)
    assert (first.writer, first.in_sync, first.written) == ("service", True, bench.state.last_written)
    assert bench.do("freshness") > 4000, "it changes no more"
    put(bench.root, content(1000), "new", "t0")
    bench.changed(path_of("new", "t0"))
    second = is_noted(bench)
    assert first.written
    assert second.written
    assert second.written > first.written


def test_freshness_is_noted_after_a_rescan_that_found_nothing(bench: Bench) -> None:
    before = is_noted(bench)
    bench.do("full pass")
    after = is_noted(bench)
    assert after.equals_ignoring_time(before)
    assert after.noted > before.noted


def test_freshness_includes_withheld_deletes_and_a_rollback(bench: Bench) -> None:
    (bench.root / "_cache").rename(bench.root / "away")
    bench.changed(EVERYTHING)
    held = is_noted(bench)
    assert (held.in_sync, held.degraded, held.lag(held.noted)) == (False, ("held",), 0)
    (bench.root / "away").rename(bench.root / "_cache")
    bench.do("full pass")
    assert is_noted(bench).in_sync
    bench.reindex()
    bench.do("promotion")
    bench.settle()
    bench.ask(CommandRequest(command="rollback"))
    rolled_back = is_noted(bench)
    assert (rolled_back.in_sync, rolled_back.degraded) == (False, ("rolled-back",))


@pytest.mark.parametrize("asked", [False, True], ids=["by itself", "for a command"])
def test_freshness_is_noted_during_a_long_pass(bench: Bench, monkeypatch: pytest.MonkeyPatch, asked: bool) -> None:
    """Otherwise an index that isn't in sync would appear to be until the pass has ended."""
    is_noted(bench)
    monkeypatch.setattr(freshness_notes, "CHECK_SECONDS", 0)
    monkeypatch.setattr(freshness_notes, "SETTLED_SECONDS", 0)
    bench.ahead += 2  # it has just checked
    told: list[Freshness | None] = []
    note = bench.serving.session.freshness_notes.note_if_due

    def listened() -> None:
        note()
        told.append(read_freshness(bench.index.notes()))

    monkeypatch.setattr(bench.serving.session.freshness_notes, "note_if_due", listened)
    for number in range(2):
        put(bench.root, content(1000 + number), f"new{number}", "t0")
    bench.dirty.mark([EVERYTHING], time.monotonic())
    bench.resources.publish_queue()
    if asked:
        bench.ask_and_wait(CommandRequest(command="sync"))
    else:
        bench.do("full pass")
    _, last = told
    assert last
    assert not last.in_sync
    assert last.lag_seconds > 0


def test_a_failed_freshness_note_has_no_effect(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness_notes, "SETTLED_SECONDS", 0)
    monkeypatch.setattr(bench.serving.session.notes, "put", fail_of(bench, FRESHNESS))
    put(bench.root, content(1000), "new", "t0")
    bench.changed(EVERYTHING)
    assert bench.do("freshness") > 5, "it is tried again, though not at once"
    assert bench.troubles() == (None, None)
    assert bench.size() == (ALL + 3, 21)


def fail_of(bench: Bench, refused: str) -> Callable[[str, bytes], None]:
    """Return a function that writes notes but fails for one key."""
    puts = bench.index.notes().put
    return lambda key, text: fail() if key == refused else puts(key, text)


@contextmanager
def working(bench: Bench, ends: type[Exception]) -> Iterator[threading.Event]:
    """Run the service's own loop within the block, and check how it ends. The event wakes the loop."""
    stop, ended = threading.Event(), []

    def work() -> None:
        try:
            with running(Context(stop)):
                bench.serving.run()
        except (StoppedError, OvertakenError) as error:
            ended.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield bench.wake
    finally:
        stop.set()
        bench.wake.set()
        thread.join(10)
    assert ended == [ends]


def test_a_service_notes_freshness_at_its_start_and_end(bench: Bench) -> None:
    written = datetime(2026, 1, 1, tzinfo=UTC)
    note_freshness(bench.index.notes(), Freshness(noted=written, writer="command", in_sync=True, written=written))
    bench.state.caught_up = False
    bench.state.last_written = None
    (bench.root / "_cache").rename(bench.root / "away")
    with working(bench, StoppedError):
        until(lambda: note_of(bench).writer == "service", "the first note")
        begun = note_of(bench)
        assert (begun.in_sync, begun.written, begun.is_followed(begun.noted)) == (False, written, True)
    assert not note_of(bench).is_followed(begun.noted)


def test_a_service_that_was_overtaken_writes_no_more_notes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state is older than what the new writer has noted."""

    def overtaken() -> NoReturn:
        note_freshness(bench.index.notes(), other)
        raise OvertakenError

    other = Freshness(noted=datetime.now(UTC), writer="command", in_sync=True)
    monkeypatch.setattr(bench.writer, "signals", overtaken)
    with working(bench, OvertakenError):
        until(lambda: note_of(bench) == other, "the other to take over")
    assert note_of(bench) == other


def note_of(bench: Bench) -> Freshness:
    found = read_freshness(bench.index.notes())
    assert found
    return found


# --- reindex ------------------------------------------------------------------------------------------------------------


def test_changes_after_filling_are_part_of_a_reindex(bench: Bench) -> None:
    bench.reindex()
    put(bench.root, content(1000), "new", "t0")
    bench.do("promotion")
    assert bench.index.reader().generation == "specs-2"
    assert bench.size() == (ALL + 3, 21)


def test_changes_after_a_reindex_go_to_the_new_generation(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the time of the reindex can't be noted at first."""
    bench.reindex()
    with monkeypatch.context() as away:
        away.setattr(bench.serving.session.notes, "put", fail)
        bench.do("promotion")
    put(bench.root, content(1000), "new", "t0")
    bench.dirty.mark([path_of("new", "t0")], 0)
    bench.settle()
    assert bench.state.generation == bench.index.reader().generation == "specs-2"
    assert bench.size() == (ALL + 3, 21)


def test_an_index_lost_during_a_reindex_is_rebuilt_at_once(bench: Bench) -> None:
    bench.reindex()
    next(bench.folder.rglob("live")).unlink()
    bench.do("index check")
    bench.settle()
    assert not bench.serving.session.reindex.running
    assert bench.size() == (ALL, 20)


def test_a_reindex_that_cant_start_is_not_trouble(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = Schedule("0 0 1 1 *", "UTC")
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    bench.index.notes().put(SCHEDULED_SINCE, CountingStart(long_ago, schedule.text).encoded())
    bench.schedule = schedule
    bench.restart()
    bench.do("full pass")
    monkeypatch.setattr(bench.writer, "build", fail)
    bench.wake.clear()
    bench.do("schedule")
    assert bench.wake.wait(10)
    bench.do("promotion")
    bench.do("schedule")
    assert (bench.state.reindex_trouble, bench.state.trouble, bench.health.trouble) == ("away", None, None)
    assert not bench.serving.session.reindex.running, "it is put off"
    assert bench.passes("reindex", "failed") == 1


def test_a_reindex_keeps_pages_that_are_withheld_meanwhile(bench: Bench) -> None:
    bench.reindex()
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
        bench.changed_in_a_burst(f"_cache/t{tag}/")
    assert len(bench.state.withheld) == 5
    bench.do("promotion")
    assert bench.index.reader().generation == "specs-1"
    assert bench.size() == (ALL // 2, 10)


def test_a_reindex_loses_what_was_consented_to_meanwhile(bench: Bench) -> None:
    bench.reindex()
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
    bench.ask_and_wait(CommandRequest(command="sync", consent=True))
    bench.do("promotion")
    assert bench.index.reader().generation == "specs-2"
    assert bench.size() == (ALL // 4, 5)


def test_promotion_gives_signs_of_life(bench: Bench) -> None:
    signs: list[None] = []
    with running(Context(pulse=Pulse(lambda: signs.append(None), every=0))):
        bench.reindex()
        for number in range(PACKAGES):
            put(bench.root, content(9000 + number), f"p{number}", "t0")
        signs.clear()
        bench.do("promotion")
    assert len(signs) >= PACKAGES


def test_a_reindex_without_readable_pages_has_no_progress_and_no_error(bench: Bench) -> None:
    """It must not divide by the number of pages."""
    shutil.rmtree(bench.root / "_cache")
    (bench.root / "_cache").mkdir()
    bench.reindex()
    assert bench.state.reindexing == 0
    bench.do("promotion")
    assert (bench.state.trouble, bench.state.reindex_trouble) == (None, None)
    assert bench.size() == (ALL, 20)


@pytest.mark.parametrize("by_itself", [True, False])
def test_an_index_of_another_version_is_rebuilt_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, by_itself: bool
) -> None:
    bench.auto_reindex = by_itself
    bench.restart()
    with monkeypatch.context() as other:
        other.setattr(store, "fingerprint", lambda: "another")
        bench.do("full pass")
        assert bench.state.reindex_needed
        bench.wake.clear()
        bench.do("schedule")
        assert bool(bench.serving.session.reindex.running) is by_itself
    if not by_itself:
        return
    assert bench.wake.wait(10)
    bench.do("promotion")
    assert bench.index.reader().generation == "specs-2"
    monkeypatch.setattr(store, "fingerprint", lambda: "a third")
    bench.do("full pass")
    assert bench.state.reindex_needed
    bench.do("schedule")
    assert not bench.serving.session.reindex.running, "that is for a person to look at"


# --- requests -----------------------------------------------------------------------------------------------------------


def test_a_request_of_a_command_that_has_ended_is_never_carried_out(bench: Bench) -> None:
    """Whatever it had consented to, and whatever is on disk now."""
    shutil.rmtree(bench.root / "_cache")
    notes = bench.index.notes()
    for command in ("sync", "reindex", "rollback"):
        request = CommandRequest(command=command, consent=True)
        notes.put(f"request-{request.id}", msgspec.json.encode(request))
        bench.sign(request.id)
    for _ in range(3):
        bench.do("requests")
    assert not bench.serving.session.reindex.running
    assert bench.size() == (ALL, 20)
    assert bench.passes("sync", "done") == bench.passes("sync", "held") == 0


@pytest.mark.parametrize("command", ["sync", "reindex"])
def test_a_request_with_another_root_is_refused(bench: Bench, command: Literal["sync", "reindex"]) -> None:
    """Otherwise consent would be applied to pages that it was not given for."""
    shutil.rmtree(bench.root / "_cache")
    other = RootNames.of(bench.root.parent / "other")
    id = bench.ask(CommandRequest(command=command, consent=True, root=other))
    failure = bench.response(id).failure
    assert failure
    assert (failure.kind, other.configured in failure.message, str(bench.root) in failure.message) == (
        "usage",
        True,
        True,
    )
    assert not bench.serving.session.reindex.running
    assert bench.size() == (ALL, 20)


def test_a_request_may_name_the_same_root_differently(bench: Bench) -> None:
    link = bench.root.parent / "link"
    link.symlink_to(bench.root)
    same = RootNames.of(bench.root)
    for root in (None, same, RootNames.of(link), msgspec.structs.replace(same, real="/elsewhere")):
        request = CommandRequest(command="sync", root=root)
        bench.ask_and_wait(request)
        assert bench.response(request.id).failure is None


def test_consent_ends_with_the_command_that_gave_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the command was still waiting when its sync started."""
    monkeypatch.setattr(request_inbox, "SILENT_SECONDS", 0.5)
    shutil.rmtree(bench.root / "_cache")
    bench.ask(CommandRequest(command="sync", consent=True))
    assert bench.size() == (ALL, 20)
    assert len(bench.state.withheld) == 20


def test_consent_counts_what_was_lost_before(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise withheld pages could be deleted without consent, or after consent was refused."""
    monkeypatch.setattr(request_inbox, "SILENT_SECONDS", 0.5)
    for tag in range(3):
        shutil.rmtree(bench.root / f"_cache/t{tag}")
        bench.changed_in_a_burst(f"_cache/t{tag}/")
    assert (bench.size(), len(bench.state.withheld)) == ((ALL // 2, 10), 5)
    bench.ask(CommandRequest(command="sync", consent=True))  # whose command has ended
    for _ in range(2):
        assert (bench.size(), len(bench.state.withheld)) == ((ALL // 2, 10), 5)
        bench.do("full pass")


def test_a_reindex_ends_with_the_command_that_asked_for_it(bench: Bench) -> None:
    bench.wake.clear()
    id = bench.ask(CommandRequest(command="reindex"))
    assert bench.wake.wait(10)
    assert bench.serving.session.reindex.running
    for _ in range(30):
        bench.ahead += 0.5
        bench.do("requests")
    assert bench.serving.session.reindex.running is None
    assert not any(id in key for key in bench.index.notes().list_keys())
    assert bench.index.reader().generation == "specs-1"


def test_a_failure_is_responded_to_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As fast as without a service: requests to the index have already been retried for as long as is allowed."""
    with monkeypatch.context() as away:
        away.setattr(bench.writer, "pinned", fail)
        id = bench.ask(CommandRequest(command="sync"))
    response = bench.response(id)
    assert response.failure
    assert response.failure.message == "away"
    with pytest.raises(IndexUnavailableError, match="away"):
        response.raise_failure()


def test_writing_progress_may_fail(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_inbox, "PROGRESS_SECONDS", 0)
    put(bench.root, content(1000), "new", "t0")
    request = CommandRequest(command="sync")
    puts = bench.serving.session.notes.put

    def fail_with_progress(key: str, text: bytes) -> None:
        if b'"pages":0' not in text and b"done" in text and b'"finished":true' not in text:
            fail()
        puts(key, text)

    monkeypatch.setattr(bench.serving.session.notes, "put", fail_with_progress)
    assert bench.response(bench.ask(request)).report
    assert bench.size() == (ALL + SPECS, 21)


def reindex_twice(bench: Bench) -> None:
    """Keep two generations besides the live one."""
    for _ in range(2):
        bench.reindex()
        bench.do("promotion")
        bench.settle()


def test_a_rollback_is_done_once_even_if_its_service_is_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed between the promotion and the response."""
    reindex_twice(bench)
    request = CommandRequest(command="rollback")
    with monkeypatch.context() as away:
        away.setattr(bench.serving.session.requests, "settle", lambda *_: None)
        bench.ask(request)
    assert bench.index.reader().generation == "specs-2"
    bench.restart()
    bench.ask(request)
    assert bench.response(request.id) == Response.live("specs-2")
    assert bench.index.reader().generation == "specs-2"
    assert bench.state.rolled_back


def test_a_reindex_is_done_once_even_if_its_service_is_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    request = CommandRequest(command="reindex")
    bench.wake.clear()
    bench.ask(request)
    assert bench.wake.wait(10)
    with monkeypatch.context() as away:
        away.setattr(bench.serving.session.requests, "settle", lambda *_: None)
        bench.do("promotion")
    bench.restart()
    bench.ask(request)
    report = bench.response(request.id).report
    assert report
    assert (report.pages.added, report.specs.added) == (20, ALL)
    assert bench.index.reader().generation == "specs-2"


@contextmanager
def responses_fail(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the index refuse the notes by which commands learn that their requests are finished."""
    notes = bench.serving.session.notes
    puts = notes.put
    with monkeypatch.context() as away:
        away.setattr(notes, "put", lambda key, text: fail() if b'"finished":true' in text else puts(key, text))
        yield


def test_a_rollback_whose_response_fails_isnt_repeated(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    reindex_twice(bench)
    with responses_fail(bench, monkeypatch):
        id = bench.ask(CommandRequest(command="rollback"))
    bench.do("requests")
    assert bench.response(id).generation == bench.index.reader().generation == "specs-2"


def test_promotion_waits_until_it_can_be_noted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it might be done twice."""
    reindex_twice(bench)
    with monkeypatch.context() as away:
        away.setattr(bench.serving.session.notes, "put", fail)
        id = bench.ask(CommandRequest(command="rollback"))
    bench.do("requests")
    assert bench.response(id).failure
    assert bench.index.reader().generation == "specs-3"


def test_a_reindex_whose_response_fails_ends_a_rollback(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.reindex()
    bench.do("promotion")
    bench.settle()
    bench.ask(CommandRequest(command="rollback"))
    bench.wake.clear()
    id = bench.ask(CommandRequest(command="reindex"))
    assert bench.wake.wait(10)
    with responses_fail(bench, monkeypatch):
        bench.do("promotion")
        bench.do("requests")
    put(bench.root, content(1000), "new", "t0")
    bench.dirty.mark([path_of("new", "t0")], 0)
    bench.settle()
    assert bench.size() == (ALL + SPECS, 21)
    bench.do("requests")
    assert bench.response(id).report
    assert (bench.state.rolled_back, bench.health.trouble) == (False, None)


def test_an_unexpected_error_is_responded_to_and_blocks_no_other_request(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.reindex()
    bench.do("promotion")
    bench.settle()

    def break_down(*_: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr("cachesync.sync.full_sync.sync", break_down)
    first, second = CommandRequest(command="sync", asked_at="1"), CommandRequest(command="rollback", asked_at="2")
    bench.index.notes().put(f"request-{first.id}", msgspec.json.encode(first))
    bench.sign(first.id)
    bench.do("requests")
    bench.sign(first.id)
    bench.ask(second)
    failure = bench.response(first.id).failure
    assert failure
    assert failure.kind == "internal"
    assert bench.response(second.id).generation == "specs-1"


def test_a_folder_that_becomes_a_link_is_gone_and_nothing_else_is_withheld(bench: Bench) -> None:
    for tag in ("t0", "t1"):
        folder = bench.root / "_cache" / tag
        folder.rename(bench.root.parent / tag)
        folder.symlink_to(bench.root.parent / tag)
        bench.changed(f"_cache/{tag}/")
        assert (bench.state.withheld, len(bench.dirty), bench.troubles()) == ({}, 0, (None, None))
        assert f"_cache/{tag}" in bench.state.warnings
    (bench.root / path_of("p0", "t2")).unlink()
    bench.changed(path_of("p0", "t2"))
    assert bench.size() == (ALL // 2 - SPECS, TAGS * PACKAGES // 2 - 1)


def warnings(bench: Bench) -> tuple[list[str], list[str]]:
    """Return the paths of warnings in the state and in the status over HTTP."""
    told = status(bench.state, None, 600, time.monotonic())["warnings"]
    return sorted(bench.state.warnings), [warning["path"] for warning in told]


def test_a_warning_stays_until_its_path_is_scanned_again(bench: Bench, tmp_path: Path) -> None:
    links = [bench.root / "_cache/one", bench.root / "_cache/t0/two"]
    both = ["_cache/one", "_cache/t0/two"]
    with capture_logs() as logged:
        for link in links:
            link.symlink_to(tmp_path)
            bench.changed(f"{link.relative_to(bench.root)}/")
        assert warnings(bench) == (both, both)
        bench.changed(path_of("p0", "t0"), "_cache/t1/")
        bench.do("full pass")
    assert warnings(bench) == (both, both)
    assert [line["path"] for line in logged if line.get("action") == "link.skipped"] == both, "each is told once"
    links[0].unlink()
    bench.changed("_cache/one/")
    assert warnings(bench) == (both[1:], both[1:])
    shutil.rmtree(bench.root / "_cache/t0")
    bench.changed("_cache/t0/")
    assert warnings(bench) == ([], [])


def test_a_folder_that_becomes_readable_is_no_longer_a_problem(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def failing(path: str) -> object:
        if path.endswith("/t0/"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", failing)
        bench.changed(path_of("p0", "t0"))
        assert list(bench.state.problems) == ["_cache/t0"]
    bench.changed("_cache/t0/")
    assert list(bench.state.problems) == []

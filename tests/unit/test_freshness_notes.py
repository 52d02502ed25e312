"""When the service notes the freshness, and what the notes say, with a clock that the test sets."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import msgspec
import pytest

from cachesync.context import Context, StoppedError, running
from cachesync.errors import IndexUnavailableError
from cachesync.index.freshness import FRESHNESS, Freshness, Shortcoming, note_freshness, read_freshness
from cachesync.pages.page import Problem
from cachesync.service.freshness_notes import FreshnessNotes
from cachesync.service.state import ServiceState
from cachesync.sync.scan import WHOLE_ROOT, PathWarning
from tests.support.notes import Notes
from tests.support.watching import watching

RESCANS = 300.0
GRACE = 300.0
YEAR = 365 * 86_400.0
WRITTEN = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Counted(Notes):
    """Notes that count each write, and can be made to fail."""

    puts = 0
    away = False

    def put(self, key: str, text: bytes) -> None:
        if self.away:
            raise IndexUnavailableError("away")
        self.puts += 1
        super().put(key, text)


@dataclass
class Bench:
    """A service that is in sync, with a clock."""

    notes: Counted = field(default_factory=Counted)
    now: float = 1000.0
    trouble: str | None = None
    rescans: float = RESCANS

    def __post_init__(self) -> None:
        self.state = ServiceState(role="serving", caught_up=True, watching=watching())
        self.noting = FreshnessNotes(self.notes, self.state, lambda: self.trouble, self.rescans, lambda: self.now)

    def passes(self, seconds: float) -> list[float]:
        """Advance the clock as the service's loop does, and return after how many seconds notes were written."""
        began = self.now
        noted = []
        while (due := max(self.now, self.noting.due())) <= began + seconds:
            before, self.now = self.notes.puts, due
            self.noting.note()
            if self.notes.puts > before:
                noted.append(round(due - began, 3))
        self.now = began + seconds
        return noted

    @property
    def noted(self) -> Freshness:
        found = read_freshness(self.notes)
        assert found
        return found


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.noting.begin()
    assert bench.notes.puts == 1
    return bench


def promised(note: Freshness) -> float:
    """Return the seconds within which a note promises the next one."""
    assert note.due
    return (note.due - note.noted).total_seconds()


# --- what notes say ---------------------------------------------------------------------------------------------------


def test_a_service_that_is_in_sync_says_so(bench: Bench) -> None:
    note = bench.noted
    assert note == Freshness(noted=note.noted, due=note.due, writer="service", in_sync=True)
    assert abs(datetime.now(UTC) - note.noted) < timedelta(minutes=1)


def test_the_oldest_change_is_noted_with_its_age(bench: Bench) -> None:
    bench.state.waiting_since, bench.state.queue = 990.0, 1
    assert bench.passes(2) == [2]
    assert (bench.noted.in_sync, bench.noted.lag_seconds) == (False, 12)


LACKS: list[tuple[Shortcoming, dict[str, Any]]] = [
    ("trouble", {"trouble": "/srv/pages is missing", "trouble_since": 0.0}),
    ("held", {"withheld": {"_cache/a/b/specs.md": 7}}),
    ("rolled-back", {"rolled_back": True}),
    ("empty", {"warnings": {WHOLE_ROOT: PathWarning(WHOLE_ROOT, "no page in /srv/pages")}}),
    ("problems", {"problems": {"a": Problem("a", "broken")}}),
    ("unwatched", {"watching": watching(watching=False, reason="no root /srv/pages")}),
    ("polling", {"watching": watching(mode="polling", reason="/srv/pages is NFS")}),
    ("reindex-failed", {"reindex_trouble": "https://host.example.org:9200 has no room"}),
    ("blind", {"blind": True, "found_by_rescan": 2}),
]


def test_every_shortcoming_has_a_case() -> None:
    assert [name for name, _ in LACKS] == list(get_args(Shortcoming))


@pytest.mark.parametrize(("name", "changes"), LACKS)
def test_shortcomings_are_noted_as_words_without_private_details(
    bench: Bench, name: str, changes: dict[str, Any]
) -> None:
    bench.state.holder = bench.state.url = "host.example.org"
    for key, value in changes.items():
        setattr(bench.state, key, value)
    assert bench.passes(10) == [2]
    assert bench.noted.degraded == (name,)
    text = bench.notes[FRESHNESS].decode()
    assert not [each for each in ("/srv", "example", "_cache") if each in text]


def test_an_index_that_is_being_repaired_is_not_in_sync(bench: Bench) -> None:
    bench.trouble = "it isn't as it was left"
    assert bench.passes(10) == [2]
    assert not bench.noted.in_sync


def test_the_time_of_the_last_write_is_taken_from_the_note_before() -> None:
    bench = Bench()
    note_freshness(bench.notes, Freshness(noted=WRITTEN, writer="command", in_sync=True, written=WRITTEN))
    bench.noting.begin()
    assert bench.noted.written == WRITTEN
    later = WRITTEN + timedelta(days=1)
    bench.state.last_written = later
    assert bench.passes(10) == [2]
    assert bench.noted.written == later


@pytest.mark.parametrize("due", [None, timedelta(days=1)], ids=["ended", "killed"])
def test_until_it_has_caught_up_the_lag_of_the_note_before_counts(due: timedelta | None) -> None:
    bench = Bench()
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    before = Freshness(noted=hour_ago, due=hour_ago + due if due else None, writer="service", in_sync=True)
    note_freshness(bench.notes, before)
    bench.state.caught_up = False
    bench.noting.begin()
    assert not bench.noted.in_sync
    assert 3600 <= bench.noted.lag_seconds < 3700
    bench.state.caught_up = True
    assert bench.passes(10) == [2]
    assert (bench.noted.in_sync, bench.noted.lag_seconds) == (True, 0)


def test_its_last_note_says_that_no_service_follows_the_pages(bench: Bench) -> None:
    """Even while it is stopping, and right after another note."""
    bench.state.role = "stopping"
    stop = threading.Event()
    stop.set()
    with running(Context(stop)):
        bench.noting.end()
    assert (bench.noted.in_sync, bench.noted.due) == (True, None)


# --- when they are written --------------------------------------------------------------------------------------------


def test_an_idle_service_writes_notes_only_at_rescans(bench: Bench) -> None:
    for _ in range(3):
        assert bench.passes(RESCANS) == []
        bench.noting.rescanned()
        assert bench.passes(3) == [2]


def test_without_rescans_notes_are_still_on_time(bench: Bench) -> None:
    """Such as while a rollback pins the index, or the root is missing."""
    assert promised(bench.noted) == RESCANS + GRACE
    assert bench.passes(3600) == [450, 900, 1350, 1800, 2250, 2700, 3150, 3600]


@pytest.mark.parametrize(
    ("rescans", "promise"), [(1, 31), (30, 60), (3600, 7200), (YEAR, 2 * 86_400), (1e30, 2 * 86_400)]
)
def test_a_note_is_overdue_only_after_its_promise(rescans: float, promise: float) -> None:
    bench = Bench(rescans=rescans)
    bench.noting.begin()
    assert promised(bench.noted) == promise
    assert bench.passes(promise)[0] < promise


def test_endless_changes_are_noted_every_two_seconds(bench: Bench) -> None:
    times = []
    for number in range(100):
        bench.state.last_written = WRITTEN + timedelta(seconds=number)
        times += [round(number / 10 + each, 3) for each in bench.passes(0.1)]
    assert times == [2, 4, 6, 8, 10]


def test_the_last_of_several_changes_is_noted(bench: Bench) -> None:
    bench.state.last_written = WRITTEN
    assert bench.passes(1.5) == []
    bench.state.last_written = WRITTEN + timedelta(seconds=1)
    assert bench.passes(60) == [0.5]
    assert bench.noted.written == WRITTEN + timedelta(seconds=1)


def test_changes_that_last_under_two_seconds_are_not_noted(bench: Bench) -> None:
    """Otherwise every saved page would be noted as an index that isn't in sync."""
    for _ in range(5):
        bench.state.waiting_since, bench.state.queue = bench.now, 1
        assert bench.passes(1.9) == []
        bench.state.waiting_since, bench.state.queue = None, 0
        assert bench.passes(1.9) == []


def test_a_growing_lag_alone_is_not_noted(bench: Bench) -> None:
    bench.state.waiting_since, bench.state.queue = bench.now, 1
    assert bench.passes(400) == [2]


def test_a_note_is_written_during_a_long_pass(bench: Bench) -> None:
    bench.state.waiting_since, bench.state.queue = bench.now, 1
    for _ in range(10):
        for _ in range(100):
            bench.noting.note_if_due()
        bench.now += 0.5
    assert bench.notes.puts == 2
    assert bench.noted.lag_seconds == 2


# --- notes that can't be written --------------------------------------------------------------------------------------


def test_a_failed_note_is_retried_later(bench: Bench) -> None:
    bench.notes.away = True
    bench.state.last_written = WRITTEN
    assert bench.passes(25) == []
    bench.notes.away = False
    assert bench.passes(60) == [7]
    assert bench.noted.written == WRITTEN


def test_a_service_starts_and_ends_even_if_notes_fail() -> None:
    bench = Bench()
    bench.notes.away = True
    bench.noting.begin()
    assert bench.noting.due() == bench.now + 10
    bench.noting.note_if_due()
    bench.noting.end()
    assert bench.notes == {}


@pytest.mark.parametrize("way", [FreshnessNotes.begin, FreshnessNotes.note, FreshnessNotes.note_if_due])
def test_a_stop_is_not_suppressed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, way: Callable[[FreshnessNotes], None]
) -> None:
    def stop(*_: object) -> None:
        raise StoppedError

    bench.state.last_written = WRITTEN
    bench.passes(1)
    bench.now = math.inf
    monkeypatch.setattr(bench.notes, "put", stop)
    with pytest.raises(StoppedError):
        way(bench.noting)


def test_a_note_that_is_damaged_is_replaced() -> None:
    bench = Bench(Counted({FRESHNESS: msgspec.json.encode("?")}))
    bench.noting.begin()
    assert bench.noted.in_sync

"""The lag that a note of freshness implies at a given time, and notes that can't be read."""

from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import msgspec
import pytest

from cachesync.errors import ForbiddenError, IndexUnavailableError, UsageError
from cachesync.index.freshness import FRESHNESS, Freshness, note_freshness, read_freshness
from tests.support.notes import Notes

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DUE = 600


def freshness(**changes: Any) -> Freshness:
    """The note of a service that was in sync at noon, and will write the next one within ten minutes."""
    due = NOON + timedelta(seconds=DUE)
    return msgspec.structs.replace(Freshness(noted=NOON, due=due, writer="service", in_sync=True), **changes)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize("changes", [{}, {"in_sync": False, "degraded": ("held",)}])
def test_the_lag_is_zero_while_a_service_follows_and_nothing_waits(changes: dict[str, Any]) -> None:
    note = freshness(**changes)
    assert [note.lag(after(seconds)) for seconds in (0, 1, DUE)] == [0, 0, 0]
    assert note.is_followed(after(DUE))


def test_the_lag_of_a_waiting_change_grows() -> None:
    note = freshness(in_sync=False, lag_seconds=5.5)
    assert [note.lag(after(seconds)) for seconds in (0, 1, DUE, DUE + 1)] == [5.5, 6.5, DUE + 5.5, DUE + 6.5]


def test_once_a_note_is_overdue_the_lag_counts_from_the_last_one() -> None:
    late = after(DUE + 0.001)
    assert not freshness().is_followed(late)
    assert freshness().lag(late) == DUE + 0.001


@pytest.mark.parametrize("writer", ["service", "command"])
def test_the_pages_are_not_followed_after_the_writer_has_ended(writer: str) -> None:
    note = freshness(writer=writer, due=None)
    assert not note.is_followed(NOON)
    assert [note.lag(after(seconds)) for seconds in (0, 1, 1_000_000)] == [0, 1, 1_000_000]


@pytest.mark.parametrize("changes", [{}, {"lag_seconds": 2.0}, {"due": None}])
def test_a_readers_slow_clock_does_not_reduce_the_lag(changes: dict[str, Any]) -> None:
    note = freshness(**changes)
    assert note.lag(after(-3600)) == note.lag_seconds


def test_notes_are_compared_without_their_times() -> None:
    behind = freshness(lag_seconds=1.0)
    assert freshness().equals_ignoring_time(freshness(noted=after(9), due=None))
    assert behind.equals_ignoring_time(freshness(lag_seconds=7.0, noted=after(6)))
    others = [
        behind,
        freshness(in_sync=False),
        freshness(written=NOON),
        freshness(degraded=("problems",)),
        freshness(writer="command"),
    ]
    assert not any(freshness().equals_ignoring_time(other) for other in others)


# --- in the index -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "note",
    [
        freshness(),
        freshness(
            writer="command", due=None, in_sync=False, lag_seconds=0.25, written=NOON, degraded=("held", "blind")
        ),
    ],
)
def test_a_note_is_read_as_it_was_written(note: Freshness) -> None:
    notes = Notes()
    note_freshness(notes, note)
    assert list(notes) == [FRESHNESS]
    assert read_freshness(notes) == note


def test_notes_of_a_later_version_are_read() -> None:
    notes = Notes()
    note_freshness(notes, freshness(degraded=("another-word",)))
    notes[FRESHNESS] = notes[FRESHNESS][:-1] + b',"more":[1]}'
    assert read_freshness(notes) == freshness(degraded=("another-word",))


@pytest.mark.parametrize(
    "text",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"noted":"2026-03-01T12:00:00","writer":"command","in_sync":true}',
        b'{"noted":"2026-03-01T12:00:00Z","writer":"somebody","in_sync":true}',
        b'{"noted":"2026-03-01T12:00:00Z","writer":"command","in_sync":true,"lag_seconds":-1}',
    ],
)
def test_an_unreadable_note_counts_as_none(text: bytes | None) -> None:
    notes = Notes({} if text is None else {FRESHNESS: text})
    assert read_freshness(notes) is None


class Failing(Notes):
    def __init__(self, error: Exception) -> None:
        self._error = error

    def get(self, *_: object) -> NoReturn:
        raise self._error


def test_a_forbidden_note_counts_as_none() -> None:
    assert read_freshness(Failing(ForbiddenError("no right"))) is None


@pytest.mark.parametrize("error", [IndexUnavailableError("away"), UsageError("a wrong name")])
def test_an_unreachable_index_is_not_taken_for_a_missing_note(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        read_freshness(Failing(error))

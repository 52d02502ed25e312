"""Which scheduled times count."""

from datetime import UTC, datetime, timedelta

import pytest

from cachesync.service.schedule import LAST_REINDEX, Schedule, Timetable, noted
from tests.support.notes import Notes

NIGHTLY = Schedule("0 4 * * *", "UTC")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
NEXT = datetime(2026, 3, 2, 4, tzinfo=UTC)


@pytest.fixture
def notes() -> Notes:
    """The notes of an index whose last reindex was long ago."""
    return Notes({LAST_REINDEX: b"2026-01-01T00:00:00+00:00"})


def test_times_before_the_schedule_was_known_do_not_count(notes: Notes) -> None:
    assert Timetable(NIGHTLY, notes).next_due(START) == NEXT


def test_a_time_that_was_missed_counts_once_the_schedule_is_known(notes: Notes) -> None:
    Timetable(NIGHTLY, notes).next_due(START)
    later = Timetable(NIGHTLY, notes)
    assert later.next_due(START + 3 * DAY) == NEXT
    later.reindexed(START + 3 * DAY)
    assert later.next_due(START + 3 * DAY) == NEXT + 3 * DAY


@pytest.mark.parametrize("other", [Schedule("0 5 * * *", "UTC"), Schedule("0 4 * * *", "Asia/Tokyo")])
def test_another_expression_or_time_zone_starts_counting_again(notes: Notes, other: Schedule) -> None:
    Timetable(NIGHTLY, notes).next_due(START)
    due = Timetable(other, notes).next_due(START + 3 * DAY)
    assert due
    assert due > START + 3 * DAY
    assert Timetable(other, notes).next_due(START + 5 * DAY) == due, "a restart doesn't begin anew"


def test_times_while_it_was_off_do_not_count(notes: Notes) -> None:
    Timetable(NIGHTLY, notes).next_due(START)
    assert Timetable(Schedule(None, "UTC"), notes).next_due(START + DAY / 24) is None
    assert Timetable(NIGHTLY, notes).next_due(START + 3 * DAY) == NEXT + 3 * DAY


def test_without_a_schedule_nothing_is_noted(notes: Notes) -> None:
    before = dict(notes)
    assert Timetable(Schedule(None, "UTC"), notes).next_due(START) is None
    assert notes == before


def test_noted_times_are_only_for_the_same_schedule(notes: Notes) -> None:
    assert noted(NIGHTLY, notes) == (datetime(2026, 1, 1, tzinfo=UTC), None)
    Timetable(NIGHTLY, notes).next_due(START)
    assert noted(NIGHTLY, notes)[1] == NEXT
    assert noted(Schedule("0 5 * * *", "UTC"), notes)[1] is None


def test_a_note_of_an_earlier_version_or_of_a_clock_that_was_ahead_counts_from_now(notes: Notes) -> None:
    for text in (b"2026-02-01T00:00:00+00:00", b"2999-01-01T00:00:00+00:00 0 4 * * * UTC", b"\xff \xff", b"garbage"):
        notes["scheduled-since"] = text
        assert Timetable(NIGHTLY, notes).next_due(START) == NEXT

"""When a schedule is due, also after long gaps and when clocks change."""

from datetime import UTC, datetime

import pytest

from cachesync.service.schedule import Schedule


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(schedule: Schedule, start: str, end: str) -> list[str]:
    found = []
    moment = schedule.next_after(utc(start))
    while moment is not None and moment <= utc(end):
        assert moment.tzinfo is UTC
        found.append(f"{moment:%m-%d %H:%M}")
        moment = schedule.next_after(moment)
    return found


def test_without_an_expression_nothing_is_ever_due() -> None:
    never = Schedule(None, "UTC")
    assert never.next_after(utc("2026-01-01")) is None
    assert never.text == ""


def test_the_next_time_is_in_the_schedules_zone_and_returned_in_utc() -> None:
    assert Schedule("0 4 * * 0", "UTC").next_after(utc("2026-01-01")) == utc("2026-01-04 04:00")
    assert Schedule("0 4 * * 0", "Asia/Tokyo").next_after(utc("2026-01-01")) == utc("2026-01-03 19:00")


def test_the_next_time_is_never_the_moment_itself() -> None:
    schedule = Schedule("0 4 * * *", "UTC")
    assert schedule.next_after(utc("2026-01-01 04:00")) == utc("2026-01-02 04:00")
    assert schedule.next_after(utc("2026-01-01 03:59:59.999")) == utc("2026-01-01 04:00")


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-03-28", "2026-03-31", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
        ("2026-10-24", "2026-10-27", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
        ("2026-10-25 01:00", "2026-10-25 23:00", []),
        ("2026-10-25 01:30", "2026-10-25 23:00", []),
    ],
    ids=["the gap", "the hour that comes twice", "its second half", "within it"],
)
def test_clocks_are_put_forward_and_back(start: str, end: str, expected: list[str]) -> None:
    assert times(Schedule("30 2 * * *", "Europe/Berlin"), start, end) == expected


@pytest.mark.parametrize(
    "start", [f"2026-10-25 0{hour}:{minute:02}" for hour in range(4) for minute in range(0, 60, 10)]
)
@pytest.mark.parametrize("cron", ["30 2 * * *", "*/20 * * * *", "0,30 1-3 * * *", "15 */2 * * *"])
def test_the_next_time_is_always_later(cron: str, start: str) -> None:
    moment = utc(start)
    after = Schedule(cron, "Europe/Berlin").next_after(moment)
    assert after is not None
    assert after > moment

"""Retries: pauses grow, and end when there is no time for another try."""

import itertools
import time

import pytest

from cachesync.retry import Retries, delays


def test_delays_grow_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(0.05 <= each <= 5 for each in itertools.islice(delays(), 100))
    monkeypatch.setattr("random.uniform", lambda _least, most: most)
    assert list(itertools.islice(delays(1, 5), 5)) == [1, 2, 4, 5, 5]


def test_a_pause_ends_before_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _least, most: most)
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    retries = Retries(1000.5)
    assert [retries.next_pause() for _ in range(4)] == [0.1, 0.2, 0.4, None]
    retries.deadline = 1060.0
    assert retries.left == 60
    assert retries.next_pause() == 1.6
    assert retries.next_pause(asked=30) == 30, "as the server asks"
    assert retries.next_pause(asked=0.5) == 0.5, "neither longer"
    assert retries.next_pause(asked=60) is None

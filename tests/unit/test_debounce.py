"""When dirty paths are due, with a clock that the test sets."""

import random

import pytest

from cachesync.service.debounce import DirtyPaths
from cachesync.sync.scan import EVERYTHING

PAGE = "_cache/develop/zlib/specs.md"
OTHER = "_cache/develop/hdf5/specs.md"
TAG = "_cache/develop/"


def test_a_path_is_due_after_a_quiet_period() -> None:
    dirty = DirtyPaths(quiet=0.3, longest=5)
    dirty.mark([PAGE], now=10.0)
    dirty.mark([PAGE], now=10.2)
    assert dirty.due_at() == 10.5
    assert dirty.take(10.4, 10) == []
    assert dirty.take(10.5, 10) == [PAGE]
    assert (dirty.take(11, 10), dirty.due_at()) == ([], None)


def test_a_path_that_is_never_quiet_is_due_after_the_longest_time() -> None:
    dirty = DirtyPaths(quiet=0.3, longest=5)
    for tenth in range(60):
        dirty.mark([PAGE], now=tenth / 10)
    assert dirty.due_at() == 5.0
    assert dirty.take(5.0, 10) == [PAGE]


def test_a_noisy_path_doesnt_delay_others() -> None:
    dirty = DirtyPaths(quiet=0.3, longest=5)
    dirty.mark([PAGE, OTHER], now=0)
    for tenth in range(1, 20):
        dirty.mark([PAGE], now=tenth / 10)
    assert dirty.due_at() == 0.3
    assert dirty.take(1.9, 10) == [OTHER]


def test_the_limit_takes_those_that_are_due_first() -> None:
    dirty = DirtyPaths(quiet=0.3, longest=5)
    for number in range(10):
        dirty.mark([f"_cache/develop/p{number}/specs.md"], now=float(number))
    taken = dirty.take(20, 3)
    assert taken == [f"_cache/develop/p{number}/specs.md" for number in range(3)]
    assert len(dirty) == 10
    dirty.done()
    assert len(dirty) == 7


def test_a_path_reported_while_it_is_taken_is_due_again() -> None:
    dirty = DirtyPaths(quiet=0.3, longest=5)
    dirty.mark([PAGE], now=0)
    assert dirty.take(1, 10) == [PAGE]
    dirty.mark([PAGE], now=1.1)
    dirty.done()
    assert dirty.take(2, 10) == [PAGE]


def test_paths_put_back_are_due_at_once_and_keep_their_age() -> None:
    dirty = DirtyPaths(quiet=0.3, longest=5)
    dirty.mark([PAGE], now=1)
    assert dirty.take(1.4, 10) == [PAGE]
    dirty.mark([OTHER], now=2)
    dirty.put_back()
    assert (dirty.oldest(), dirty.due_at()) == (1, 0.3)
    assert dirty.take(2.1, 10) == [PAGE]
    dirty.mark([PAGE], now=2.2)
    dirty.put_back()
    assert dirty.oldest() == 1
    assert dirty.take(2.6, 10) == [OTHER, PAGE]


def test_the_age_is_that_of_the_oldest_path_even_while_it_is_taken() -> None:
    dirty = DirtyPaths(quiet=0.3, longest=5)
    assert dirty.oldest() is None
    dirty.mark([PAGE], now=1)
    dirty.mark([OTHER], now=2)
    dirty.take(1.4, 10)
    assert dirty.oldest() == 1
    dirty.done()
    assert dirty.oldest() == 2


def test_taking_everything_takes_all_paths() -> None:
    dirty = DirtyPaths(quiet=0.3, longest=5)
    dirty.mark([PAGE, EVERYTHING], now=1)
    dirty.mark([OTHER], now=1.3)
    assert sorted(dirty.take(1.3, 1)) == [EVERYTHING, OTHER, PAGE]


def test_too_many_paths_become_everything() -> None:
    dirty = DirtyPaths(quiet=0.3, longest=5, max_paths=100)
    for number in range(101):
        dirty.mark([f"_cache/develop/p{number}/specs.md"], now=number / 100)
    assert len(dirty) == 1
    assert dirty.bytes < 1_000
    assert dirty.oldest() == 0
    assert dirty.take(2, 10) == [EVERYTHING]


@pytest.mark.parametrize("marked", [PAGE, TAG, EVERYTHING])
def test_a_page_has_the_age_of_the_path_that_covers_it(marked: str) -> None:
    dirty = DirtyPaths(quiet=0.3, longest=5)
    dirty.mark([marked], now=7)
    dirty.take_all()
    assert dirty.since(PAGE) == 7
    assert dirty.since("_other/x/specs.md") == (7 if marked == EVERYTHING else None)


def test_recording_includes_earlier_and_later_reports() -> None:
    dirty = DirtyPaths(quiet=0.3, longest=5)
    dirty.mark([PAGE], now=1)
    dirty.start_recording()
    dirty.take_all()
    dirty.done()
    dirty.mark(["_cache/v1/"], now=2)
    assert dirty.stop_recording([PAGE, OTHER, "_cache/v1/zlib/specs.md"]) == [OTHER]
    assert dirty.stop_recording([PAGE]) == [PAGE]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_ever_lost(seed: int) -> None:
    """Every marked path is taken, and every taken path is done or taken again."""
    random_ = random.Random(seed)
    dirty = DirtyPaths(quiet=0.3, longest=2, max_paths=random_.choice((5, 1000)))
    now = 0.0
    waiting: set[str] = set()
    for _ in range(300):
        now += random_.random()
        if random_.random() < 0.6:
            path = f"_cache/t{random_.randrange(3)}/p{random_.randrange(8)}/specs.md"
            dirty.mark([path], now)
            waiting.add(path)
            continue
        taken = dirty.take(now, random_.randint(1, 5))
        if random_.random() < 0.3:
            dirty.put_back()
        else:
            waiting -= waiting if EVERYTHING in taken else set(taken)
            dirty.done()
    taken = dirty.take_all()
    assert EVERYTHING in taken or waiting <= set(taken)

import random
from collections.abc import Callable, Sequence

import pytest

from tests.hostile.slopes import FLAT, GROWS, UNKNOWN, Sample, Trend, step, trend


def test_a_line_is_found_again() -> None:
    found = trend([(second, 100 + second / 36) for second in range(0, 3_601, 10)])
    assert found.slope == pytest.approx(100)
    assert found.rise == pytest.approx(75)
    assert found.noise == pytest.approx(0, abs=1)
    assert found.median == pytest.approx(162.5)


def test_peaks_do_not_move_it_and_noise_is_no_growth() -> None:
    random_ = random.Random(1)
    samples = [(float(second), 300 + random_.gauss(0, 5) + 200 * (second % 60 == 0)) for second in range(0, 1_200, 3)]
    found = trend(samples)
    assert found.median == pytest.approx(300, abs=2)
    assert found.noise == pytest.approx(2.5, abs=1.5)
    assert found.verdict(allowed=10) == FLAT


def test_a_leak_in_noise_is_seen() -> None:
    random_ = random.Random(1)
    samples = [(float(second), 300 + second / 20 + random_.gauss(0, 5)) for second in range(0, 1_200, 3)]
    found = trend(samples)
    assert found.slope == pytest.approx(180, rel=0.1)
    assert found.verdict(allowed=15) == GROWS
    assert found.verdict(allowed=60) == FLAT


def test_more_noise_than_may_be_added_leaves_it_open() -> None:
    random_ = random.Random(1)
    found = trend([(25.0 * number, 150 + random_.gauss(0, 20)) for number in range(50)])
    assert found.verdict(allowed=7.5) == UNKNOWN


def test_samples_that_are_as_those_before_them_tell_no_more_than_one() -> None:
    random_ = random.Random(1)
    levels = [150 + random_.gauss(0, 8) for _ in range(48)]
    once = trend([(60.0 * number, level) for number, level in enumerate(levels)])
    often = trend([(60.0 * number + 2 * more, level) for number, level in enumerate(levels) for more in range(30)])
    assert often.noise == pytest.approx(once.noise, rel=0.3)


@pytest.mark.parametrize(("leak", "least"), [(0.0, 0.0), (1.0, 0.3), (2.0, 0.94)])
def test_what_is_flat_rose_by_no_more_than_what_is_allowed(leak: float, least: float) -> None:
    """As a soak of 20 minutes measures memory at rest; ``leak`` is a share of what is allowed, 12 of 150."""
    random_ = random.Random(1)
    verdicts = []
    for _ in range(200):
        samples = [(25.0 * at, 150 + leak * 12 * at / 36 + random_.gauss(0, 8)) for at in range(-12, 37)]
        verdicts.append(trend(samples).verdict(allowed=12))
    assert verdicts.count(GROWS) >= least * len(verdicts)
    assert leak or verdicts.count(FLAT) > 0.7 * len(verdicts)
    assert not leak or verdicts.count(FLAT) < 0.05 * len(verdicts)


@pytest.mark.parametrize("at", range(5, 14))
def test_one_that_stays_is_growth_whenever_it_came(at: int) -> None:
    """Of 16 samples 12 are left by the warm-up."""
    found = step([(60.0 * number, 8 + (number >= at)) for number in range(16)])
    assert (found.rise, found.verdict(allowed=0)) == (1, GROWS)


def test_one_that_comes_and_goes_is_no_growth() -> None:
    assert step([(60.0 * number, 20 + number % 2) for number in range(16)]).verdict(allowed=0) == FLAT
    assert step([(60.0 * number, 20 + (number == 15)) for number in range(16)]).verdict(allowed=0) == FLAT


def test_what_came_first_is_warming_up() -> None:
    samples = [(float(second), min(100.0, second)) for second in range(401)]
    assert (trend(samples).slope, trend(samples).median) == (0, 100)
    assert step(samples).rise == 0


@pytest.mark.parametrize("read", [trend, step])
@pytest.mark.parametrize("samples", [[], [(0.0, 1.0), (1.0, 1.0)], [(0.0, 1.0), (0.1, 1.0), (3.0, 1.0), (4.0, 1.0)]])
def test_too_few_samples_say_nothing(read: Callable[[Sequence[Sample]], Trend], samples: list[Sample]) -> None:
    with pytest.raises(ValueError, match="expected 3 or more"):
        read(samples)

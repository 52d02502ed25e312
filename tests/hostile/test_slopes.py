import random

import pytest

from tests.hostile.slopes import trend


def test_a_line_is_found_again() -> None:
    found = trend([(second, 100 + second / 36) for second in range(0, 3_601, 10)])
    assert found.slope == pytest.approx(100)
    assert found.rise == pytest.approx(75)
    assert found.noise == pytest.approx(0, abs=1e-9)
    assert found.median == pytest.approx(162.5)


def test_peaks_do_not_move_it_and_noise_is_no_growth() -> None:
    random_ = random.Random(1)
    samples = [(float(second), 300 + random_.gauss(0, 5) + 200 * (second % 60 == 0)) for second in range(0, 1_200, 3)]
    found = trend(samples)
    assert found.median == pytest.approx(300, abs=2)
    assert found.noise == pytest.approx(5, abs=1)
    assert not found.grows(allowed=0)


def test_a_leak_in_noise_is_seen() -> None:
    random_ = random.Random(1)
    samples = [(float(second), 300 + second / 20 + random_.gauss(0, 5)) for second in range(0, 1_200, 3)]
    found = trend(samples)
    assert found.slope == pytest.approx(180, rel=0.1)
    assert found.grows(allowed=15)
    assert not found.grows(allowed=60)


def test_one_descriptor_more_each_time_is_growth_and_one_that_comes_and_goes_is_none() -> None:
    assert trend([(60.0 * number, 20 + number) for number in range(8)]).grows(allowed=0.5)
    assert not trend([(60.0 * number, 20 + number % 2) for number in range(8)]).grows(allowed=0.5)


def test_what_came_first_is_warming_up() -> None:
    found = trend([(float(second), min(100.0, second)) for second in range(401)])
    assert (found.slope, found.median) == (0, 100)


@pytest.mark.parametrize("samples", [[], [(0.0, 1.0), (1.0, 1.0)], [(0.0, 1.0), (0.1, 1.0), (3.0, 1.0), (4.0, 1.0)]])
def test_too_few_samples_say_nothing(samples: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="expected 3 or more"):
        trend(samples)

"""Does something grow? A robust line through samples, and a verdict."""

import math
import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import Final, NamedTuple

Sample = tuple[float, float]
"""Seconds since the beginning, and what was measured then."""

_HOUR: Final = 3_600.0
_MOST: Final = 600
"""Pairs grow with the square: of more samples every second, third, … is taken."""


class Trend(NamedTuple):
    """How something went on after the warm-up."""

    median: float
    slope: float
    """How much an hour, by Theil and Sen: the median of the slopes of all pairs, which single peaks don't move."""
    rise: float
    """How much from the first sample to the last, by that slope."""
    noise: float
    """How much it may seem to rise by chance: as far as samples are from the line (a standard deviation, by the median
    distance), and where they are few, two standard errors of the rise."""

    def grows(self, allowed: float) -> bool:
        """Tell whether it rose by more than is allowed, and by more than can't be told from noise."""
        return self.rise > max(allowed, self.noise)


def trend(samples: Sequence[Sample], warm_up: float = 0.25) -> Trend:
    """Return the trend of samples without those of the first part of the time, ``warm_up`` of the whole.

    Raises:
        ValueError: there are fewer than three then.
    """
    if samples:
        begin, end = samples[0][0], samples[-1][0]
        samples = [each for each in samples if each[0] >= begin + warm_up * (end - begin)]
    if len(samples) < 3:
        raise ValueError(f"{len(samples)} samples after the warm-up: expected 3 or more")
    samples = samples[:: 1 + len(samples) // _MOST]
    slope = statistics.median((y - b) / (x - a) for (a, b), (x, y) in combinations(samples, 2) if x > a)
    middle = statistics.median(value - slope * time for time, value in samples)
    distances = [abs(value - slope * time - middle) for time, value in samples]
    return Trend(
        median=statistics.median(value for _, value in samples),
        slope=slope * _HOUR,
        rise=slope * (samples[-1][0] - samples[0][0]),
        noise=1.4826 * statistics.median(distances) * max(1, 2 * math.sqrt(12 / len(samples))),
    )

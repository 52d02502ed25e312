"""Does something grow? A robust line through samples, or a step between their ends, and a verdict."""

import math
import statistics
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Final, NamedTuple

Sample = tuple[float, float]
"""Seconds since the beginning, and what was measured then."""

_HOUR: Final = 3_600.0
_BLOCKS: Final = 18
"""Samples that follow one another are alike, so many of them tell less than they seem to. The medians of so many equal
parts of the time are almost as if each was measured by itself."""

_END: Final = 4
"""What share of the samples an end of a step is: one of so many."""

GROWS, UNKNOWN, FLAT = "GROWS", "CAN'T TELL", "flat"


class Trend(NamedTuple):
    """How something went on after the warm-up."""

    median: float
    rise: float
    """How much from the first sample to the last."""
    noise: float
    """How much it may seem to rise by chance: two standard errors of the rise."""
    seconds: float
    """From the first sample to the last."""

    def verdict(self, allowed: float) -> str:
        """Tell whether it rose by more than is allowed.

        It grows if that also is more than noise. It is flat only where it is no more than allowed even if all of the
        noise is on its side: hardly one in twenty that really rise by more than is allowed are taken for flat.
        """
        if self.rise > max(allowed, self.noise):
            return GROWS
        return FLAT if self.rise + self.noise <= allowed else UNKNOWN

    @property
    def slope(self) -> float:
        """How much an hour."""
        return self.rise / self.seconds * _HOUR

    @property
    def bound(self) -> float:
        """How much an hour it really is at most, but for one case in twenty."""
        return (max(self.rise, 0) + self.noise) / self.seconds * _HOUR


def trend(samples: Sequence[Sample], warm_up: float = 0.25) -> Trend:
    """Return the trend of what is never twice the same, without the first part of the time, ``warm_up`` of the whole.

    The slope is that of Theil and Sen, the median of the slopes of all pairs, which single peaks don't move.

    Raises:
        ValueError: there are fewer than three samples then.
    """
    samples = _warm(samples, warm_up)
    begin, end = samples[0][0], samples[-1][0]
    blocks = _blocks(samples)
    slope = statistics.median((y - b) / (x - a) for (a, b), (x, y) in combinations(blocks, 2))
    rests = [value - slope * time for time, value in blocks]
    spread = math.sqrt(sum((rest - statistics.fmean(rests)) ** 2 for rest in rests) / (len(rests) - 2))
    return Trend(
        median=statistics.median(value for _, value in samples),
        rise=slope * (end - begin),
        noise=2 * spread * math.sqrt(12 / len(blocks)),
        seconds=end - begin,
    )


def step(samples: Sequence[Sample], warm_up: float = 0.25) -> Trend:
    """Return the trend of what is counted: how far the least of the last quarter is above the least of the first.

    A single one that stays is seen if it came in the first three quarters after the warm-up. A line through all samples
    wouldn't show it, and one that is only there now and then is none that stays.

    Raises:
        ValueError: there are fewer than three samples after the warm-up.
    """
    samples = _warm(samples, warm_up)
    values = [value for _, value in samples]
    end = max(1, len(values) // _END)
    rise = min(values[-end:]) - min(values[:end])
    return Trend(statistics.median(values), rise, 0, samples[-1][0] - samples[0][0])


def _warm(samples: Sequence[Sample], warm_up: float) -> Sequence[Sample]:
    if samples:
        begin, end = samples[0][0], samples[-1][0]
        samples = [each for each in samples if each[0] >= begin + warm_up * (end - begin)]
    if len(samples) < 3:
        raise ValueError(f"{len(samples)} samples after the warm-up: expected 3 or more")
    return samples


def _blocks(samples: Sequence[Sample]) -> list[Sample]:
    """Return the middle of each part of the samples."""
    count = min(_BLOCKS, len(samples))
    bounds = [round(number * len(samples) / count) for number in range(count + 1)]
    parts = [samples[begin:end] for begin, end in pairwise(bounds)]
    return [
        (statistics.fmean(time for time, _ in part), statistics.median(value for _, value in part)) for part in parts
    ]

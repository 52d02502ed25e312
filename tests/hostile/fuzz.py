"""What the fuzz tests have in common: how many cases, which seed, and what a case may cost."""

import functools
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from hypothesis import HealthCheck, Phase, seed, settings

from tests.hostile.effort import SEED, SEED_VARIABLE, effort
from tests.hostile.tally import TALLY

SHOWN: Final = 4_000
"""Characters of an example that failed."""

_Result = TypeVar("_Result")
_Test = TypeVar("_Test", bound=Callable[..., Any])


class Data(bytes):
    """Bytes that are shown no longer than anybody reads."""

    __slots__ = ()

    def __repr__(self) -> str:
        text = repr(bytes(self))
        return text if len(text) < SHOWN else f"{text[:SHOWN]}… ({len(self):,} bytes)"


def fuzzed(short: int, thorough: int) -> Callable[[_Test], _Test]:
    """Run a test of Hypothesis with so many cases, by our seed."""

    def decorate(test: _Test) -> _Test:
        many = settings(
            max_examples=effort(short, thorough),
            deadline=None,
            database=None,
            phases=(Phase.explicit, Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        seeded = seed(SEED)(many(test))

        @functools.wraps(seeded)
        def run(*arguments: Any, **named: Any) -> None:
            try:
                seeded(*arguments, **named)
            except BaseException as error:
                error.add_note(f"the same once more: {SEED_VARIABLE}={SEED}")
                raise
            TALLY[f"fuzzed: {test.__name__.removeprefix('test_').replace('_', ' ')}"] += effort(short, thorough)

        return run  # type: ignore[return-value]  # it is called in the same way

    return decorate


def within(seconds: float, work: Callable[[], _Result]) -> _Result:
    """Return what comes of ``work``, and fail where it takes more of the processor's time each time that it is tried.

    It is tried up to three times: what shares the processor's caches with us slows us down now and then.
    """
    taken: list[float] = []
    while len(taken) < 3:
        start = time.process_time()
        result = work()
        taken.append(time.process_time() - start)
        if taken[-1] <= seconds:
            return result
    raise AssertionError(f"{min(taken):.2f} s of CPU time, expected at most {seconds:g} s")

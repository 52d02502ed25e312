"""How much work something is, counted and not timed."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def steps(work: Callable[[], object]) -> int:
    """Return how many of Python's instructions some work takes. What is done within one of them, in C, counts as one."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def grows_evenly(work: Callable[[int], Callable[[], object]], size: int = 40) -> bool:
    """Tell whether ten times as much to do takes about ten times as many steps; ``work`` prepares it by its size."""
    return steps(work(10 * size)) < 20 * steps(work(size))


class Compared(str):
    """A string that counts how often any of its kind is compared with another."""

    __slots__ = ()
    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Compared.comparisons += 1
        return super().__eq__(other)

    def __lt__(self, other: str) -> bool:
        Compared.comparisons += 1
        return super().__lt__(other)

    __hash__ = str.__hash__

"""Signals as events that the loops of `run` and `serve` can wait for."""

import os
import select
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def catching(numbers: Sequence[int]) -> Iterator[Callable[[float], bytes]]:
    """Catch signals, which then don't interrupt anything, and yield a function that waits for them.

    The function waits at most the given number of seconds and returns the numbers of the signals that arrived. Signals
    arrive through a pipe because ``sigtimedwait`` is unreliable: after SIGSTOP and SIGCONT, it returns signals that
    were never sent [CPython 3.11.7].
    """
    out, into = os.pipe()
    os.set_blocking(out, False)
    os.set_blocking(into, False)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    signal.set_wakeup_fd(into)

    def wait(seconds: float) -> bytes:
        select.select([out], [], [], seconds)
        try:
            return os.read(out, 100)
        except BlockingIOError:
            return b""

    try:
        yield wait
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(out)
        os.close(into)

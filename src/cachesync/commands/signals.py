"""Signals as something to wait for."""

import os
import select
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def waited_for(numbers: Sequence[int]) -> Iterator[Callable[[float], bytes]]:
    """Lend what waits so many seconds for signals, and returns their numbers. None interrupts anything any more.

    They come through a pipe. ``sigtimedwait`` can't be trusted: after SIGSTOP and SIGCONT it returns signals that
    nobody sent [CPython 3.11.7].
    """
    out, into = os.pipe()
    os.set_blocking(out, False)
    os.set_blocking(into, False)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    signal.set_wakeup_fd(into)

    def caught(seconds: float) -> bytes:
        select.select([out], [], [], seconds)
        try:
            return os.read(out, 100)
        except BlockingIOError:
            return b""

    try:
        yield caught
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(out)
        os.close(into)

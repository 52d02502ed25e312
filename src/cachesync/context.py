"""The context that long work runs in: when to stop, by when to be done, and signs that it goes on.

Each thread has one. Whoever starts work sets it (:func:`running`); whatever takes long asks for it (:func:`current`):
a scan, a pass, a request to the index, waiting for another writer. So nothing hands it from call to call, as with the
cancel scopes of trio.

Three things are asked of such work. It calls :meth:`Context.check` every now and then, which is the sign that it goes
on, and ends it when it is to stop. It waits by :meth:`Context.wait` and by nothing else. And while something outside
of the process has to answer (a server, a file system) it says so by :meth:`Context.awaiting`: silence is no defect
then, and whoever looks on can say what holds it up.
"""

import contextvars
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, NamedTuple

_SLICE_SECONDS: Final = 0.1
"""How long a thread waits at a time for one event where others may stop it: it has to look at those."""


class StoppedError(Exception):
    """The work is to stop. Nothing is wrong; what isn't done is left for the next time."""


class Awaited(NamedTuple):
    """What a thread waits for outside of this process."""

    what: str
    """In words for a person, such as ``the file system of pages.root /srv/pages``."""
    since: float
    """The last sign of life before, by :func:`time.monotonic`."""


class Pulse:
    """The signs of life of one thread. It gives them, others look at them."""

    def __init__(self, on_sign: Callable[[], None] = lambda: None, every: float = 1.0) -> None:
        """Begin with one.

        Args:
            on_sign: is called with signs of life, about twice in ``every``, by the thread that works.
            every: how many seconds the thread may wait at a time until it gives the next one.
        """
        self.signed_at = time.monotonic()
        self.awaits: str | None = None
        self.every = every
        self._on_sign = on_sign
        self._called_at = float("-inf")

    def sign(self) -> None:
        """Give a sign of life. It costs next to nothing."""
        self.signed_at = now = time.monotonic()
        if now - self._called_at >= self.every / 2:
            self._called_at = now
            self._on_sign()

    @property
    def awaited(self) -> Awaited | None:
        """What has to answer before the work can go on; None: nothing outside of this process."""
        what = self.awaits
        return Awaited(what, self.signed_at) if what else None


class _Awaiting:
    """What :meth:`Context.awaiting` gives. A generator would cost more than many a call that is waited for."""

    __slots__ = ("_before", "_pulse", "_what")

    def __init__(self, pulse: Pulse, what: str) -> None:
        self._pulse = pulse
        self._what = what
        self._before: str | None = None

    def __enter__(self) -> None:
        self._before = self._pulse.awaits
        self._pulse.signed_at = time.monotonic()
        self._pulse.awaits = self._what

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pulse.awaits = self._before


class Context:
    """When to stop, by when to be done, and the pulse of the thread that works in it."""

    def __init__(self, *stops: threading.Event, deadline: float = float("inf"), pulse: Pulse | None = None) -> None:
        """Make a context.

        Args:
            stops: any of them ends the work when it is set.
            deadline: bounds how long the index is waited for, by :func:`time.monotonic`. It cuts off no other work.
            pulse: where signs of life go.
        """
        self.stops = stops or (threading.Event(),)
        self.deadline = deadline
        self.pulse = pulse or Pulse()

    @property
    def stopped(self) -> bool:
        """The work is to stop."""
        return any(stop.is_set() for stop in self.stops)

    @property
    def left(self) -> float:
        """How many seconds there are until the deadline; infinite where there is none."""
        return max(0.0, self.deadline - time.monotonic())

    def check(self) -> None:
        """Show that the work goes on. More calls than are needed cost next to nothing.

        Raises:
            StoppedError: it is to stop.
        """
        self.pulse.sign()
        if self.stopped:
            raise StoppedError

    def wait(self, seconds: float, until: threading.Event | None = None) -> None:
        """Wait, and show all the while that the work goes on.

        Args:
            seconds: how long.
            until: an event to wait for no longer than that. Whoever stops the work must set it too.

        Raises:
            StoppedError: it is to stop.
        """
        end = time.monotonic() + seconds
        event = until or self.stops[0]
        longest = self.pulse.every if until or len(self.stops) == 1 else min(self.pulse.every, _SLICE_SECONDS)
        self.check()
        while (left := end - time.monotonic()) > 0 and not (until and until.is_set()):
            event.wait(min(left, longest))
            self.check()

    def awaiting(self, what: str) -> _Awaiting:
        """Say, for as long as a ``with`` block lasts, what outside of this process has to answer.

        The value may be used again and again.
        """
        return _Awaiting(self.pulse, what)

    def branch(self, *stops: threading.Event) -> "Context":
        """Return the context of a thread that does a part of this work: it stops with this, or by its own events."""
        return Context(*self.stops, *stops, deadline=self.deadline)


_UNBOUNDED: Final = Context()
"""What work runs in that nobody stops, such as that of a thread which was given no context."""

_current: contextvars.ContextVar[Context] = contextvars.ContextVar("context", default=_UNBOUNDED)


def current() -> Context:
    """Return the context that this thread works in."""
    return _current.get()


@contextmanager
def running(context: Context) -> Iterator[Context]:
    """Let this thread work in a context for as long as the block lasts."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


@contextmanager
def within(seconds: float) -> Iterator[Context]:
    """Let the block wait no longer than so many seconds for the index, all in all."""
    around = current()
    deadline = min(around.deadline, time.monotonic() + seconds)
    with running(Context(*around.stops, deadline=deadline, pulse=around.pulse)) as context:
        yield context


@contextmanager
def shielded(seconds: float) -> Iterator[Context]:
    """Let the block tidy up though what is around it is to stop; it waits for the index for so many seconds at most."""
    with running(Context(deadline=time.monotonic() + seconds, pulse=current().pulse)) as context:
        yield context


def delays(first: float = 0.1, most: float = 5.0) -> Iterator[float]:
    """Yield how many seconds to wait before each further try: twice as long each time, up to ``most``, with jitter."""
    delay = first
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311  not for secrets
        delay = min(most, delay * 2)

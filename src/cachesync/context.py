"""The context of long-running work: when to stop, its deadline, and its signs of life.

Each thread has one. The caller that starts work sets it (:func:`running`), and long-running code gets it by
:func:`current`: a scan, a pass, a request to the index, waiting for another writer. So it isn't passed from call to
call, as with the cancel scopes of trio.

Such work must do three things. It calls :meth:`Context.check` regularly, which gives a sign of life and raises when the
work is to stop. It waits only by :meth:`Context.wait`. And while it waits for something outside of the process (a
server, a file system) it names that by :meth:`Context.awaiting`: then a missing sign of life is not a defect, and
monitoring can report the cause.
"""

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, NamedTuple

_SLICE_SECONDS: Final = 0.1
"""How long a thread waits for one event at a time if other events may stop it too, which it has to poll."""


class StoppedError(Exception):
    """The work must stop. This is not a failure; what isn't done is left for the next run."""


class Awaited(NamedTuple):
    """Something outside of this process that a thread waits for."""

    what: str
    """A description, such as ``the file system of pages.root /srv/pages``."""
    since: float
    """When the thread last gave a sign of life, by :func:`time.monotonic`."""


class Pulse:
    """The signs of life of one thread, which other threads can read."""

    def __init__(self, on_sign: Callable[[], None] = lambda: None, every: float = 1.0) -> None:
        """Create it with a first sign of life. The thread itself calls ``on_sign``, about twice per ``every``.

        ``every`` is the longest time in seconds that the thread may wait between two signs of life.
        """
        self.signed_at = time.monotonic()
        self.awaits: str | None = None
        self.every = every
        self._on_sign = on_sign
        self._called_at = float("-inf")

    def sign(self) -> None:
        """Give a sign of life. It is cheap to call often."""
        self.signed_at = now = time.monotonic()
        if now - self._called_at >= self.every / 2:
            self._called_at = now
            self._on_sign()

    @property
    def awaited(self) -> Awaited | None:
        """What the work is waiting for outside of this process; None: nothing."""
        what = self.awaits
        return Awaited(what, self.signed_at) if what else None


class _Awaiting:
    """The context manager of :meth:`Context.awaiting`. A generator would cost more than many of the calls it wraps."""

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
    """When to stop, the deadline, and the pulse of the thread."""

    def __init__(self, *stops: threading.Event, deadline: float = float("inf"), pulse: Pulse | None = None) -> None:
        """Any of the events ``stops`` stops the work when it is set; ``pulse`` receives the signs of life.

        ``deadline`` limits how long the index is waited for, by :func:`time.monotonic`. It ends no other work.
        """
        self.stops = stops or (threading.Event(),)
        self.deadline = deadline
        self.pulse = pulse or Pulse()

    @property
    def stopped(self) -> bool:
        """Whether the work is to stop."""
        return any(stop.is_set() for stop in self.stops)

    @property
    def left(self) -> float:
        """The seconds until the deadline; infinite if there is none."""
        return max(0.0, self.deadline - time.monotonic())

    def check(self) -> None:
        """Give a sign of life. It is cheap to call often.

        Raises:
            StoppedError: the work is to stop.
        """
        self.pulse.sign()
        if self.stopped:
            raise StoppedError

    def wait(self, seconds: float, until: threading.Event | None = None) -> None:
        """Wait, giving signs of life meanwhile.

        The event ``until`` ends the wait early. Whoever stops the work must set it too.

        Raises:
            StoppedError: the work is to stop.
        """
        end = time.monotonic() + seconds
        event = until or self.stops[0]
        longest = self.pulse.every if until or len(self.stops) == 1 else min(self.pulse.every, _SLICE_SECONDS)
        self.check()
        while (left := end - time.monotonic()) > 0 and not (until and until.is_set()):
            event.wait(min(left, longest))
            self.check()

    def awaiting(self, what: str) -> _Awaiting:
        """Return a context manager that declares that its block waits for ``what``, outside of this process.

        It can be used repeatedly.
        """
        return _Awaiting(self.pulse, what)

    def branch(self, *stops: threading.Event) -> "Context":
        """Return a context for another thread that does part of this work. It stops with this one or by ``stops``."""
        return Context(*self.stops, *stops, deadline=self.deadline)


_UNBOUNDED: Final = Context()
"""The context of work that nothing stops, such as that of a thread for which none was set."""

_current: contextvars.ContextVar[Context] = contextvars.ContextVar("context", default=_UNBOUNDED)


def current() -> Context:
    """Return this thread's context."""
    return _current.get()


@contextmanager
def running(context: Context) -> Iterator[Context]:
    """Set this thread's context within the block."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


@contextmanager
def within(seconds: float) -> Iterator[Context]:
    """Limit how many seconds the block may wait for the index in total."""
    around = current()
    deadline = min(around.deadline, time.monotonic() + seconds)
    with running(Context(*around.stops, deadline=deadline, pulse=around.pulse)) as context:
        yield context


@contextmanager
def shielded(seconds: float) -> Iterator[Context]:
    """Let the block clean up although the work is to stop, waiting for the index for at most so many seconds."""
    with running(Context(deadline=time.monotonic() + seconds, pulse=current().pulse)) as context:
        yield context

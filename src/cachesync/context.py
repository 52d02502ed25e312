"""The context of long-running work: when to stop, the deadline, and the heartbeat.

Each thread has one context. The caller that starts the work sets the context (:func:`running`), and long-running code
(a scan, a pass, a request to the index, a wait for another writer) gets it from :func:`current`. Like the cancel scopes
of trio, a context isn't passed from call to call.

Long-running code must do three things. It calls :meth:`Context.check` regularly, which records a heartbeat and raises
an error when the work is to stop. It waits only by calling :meth:`Context.wait`. While it waits for something outside
of the process (a server, a file system), it names that thing in :meth:`Context.awaiting`: a missing heartbeat is then
not a defect, and monitoring can report the cause.
"""

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, NamedTuple

_SLICE_SECONDS: Final = 0.1
"""The longest single wait for one event while other events can also stop the thread, which has to poll them."""


class StoppedError(Exception):
    """The work must stop. Stopping is not a failure: the next run does the rest of the work."""


class Awaited(NamedTuple):
    """Something outside of this process that a thread is waiting for."""

    what: str
    """A description, such as ``the file system of pages.root /srv/pages``."""
    since: float
    """The time of the thread's last heartbeat, by :func:`time.monotonic`."""


class Pulse:
    """The heartbeat of one thread, which other threads can read."""

    def __init__(self, on_sign: Callable[[], None] = lambda: None, every: float = 1.0) -> None:
        """Create a pulse and record its first heartbeat.

        ``every`` is the longest time in seconds that the thread may wait between two heartbeats. The thread itself
        calls ``on_sign``, about twice in that time.
        """
        self.signed_at = time.monotonic()
        self.awaits: str | None = None
        self.every = every
        self._on_sign = on_sign
        self._called_at = float("-inf")

    def sign(self) -> None:
        """Record a heartbeat. Frequent calls are cheap."""
        self.signed_at = now = time.monotonic()
        if now - self._called_at >= self.every / 2:
            self._called_at = now
            self._on_sign()

    @property
    def awaited(self) -> Awaited | None:
        """What the work is waiting for outside of this process, or None."""
        what = self.awaits
        return Awaited(what, self.signed_at) if what else None


class _Awaiting:
    """The result of :meth:`Context.awaiting`. A generator would cost more than many of the calls that it wraps."""

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
        """Create a context whose work stops when any of the events ``stops`` is set; ``pulse`` records its heartbeat.

        ``deadline`` is when waits for the index give up, by :func:`time.monotonic`. It doesn't limit any other work.
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
        """Record a heartbeat, and check whether the work is to stop. Frequent calls are cheap.

        Raises:
            StoppedError: the work is to stop.
        """
        self.pulse.sign()
        if self.stopped:
            raise StoppedError

    def wait(self, seconds: float, until: threading.Event | None = None) -> None:
        """Wait for a number of seconds while recording heartbeats.

        Setting the event ``until`` cuts the wait short. Code that stops the work must also set ``until``.

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

        The context manager can be reused.
        """
        return _Awaiting(self.pulse, what)

    def branch(self, *stops: threading.Event) -> "Context":
        """Return a context for a thread that does part of this work. Any of ``stops`` also stops that part."""
        return Context(*self.stops, *stops, deadline=self.deadline)


_UNBOUNDED: Final = Context()
"""The context of work that nothing stops, such as the work of a thread whose context was never set."""

_current: contextvars.ContextVar[Context] = contextvars.ContextVar("context", default=_UNBOUNDED)


def current() -> Context:
    """Return this thread's context."""
    return _current.get()


@contextmanager
def running(context: Context) -> Iterator[Context]:
    """Set this thread's context for the duration of the block."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


@contextmanager
def within(seconds: float) -> Iterator[Context]:
    """Limit the total number of seconds that the block may wait for the index."""
    around = current()
    deadline = min(around.deadline, time.monotonic() + seconds)
    with running(Context(*around.stops, deadline=deadline, pulse=around.pulse)) as context:
        yield context


@contextmanager
def shielded(seconds: float) -> Iterator[Context]:
    """Let the block clean up even if the work is to stop. The block may wait for the index for at most ``seconds``."""
    with running(Context(deadline=time.monotonic() + seconds, pulse=current().pulse)) as context:
        yield context

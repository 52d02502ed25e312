"""Limits on concurrent work: a thread pool that bounds how much runs at once, and a timeout for each step."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from cachesync.context import within
from cachesync.errors import CachesyncError

WAIT_SECONDS: Final = 1.0
"""How long a request waits for a free slot."""

_Result = TypeVar("_Result")


class BusyError(CachesyncError):
    """Too many requests are running at once."""


class LateError(CachesyncError):
    """The work took too long."""


class Slot:
    """The right to run work on one of the threads, one step after another."""

    def __init__(self, threads: ThreadPoolExecutor, seconds: float) -> None:
        """``seconds`` is how long one step may take."""
        self._threads = threads
        self._seconds = seconds
        self._running: asyncio.Future[Any] | None = None

    async def step(self, work: Callable[[], _Result]) -> _Result:
        """Run one step on a thread and return its result.

        Raises:
            LateError: the timeout expired. The thread may still be working.
        """
        done = asyncio.get_running_loop().run_in_executor(self._threads, self._within, work)
        self._running = done
        try:
            return await asyncio.wait_for(asyncio.shield(done), self._seconds)
        except TimeoutError:
            done.add_done_callback(_forget)
            raise LateError(f"it takes longer than {self._seconds:g} s; ask for less") from None

    def _within(self, work: Callable[[], _Result]) -> _Result:
        with within(self._seconds):
            return work()

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call ``then`` as soon as the thread is idle, even if its step has timed out."""
        if self._running is None or self._running.done():
            then()
        else:
            self._running.add_done_callback(lambda _: then())


class Admission:
    """Bounds how much work runs at a time. Call its methods from the server's event loop only."""

    def __init__(self, name: str, at_once: int, seconds: float) -> None:
        """Create ``at_once`` threads named ``name``. One step may take ``seconds``."""
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=name)
        self._at_once = at_once
        self._seconds = seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._free = asyncio.Semaphore(at_once)

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Run a single step, see :meth:`Slot.step`.

        Raises:
            BusyError: no thread became free within a second.
            LateError: the timeout expired.
        """
        async with self.slot() as slot:
            return await slot.step(work)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Occupy a thread for the duration of a ``with`` block, and beyond it until a step that timed out has finished.

        Raises:
            BusyError: no thread became free within a second.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # a server that was stopped and started again has a new loop
            self._loop, self._free = loop, asyncio.Semaphore(self._at_once)
        free = self._free
        try:
            await asyncio.wait_for(free.acquire(), WAIT_SECONDS)
        except TimeoutError:
            raise BusyError("too much is asked at once; try again in a second") from None
        slot = Slot(self._threads, self._seconds)
        try:
            yield slot
        finally:
            slot.when_idle(free.release)

    def close(self) -> None:
        """Stop accepting work."""
        self._threads.shutdown(wait=False)


def _forget(done: "asyncio.Future[_Result]") -> None:
    """Retrieve the exception of work that timed out; otherwise asyncio would log it as never retrieved."""
    if not done.cancelled():
        done.exception()

"""How much may be asked at once: work runs on threads of its own, some pieces at a time, each for some seconds."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from cachesync.context import within
from cachesync.errors import CachesyncError

_WAIT_SECONDS: Final = 1.0
"""So long a request waits for its turn."""

_Result = TypeVar("_Result")


class BusyError(CachesyncError):
    """Too much is asked at once."""


class LateError(CachesyncError):
    """It takes too long."""


class Turn:
    """The right to run pieces of work on a thread, one after the other."""

    def __init__(self, threads: ThreadPoolExecutor, seconds: float) -> None:
        """``seconds`` is how long one piece of work may take."""
        self._threads = threads
        self._seconds = seconds
        self._under_way: asyncio.Future[Any] | None = None

    async def step(self, work: Callable[[], _Result]) -> _Result:
        """Run a piece of work.

        Raises:
            LateError: it takes too long, and is given up.
        """
        done = asyncio.get_running_loop().run_in_executor(self._threads, self._within, work)
        self._under_way = done
        try:
            return await asyncio.wait_for(asyncio.shield(done), self._seconds)
        except TimeoutError:
            done.add_done_callback(_forget)
            raise LateError(f"it takes longer than {self._seconds:g} s; ask for less") from None

    def _within(self, work: Callable[[], _Result]) -> _Result:
        with within(self._seconds):
            return work()

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call somebody when the thread has ended its work, also work that was given up."""
        if self._under_way is None or self._under_way.done():
            then()
        else:
            self._under_way.add_done_callback(lambda _: then())


class Admission:
    """Lets so many pieces of work run at a time. Its methods are for the server's own thread."""

    def __init__(self, name: str, at_once: int, seconds: float) -> None:
        """Take what the threads are called, how many there are, and how long one piece of work may take."""
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=name)
        self._at_once = at_once
        self._seconds = seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._free = asyncio.Semaphore(at_once)

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Run a single piece of work.

        Raises:
            BusyError: it isn't its turn within a second.
            LateError: it takes too long, and is given up.
        """
        async with self.turn() as turn:
            return await turn.step(work)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Have one's turn for as long as a ``with`` block lasts, and longer where a thread is still at work then.

        Raises:
            BusyError: it isn't one's turn within a second.
        """
        free = await self._free_one()
        turn = Turn(self._threads, self._seconds)
        try:
            yield turn
        finally:
            turn.when_idle(free.release)

    async def _free_one(self) -> asyncio.Semaphore:
        """Wait for one's turn, and return what is to be released when it is over.

        A server that is stopped and started again has another event loop, in which turns of the former are of no use.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._free = loop, asyncio.Semaphore(self._at_once)
        free = self._free
        try:
            await asyncio.wait_for(free.acquire(), _WAIT_SECONDS)
        except TimeoutError:
            raise BusyError("too much is asked at once; try again in a second") from None
        return free

    def close(self) -> None:
        """Let no more work begin."""
        self._threads.shutdown(wait=False)


def _forget(done: "asyncio.Future[_Result]") -> None:
    """Take note of how work has ended that nobody waits for any more, else it would be logged as overlooked."""
    if not done.cancelled():
        done.exception()

"""Bounds on concurrent work, also when the server gets a new event loop."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor

import pytest

from cachesync.web import admission
from cachesync.web.admission import Admission, BusyError, LateError


def run(work: Coroutine[None, None, None]) -> None:
    """Run a coroutine on a thread of its own: while a browser's fixture lives, the main thread has an event loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def test_a_restarted_server_has_all_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if one was in use when it was stopped, and another request was waiting."""
    monkeypatch.setattr(admission, "WAIT_SECONDS", 0.05)
    admitted = Admission("search", 2, 60)
    begun, released = threading.Semaphore(0), threading.Event()

    def works() -> str:
        begun.release()
        assert released.wait(60)
        return "done"

    async def one_too_many(*, is_last: bool) -> None:
        under_way = [asyncio.ensure_future(admitted.run(works)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await admitted.run(works)
        if is_last:
            released.set()
            assert await asyncio.gather(*under_way) == ["done"] * 2
            assert await admitted.run(works) == "done"
        else:
            assert begun.acquire(timeout=60)

    run(one_too_many(is_last=False))
    run(one_too_many(is_last=True))
    admitted.close()


def test_a_thread_is_occupied_until_its_timed_out_step_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise steps that timed out would occupy more and more threads, and admitted requests would have to wait."""
    monkeypatch.setattr(admission, "WAIT_SECONDS", 0.05)
    released = threading.Event()

    async def late() -> None:
        admitted = Admission("export", 1, 0.05)
        with pytest.raises(LateError):
            async with admitted.slot() as slot:
                await slot.step(lambda: released.wait(60))
        with pytest.raises(BusyError):
            await admitted.run(lambda: None)
        released.set()
        monkeypatch.setattr(admission, "WAIT_SECONDS", 60)
        assert await admitted.run(lambda: "done") == "done"
        admitted.close()

    run(late())

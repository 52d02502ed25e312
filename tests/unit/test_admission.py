"""How much may be asked at once, whichever event loop the server has by now."""

import asyncio
import threading

import pytest

from cachesync.web import admission
from cachesync.web.admission import Admission, BusyError


def test_a_server_that_is_started_again_has_all_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one of them was taken while it was stopped, and another one was waited for."""
    monkeypatch.setattr(admission, "_WAIT_SECONDS", 0.05)
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

    asyncio.run(one_too_many(is_last=False))
    asyncio.run(one_too_many(is_last=True))
    admitted.close()

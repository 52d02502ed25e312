"""Logs what any command is waiting for: a server or a file system that doesn't answer."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cachesync.context import Awaited, Context
from cachesync.log import get_logger

_log = get_logger()

_PATIENCE_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.25


@contextmanager
def log_waits(context: Context) -> Iterator[None]:
    """While the block runs, log everything that the work in a context has been waiting for for a second."""
    ended = threading.Event()
    threading.Thread(target=_monitor, args=(context, ended), name="awaiting", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _monitor(context: Context, ended: threading.Event) -> None:
    logged: Awaited | None = None
    while not ended.wait(_POLL_SECONDS):
        awaited = context.pulse.awaited
        if awaited and awaited != logged and time.monotonic() - awaited.since >= _PATIENCE_SECONDS:
            logged = awaited
            _log.warning("waiting for an answer", action="command.waiting", of=awaited.what)

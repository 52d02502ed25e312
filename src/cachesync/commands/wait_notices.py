"""A command that is held up says by what: a server that doesn't answer, or a file system."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cachesync.context import Awaited, Context
from cachesync.log import get_logger

_log = get_logger()

_PATIENCE_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.25


@contextmanager
def say_what_is_awaited(context: Context) -> Iterator[None]:
    """Say, for as long as the block lasts, what the work in a context has waited for for a second."""
    ended = threading.Event()
    threading.Thread(target=_look_on, args=(context, ended), name="awaiting", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _look_on(context: Context, ended: threading.Event) -> None:
    said: Awaited | None = None
    while not ended.wait(_LOOK_SECONDS):
        awaited = context.pulse.awaited
        if awaited and awaited != said and time.monotonic() - awaited.since >= _PATIENCE_SECONDS:
            said = awaited
            _log.warning("waiting for an answer", of=awaited.what)

"""A command that is held up says by what: a server that doesn't answer, or a file system."""

import threading
import time
from typing import Final

from cachesync.context import Awaited, Context
from cachesync.log import get_logger

_log = get_logger()

_PATIENCE_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.25


def say_what_is_awaited(context: Context) -> None:
    """Say from now on, for as long as the process runs, what the work in a context has waited for for a second."""
    threading.Thread(target=_look_on, args=(context,), name="awaiting", daemon=True).start()


def _look_on(context: Context) -> None:
    said: Awaited | None = None
    while True:
        time.sleep(_LOOK_SECONDS)
        awaited = context.pulse.awaited
        if awaited and awaited != said and time.monotonic() - awaited.since >= _PATIENCE_SECONDS:
            said = awaited
            _log.warning("waiting for an answer", of=awaited.what)

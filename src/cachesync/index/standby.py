"""Stands by while another process is the writer, on every engine."""

import time
from typing import Final

from cachesync.context import current
from cachesync.errors import IndexUnavailableError
from cachesync.index.base import OnWait
from cachesync.log import get_logger

_log = get_logger()

_SERVICE_POLL_SECONDS: Final = 1.0
"""A service polls less often, because it may stand by for weeks."""


class Standby:
    """One process's wait for another writer to stop."""

    def __init__(
        self, place: str, patience: float, on_wait: OnWait, poll: float, *, serving: bool, **logged: str
    ) -> None:
        """Allow ``patience`` seconds from now, and check the other process every ``poll`` seconds.

        In messages, ``place`` names what is being written to; ``logged`` are additional fields of the log line.
        ``on_wait`` is called with the other process at each check. If ``serving``, ``poll`` is ignored.
        """
        self._place = place
        self._patience = patience
        self._deadline = time.monotonic() + patience
        self._on_wait = on_wait
        self._poll = _SERVICE_POLL_SECONDS if serving else poll
        self._to_log: dict[str, str] | None = logged

    def wait(self, holder: str) -> None:
        """Wait a moment for ``holder``, the other process.

        Raises:
            IndexUnavailableError: the patience is used up.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise IndexUnavailableError(
                f"{holder} is still writing to {self._place} after {self._patience:g} s: try again when it ends"
            )
        if self._to_log is not None:
            _log.info("waiting for another writer to end", action="writer.waiting", holder=holder, **self._to_log)
            self._to_log = None
        self._on_wait(holder)
        current().wait(min(self._poll, left))

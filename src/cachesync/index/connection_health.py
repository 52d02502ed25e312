"""How the way to an index fares: what metrics count, and what readiness asks for.

Each request reports of its own tries. There is trouble for as long as one of them goes on failing, so an answer to
one request doesn't hide that another gets none. What has failed for good leaves its trouble behind until something is
answered. A change from one to the other is one line of the log, however many requests there are.
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from cachesync.log import get_logger

_log = get_logger()

SERVICE: Final = "service"
"""Who gives up when what the service does with the index fails as a whole."""

_NOBODY: Final = object()
"""Whose trouble it is when a request has given up."""


class ConnectionHealth:
    """Of one index, for as long as the process runs, however often its connections are made anew. Thread-safe."""

    def __init__(
        self,
        on_bulk: Callable[[float], None] = lambda _seconds: None,
        retries: Counter[str] | None = None,
    ) -> None:
        """Begin with no trouble.

        Args:
            on_bulk: is told how many seconds each answered bulk request took.
            retries: counts on from there.
        """
        self.retries: Counter[str] = Counter() if retries is None else retries
        """How many tries failed, by kind: ``connection``, ``timeout``, ``429``, ``502``, ``503``, ``504``, ``blocked``,
        ``credentials``, ``other``."""
        self.on_bulk = on_bulk
        self._lock = threading.Lock()
        self._troubles: dict[object, str] = {}
        self._logged_since: float | None = None

    @property
    def trouble(self) -> str | None:
        """Why the index can't be used now; None: it answers, as far as anybody has asked."""
        with self._lock:
            return next(iter(self._troubles.values()), None)

    @contextlib.contextmanager
    def trying(self, url: str) -> Iterator["Tries"]:
        """Lend what one request tells of its tries by. If it ends in trouble, that stays until another is answered."""
        tries = Tries(self, url)
        try:
            yield tries
        finally:
            with self._lock:
                if trouble := self._troubles.pop(tries, None):
                    self._troubles[_NOBODY] = trouble

    def failed(self, who: object, kind: str, reason: str, url: str) -> None:
        """Take note of a try that failed and is going to be repeated."""
        with self._lock:
            self.retries[kind] += 1
            self._troubles[who] = f"{url}: {reason}"
            first = self._logged_since is None
            if first:
                self._logged_since = time.monotonic()
        if first:
            _log.warning("Elasticsearch can't be used for now; trying again", reason=reason, url=url)

    def gave_up(self, who: object, kind: str, why: str) -> None:
        """Take note of a request that failed for good. Who asked for it tells of that; the service asks for none."""
        with self._lock:
            if who is not SERVICE:
                self.retries[kind] += 1
            self._troubles[who] = why

    def answered(self, who: object, url: str) -> None:
        """Take note of an answer."""
        if not self._troubles:  # nearly always
            return
        with self._lock:
            self._troubles.pop(who, None)
            self._troubles.pop(_NOBODY, None)
            if self._troubles or self._logged_since is None:
                return
            seconds, self._logged_since = time.monotonic() - self._logged_since, None
        _log.info("Elasticsearch answers again", url=url, after_seconds=round(seconds, 1))


class Tries:
    """The tries of one request."""

    def __init__(self, health: ConnectionHealth, url: str) -> None:
        self._health = health
        self._url = url

    def failed(self, kind: str, reason: str) -> None:
        """It failed, and is going to be tried again."""
        self._health.failed(self, kind, reason, self._url)

    def gave_up(self, kind: str, why: str) -> None:
        """It failed for good."""
        self._health.gave_up(self, kind, why)

    def answered(self) -> None:
        """The server answered."""
        self._health.answered(self, self._url)

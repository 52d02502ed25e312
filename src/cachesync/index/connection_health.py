"""Tracks the health of the connection to an index, for metrics, readiness and the log.

Each request reports its own attempts. The connection is unhealthy for as long as any request keeps failing, so a
response to one request doesn't hide that another gets none. The failure of a request that was given up lasts until any
request is answered. A change from healthy to unhealthy or back is logged once, however many requests there are.
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
"""The owner of a failure that affects a whole job of the service, rather than one request."""

_FINISHED: Final = object()
"""The owner of a failure whose request has been given up."""


class ConnectionHealth:
    """The health of one index's connections, which persists when they are closed and reopened. Thread-safe."""

    def __init__(
        self, on_bulk: Callable[[float], None] = lambda _seconds: None, retries: Counter[str] | None = None
    ) -> None:
        """Start healthy. ``on_bulk`` is called with the duration in seconds of each answered bulk request."""
        self.retries: Counter[str] = Counter() if retries is None else retries
        """How many attempts failed, by kind: ``connection``, ``timeout``, ``429``, ``502``, ``503``, ``504``,
        ``blocked``, ``credentials``, ``other``. A counter that is passed in continues from its values."""
        self.on_bulk = on_bulk
        self._lock = threading.Lock()
        self._troubles: dict[object, str] = {}
        self._logged_since: float | None = None

    @property
    def trouble(self) -> str | None:
        """Why the index is currently unavailable; None if no request is failing."""
        with self._lock:
            return next(iter(self._troubles.values()), None)

    @contextlib.contextmanager
    def trying(self, url: str) -> Iterator["Tries"]:
        """Return the object that records one request's attempts. A failure at its end lasts until the next response."""
        tries = Tries(self, url)
        try:
            yield tries
        finally:
            with self._lock:
                if trouble := self._troubles.pop(tries, None):
                    self._troubles[_FINISHED] = trouble

    def failed(self, owner: object, kind: str, reason: str, url: str) -> None:
        """Record an attempt that failed and will be retried."""
        with self._lock:
            self.retries[kind] += 1
            self._troubles[owner] = f"{url}: {reason}"
            first = self._logged_since is None
            if first:
                self._logged_since = time.monotonic()
        if first:
            _log.warning(
                "Elasticsearch can't be used for now; trying again",
                action="elasticsearch.unavailable",
                reason=reason,
                url=url,
            )

    def gave_up(self, owner: object, kind: str, why: str) -> None:
        """Record that a request failed for good; the caller logs it. Failures of SERVICE aren't counted by kind."""
        with self._lock:
            if owner is not SERVICE:
                self.retries[kind] += 1
            self._troubles[owner] = why

    def answered(self, owner: object, url: str) -> None:
        """Record a response."""
        if not self._troubles:  # nearly always
            return
        with self._lock:
            self._troubles.pop(owner, None)
            self._troubles.pop(_FINISHED, None)
            if self._troubles or self._logged_since is None:
                return
            seconds, self._logged_since = time.monotonic() - self._logged_since, None
        _log.info(
            "Elasticsearch answers again", action="elasticsearch.recovered", url=url, after_seconds=round(seconds, 1)
        )


class Tries:
    """The attempts of one request."""

    def __init__(self, health: ConnectionHealth, url: str) -> None:
        self._health = health
        self._url = url

    def failed(self, kind: str, reason: str) -> None:
        """Record an attempt that failed and will be retried."""
        self._health.failed(self, kind, reason, self._url)

    def gave_up(self, kind: str, why: str) -> None:
        """Record that the request failed for good."""
        self._health.gave_up(self, kind, why)

    def answered(self) -> None:
        """Record that the server answered."""
        self._health.answered(self, self._url)

"""Adapts the rate of bulk requests to what the server can handle."""

from typing import Final

START_BYTES: Final = 3_000_000
MIN_BYTES: Final = 250_000
"""The initial and the minimum size of a bulk request. A larger document is sent alone."""

MAX_IN_FLIGHT: Final = 8
_AT_SERVER: Final = 2
_QUICK_SECONDS: Final = 1.0
_SLOW_SECONDS: Final = 5.0


class Pace:
    """How many bulk requests may be in flight, and how large they may be.

    A server that has two requests never waits for the next one; more requests would only queue up there. If the network
    is slow, more requests are in flight, so that two are always at the server. A request that the server can't handle
    halves the number and size of requests, and each quick response raises them a little.
    """

    def __init__(self) -> None:
        self.bytes = START_BYTES
        self._in_flight = float(_AT_SERVER)

    @property
    def in_flight(self) -> int:
        """How many requests may be in flight."""
        return round(self._in_flight)

    def answered(self, seconds: float, took: float) -> None:
        """Record a response after ``seconds``, of which the server reports having worked for ``took``."""
        wanted = min(MAX_IN_FLIGHT, max(_AT_SERVER, round(_AT_SERVER * seconds / max(took, 0.001))))
        self._in_flight += max(-1.0, min(wanted - self._in_flight, 1.0)) / 4
        if seconds > _SLOW_SECONDS:
            self.bytes = max(MIN_BYTES, self.bytes // 2)
        elif seconds < _QUICK_SECONDS and self.bytes < START_BYTES:
            self.bytes = min(START_BYTES, self.bytes * 5 // 4)

    def overloaded(self) -> None:
        """Record that the server couldn't handle a request, or a part of it."""
        self._in_flight = max(1.0, self._in_flight / 2)
        self.bytes = max(MIN_BYTES, self.bytes // 2)

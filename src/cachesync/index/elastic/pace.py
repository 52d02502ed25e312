"""How fast to send: as fast as the server can take it, and no faster."""

from typing import Final

START_BYTES: Final = 3_000_000
MIN_BYTES: Final = 250_000
"""What a bulk request weighs on the wire at first, and at least; a larger document goes alone."""

MAX_IN_FLIGHT: Final = 8
_AT_HAND: Final = 2
_QUICK_SECONDS: Final = 1.0
_SLOW_SECONDS: Final = 5.0


class Pace:
    """How many bulk requests are in flight, and how large they are.

    A server that has two requests at hand never waits for the next; more only queue up there. Where answers take long
    on the way, more are in flight so that two are always there. What the server can't take halves both numbers, and
    each quick answer brings them back a little.
    """

    def __init__(self) -> None:
        self.bytes = START_BYTES
        self._in_flight = float(_AT_HAND)

    @property
    def in_flight(self) -> int:
        """How many requests may be under way."""
        return round(self._in_flight)

    def answered(self, seconds: float, took: float) -> None:
        """A request was answered after ``seconds``, of which the server says it worked ``took``."""
        wanted = min(MAX_IN_FLIGHT, max(_AT_HAND, round(_AT_HAND * seconds / max(took, 0.001))))
        self._in_flight += max(-1.0, min(wanted - self._in_flight, 1.0)) / 4
        if seconds > _SLOW_SECONDS:
            self.bytes = max(MIN_BYTES, self.bytes // 2)
        elif seconds < _QUICK_SECONDS and self.bytes < START_BYTES:
            self.bytes = min(START_BYTES, self.bytes * 5 // 4)

    def overloaded(self) -> None:
        """The server couldn't take a request, or a part of it."""
        self._in_flight = max(1.0, self._in_flight / 2)
        self.bytes = max(MIN_BYTES, self.bytes // 2)

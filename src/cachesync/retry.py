"""Retries of requests: which responses call for one, how long to pause before the next try, and when to give up.

Requests to Elasticsearch, to Kibana and to other cachesync servers are all retried by these rules.
"""

import random
import time
from collections.abc import Iterator
from typing import Final

BUSY: Final = frozenset({429, 502, 503, 504})
"""The statuses by which a server or its proxy reports that the server is temporarily overloaded or unavailable."""


class Retries:
    """The pauses between the tries of one request."""

    def __init__(self, deadline: float) -> None:
        """``deadline`` is when to give up, by :func:`time.monotonic`."""
        self.deadline = deadline
        self._delays = delays()

    @property
    def left(self) -> float:
        """The seconds until the deadline."""
        return self.deadline - time.monotonic()

    def next_pause(self, asked: float | None = None) -> float | None:
        """Return the seconds to wait before the next try, or None if the deadline would pass first.

        ``asked`` is how long the server asks to wait, if it says so.
        """
        pause = next(self._delays) if asked is None else asked
        return pause if pause < self.left else None


def delays(first: float = 0.1, most: float = 5.0) -> Iterator[float]:
    """Yield how many seconds to wait before each retry: twice as long each time, up to ``most``, with jitter."""
    delay = first
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311  not for secrets
        delay = min(most, delay * 2)

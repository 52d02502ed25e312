"""Which paths may have changed, and since when: what the watcher says, until a pass has looked at it."""

import threading
from collections.abc import Iterable
from itertools import islice, takewhile
from typing import Final

from cachesync.sync.scan import EVERYTHING, is_at, places_of

MAX_PATHS: Final = 50_000
"""More than so many dirty paths are one: everything. A scan of all pages costs less, and memory is bounded."""

_BYTES_EACH: Final = 250
"""About what a path and its times take in memory."""


class DirtyPaths:
    """Paths that are to be looked at, each from the moment that it has been quiet.

    A path is as :func:`cachesync.sync.scan.scan_at` takes it: a page, a folder with a slash at its end, or ``""``,
    which is everything. Threads may share this. Times are those of one monotonic clock, in seconds.
    """

    def __init__(self, quiet: float, longest: float, max_paths: int = MAX_PATHS) -> None:
        """A path is due when nothing was heard of it for ``quiet`` seconds, or something for ``longest``."""
        self._quiet = quiet
        self._longest = max(quiet, longest)
        self._max_paths = max_paths
        self._lock = threading.Lock()
        self._first: dict[str, float] = {}
        """When each path was first heard of, the earliest first."""
        self._last: dict[str, float] = {}
        """When each path was last heard of, the earliest first."""
        self._taken: dict[str, float] = {}
        """Paths that are being looked at, and when each was first heard of."""
        self._heard: set[str] | None = None

    def mark(self, paths: Iterable[str], now: float) -> None:
        """Something was heard of these paths."""
        with self._lock:
            for path in paths:
                self._first.setdefault(path, now)
                self._last.pop(path, None)
                self._last[path] = now
                if self._heard is not None:
                    self._heard.add(path)
            if len(self._first) > self._max_paths:
                since = next(iter(self._first.values()))
                self._first = {EVERYTHING: since}
                self._last = {EVERYTHING: now}
                if self._heard is not None:
                    self._heard = {EVERYTHING}

    def due_at(self) -> float | None:
        """Return when the next path is due; None: there is none."""
        with self._lock:
            if not self._first:
                return None
            return min(next(iter(self._last.values())) + self._quiet, next(iter(self._first.values())) + self._longest)

    def take(self, now: float, limit: int) -> list[str]:
        """Take at most so many paths that are due, those that are due first; all of them, if everything is."""
        with self._lock:
            if EVERYTHING in self._first and self._is_due(EVERYTHING, now):
                return self._take_away(list(self._first))
            # Both are in the order of their times, so neither is walked further than to what isn't due.
            noisy = takewhile(lambda path: now - self._first[path] >= self._longest, self._first)
            quiet = takewhile(lambda path: now - self._last[path] >= self._quiet, self._last)
            due = dict.fromkeys([*islice(noisy, limit), *islice(quiet, limit)])
            return self._take_away(list(islice(due, limit)))

    def take_all(self) -> list[str]:
        """Take every path, whether it is quiet or not."""
        with self._lock:
            return self._take_away(list(self._first))

    def done(self) -> None:
        """What was taken has been looked at, and the index says so."""
        with self._lock:
            self._taken.clear()

    def put_back(self) -> None:
        """What was taken is still to be looked at."""
        with self._lock:
            self._first = dict(sorted({**self._first, **self._taken}.items(), key=lambda each: each[1]))
            self._last = {**dict.fromkeys((path for path in self._taken if path not in self._last), 0.0), **self._last}
            self._taken.clear()

    def since(self, path: str) -> float | None:
        """Return when a page that is being looked at was first heard of: by its own path or that of a folder."""
        with self._lock:
            return next((self._taken[each] for each in places_of(path) if each in self._taken), None)

    def oldest(self) -> float | None:
        """Return since when the longest waiting path waits; None: there is none."""
        with self._lock:
            return min([*islice(self._first.values(), 1), *self._taken.values()], default=None)

    def __len__(self) -> int:
        return len(self._first) + len(self._taken)

    @property
    def bytes(self) -> int:
        """About how much memory this takes."""
        return _BYTES_EACH * len(self)

    def listen(self) -> None:
        """Remember from now on what is heard, and what was heard and isn't done yet."""
        with self._lock:
            self._heard = {*self._first, *self._taken}

    def unheard(self, pages: Iterable[str]) -> list[str]:
        """Return those of some pages of which nothing was heard since :meth:`listen`, and stop remembering."""
        with self._lock:
            heard, self._heard = self._heard or set(), None
        return [page for page in pages if not is_at(page, heard)]

    def _is_due(self, path: str, now: float) -> bool:
        return now - self._last[path] >= self._quiet or now - self._first[path] >= self._longest

    def _take_away(self, paths: list[str]) -> list[str]:
        for path in paths:
            self._taken[path] = self._first.pop(path)
            del self._last[path]
        return paths

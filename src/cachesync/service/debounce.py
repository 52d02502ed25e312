"""The debounce, which collects the dirty paths that the watcher reports until a pass has handled them."""

import threading
from collections.abc import Iterable
from itertools import islice, takewhile
from typing import Final

from cachesync.sync.scan import EVERYTHING, is_at, places_of

MAX_PATHS: Final = 50_000
"""More dirty paths than this are replaced by one for all pages: a full pass is cheaper, and memory stays bounded."""

_BYTES_EACH: Final = 250
"""The approximate memory of one path and its times."""


class DirtyPaths:
    """The dirty paths. Each is due once no change has been reported for it for a while.

    A path is one that :func:`cachesync.sync.scan.scan_at` accepts: a page, a folder with a trailing slash, or ``""``
    for all pages. The class is thread-safe. Times are in seconds of one monotonic clock.
    """

    def __init__(self, quiet: float, longest: float, max_paths: int = MAX_PATHS) -> None:
        """A path is due ``quiet`` seconds after its last report, and at most ``longest`` seconds after the first."""
        self._quiet = quiet
        self._longest = max(quiet, longest)
        self._max_paths = max_paths
        self._lock = threading.Lock()
        self._first: dict[str, float] = {}
        """When each path was first reported, in chronological order."""
        self._last: dict[str, float] = {}
        """When each path was last reported, in chronological order."""
        self._taken: dict[str, float] = {}
        """The paths that a pass is handling, and when each was first reported."""
        self._recorded: set[str] | None = None

    def mark(self, paths: Iterable[str], now: float) -> None:
        """Add paths that were reported as dirty."""
        with self._lock:
            for path in paths:
                self._first.setdefault(path, now)
                self._last.pop(path, None)
                self._last[path] = now
                if self._recorded is not None:
                    self._recorded.add(path)
            if len(self._first) > self._max_paths:
                since = next(iter(self._first.values()))
                self._first = {EVERYTHING: since}
                self._last = {EVERYTHING: now}
                if self._recorded is not None:
                    self._recorded = {EVERYTHING}

    def due_at(self) -> float | None:
        """Return when the next path is due; None if there is none."""
        with self._lock:
            if not self._first:
                return None
            return min(next(iter(self._last.values())) + self._quiet, next(iter(self._first.values())) + self._longest)

    def take(self, now: float, limit: int) -> list[str]:
        """Take up to ``limit`` paths that are due, the earliest first, or all paths if ``""`` is due."""
        with self._lock:
            if EVERYTHING in self._first and self._is_due(EVERYTHING, now):
                return self._take_away(list(self._first))
            # Both dictionaries are ordered by time, so each iteration stops at the first path that isn't due.
            noisy = takewhile(lambda path: now - self._first[path] >= self._longest, self._first)
            quiet = takewhile(lambda path: now - self._last[path] >= self._quiet, self._last)
            due = dict.fromkeys([*islice(noisy, limit), *islice(quiet, limit)])
            return self._take_away(list(islice(due, limit)))

    def take_all(self) -> list[str]:
        """Take all paths, due or not."""
        with self._lock:
            return self._take_away(list(self._first))

    def done(self) -> None:
        """Forget the taken paths, because the index has acknowledged their changes."""
        with self._lock:
            self._taken.clear()

    def put_back(self) -> None:
        """Make the taken paths dirty again, because their pass failed."""
        with self._lock:
            self._first = dict(sorted({**self._first, **self._taken}.items(), key=lambda each: each[1]))
            self._last = {**dict.fromkeys((path for path in self._taken if path not in self._last), 0.0), **self._last}
            self._taken.clear()

    def since(self, path: str) -> float | None:
        """Return when a taken page, or a folder above it, was first reported; None if neither was reported."""
        with self._lock:
            return next((self._taken[each] for each in places_of(path) if each in self._taken), None)

    def oldest(self) -> float | None:
        """Return when the oldest waiting or taken path was first reported; None if there are no such paths."""
        with self._lock:
            return min([*islice(self._first.values(), 1), *self._taken.values()], default=None)

    def __len__(self) -> int:
        return len(self._first) + len(self._taken)

    @property
    def bytes(self) -> int:
        """The approximate memory of the paths, in bytes."""
        return _BYTES_EACH * len(self)

    def start_recording(self) -> None:
        """Record the paths that are now waiting or taken, and all paths that are reported from now on."""
        with self._lock:
            self._recorded = {*self._first, *self._taken}

    def stop_recording(self, pages: Iterable[str]) -> list[str]:
        """Stop recording, and return those of ``pages`` that were not recorded since :meth:`start_recording`."""
        with self._lock:
            recorded, self._recorded = self._recorded or set(), None
        return [page for page in pages if not is_at(page, recorded)]

    def _is_due(self, path: str, now: float) -> bool:
        return now - self._last[path] >= self._quiet or now - self._first[path] >= self._longest

    def _take_away(self, paths: list[str]) -> list[str]:
        for path in paths:
            self._taken[path] = self._first.pop(path)
            del self._last[path]
        return paths

"""The index that all HTTP requests share: it is opened once, and checked for a newer state every few seconds."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, TypeVar

from cachesync.errors import IndexUnavailableError, IndexUnusableError, UsageError
from cachesync.index.base import Index
from cachesync.index.generation import Reader
from cachesync.log import Once, get_logger
from cachesync.search.aliases import Aliases
from cachesync.search.vocabulary import Vocabulary

_log = get_logger()

RECHECK_SECONDS: Final = 2.0
"""How long an opened index is used before it is checked for changes."""

_FAILED_SECONDS: Final = 1.0
"""How long the error of a failed attempt to open the index is repeated before the next attempt."""

_Result = TypeVar("_Result")


class Opened(NamedTuple):
    """One state of the index."""

    reader: Reader
    vocabulary: Vocabulary
    state: str


class OpenedIndex:
    """An index that is opened on first use. It is thread-safe."""

    def __init__(self, index: Index, aliases: Aliases, *, logs_failures: bool) -> None:
        """With ``logs_failures``, log why the index can't be opened; for processes in which nothing else logs that."""
        self._index = index
        self._aliases = aliases
        self._logs_failures = logs_failures
        self._logged = Once()
        self._lock = threading.Lock()
        self._opened: Opened | None = None
        self._checked_at = float("-inf")
        self._failed: tuple[float, IndexUnavailableError] | None = None

    def read(self, work: Callable[[Opened], _Result]) -> _Result:
        """Run ``work`` on the index, and run it once more if another generation goes live during the first run.

        Raises:
            IndexUnavailableError: the index can't be read.
        """
        try:
            return work(self.current())
        except IndexUnusableError:
            return work(self.current(reopen=True))

    def current(self, *, reopen: bool = False) -> Opened:
        """Return the index in a state that is at most a few seconds old or, with ``reopen``, in its current state.

        Raises:
            IndexUnavailableError: the index can't be read.
        """
        with self._lock:
            if reopen or self._opened is None or time.monotonic() - self._checked_at > RECHECK_SECONDS:
                self._opened = self._reopen()
                self._checked_at = time.monotonic()
            return self._opened

    def _reopen(self) -> Opened:
        """Open the index, or raise the previous error again if opening the index has just failed."""
        if self._failed and time.monotonic() - self._failed[0] < _FAILED_SECONDS:
            raise self._failed[1]
        try:
            with unusable_as_unavailable():
                reader = self._index.reader()
            state = reader.state()
        except IndexUnavailableError as error:
            self._failed = time.monotonic(), error
            if self._logs_failures and self._logged.is_news(str(error)):
                _log.warning("the index can't be searched for now", action="index.unavailable", reason=str(error))
            raise
        if self._failed and self._logs_failures:
            _log.info("the index can be searched again", action="index.recovered")
        self._logged.over()
        self._failed = None
        if self._opened and self._opened.state == state:
            return self._opened
        return Opened(reader, Vocabulary(reader, self._aliases), state)


@contextmanager
def unusable_as_unavailable() -> Iterator[None]:
    """Turn a UsageError into an IndexUnavailableError.

    An invalid configuration, or foreign data where the index should be, is not the HTTP client's mistake.
    """
    try:
        yield
    except UsageError as error:
        raise IndexUnavailableError(str(error)) from error

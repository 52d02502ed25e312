"""A reindex beside the service's other work: its long part has a thread of its own."""

import threading
import time
from collections.abc import Callable
from typing import Final

from cachesync.context import StoppedError, current, delays, running
from cachesync.errors import CachesyncError, DefectError
from cachesync.index.base import Writer
from cachesync.log import get_logger, passing
from cachesync.service.state import ServiceState
from cachesync.sync.guard import Guard
from cachesync.sync.reindex import Reindex
from cachesync.sync.report import Report
from cachesync.sync.scan import Source

_log = get_logger()

_RETRY_SECONDS: Final = 60.0
_MAX_RETRY_SECONDS: Final = 3600.0


class BackgroundReindex:
    """At most one reindex. All methods are for one thread, which alone may write to the live generation."""

    def __init__(self, source: Source, writer: Writer, state: ServiceState, on_filled: Callable[[], None]) -> None:
        """The other thread calls ``on_filled`` in the end. Then there is something to :meth:`finish`."""
        self.request: str | None = None
        """Who asked for it."""
        self.consent = False
        """Whoever asked for it means any loss."""
        self.done = 0
        self.pages = 0
        self.not_before = 0.0
        """When another try is worth it, by :func:`time.monotonic`."""
        self._source = source
        self._writer = writer
        self._state = state
        self._on_filled = on_filled
        self._new: Reindex | None = None
        self._thread: threading.Thread | None = None
        self._cancelled = threading.Event()
        self._retries = delays(_RETRY_SECONDS, _MAX_RETRY_SECONDS)
        self._error: CachesyncError | StoppedError | None = None

    @property
    def is_running(self) -> bool:
        """One is under way."""
        return self._thread is not None

    @property
    def is_filled(self) -> bool:
        """Its long part is over, one way or the other."""
        return self._thread is not None and not self._thread.is_alive()

    def start(self, request: str | None = None, *, consent: bool = False) -> None:
        """Begin one, for whoever asked for it. It stops with the context of the thread that begins it."""
        self._cancelled = threading.Event()
        self._error = None
        self.done = self.pages = 0
        self._new = Reindex(self._source, self._writer, self._progress)
        self.request, self.consent = request, consent
        self._state.reindexing = 0.0
        context = current().branch(self._cancelled)

        def fill(new: Reindex) -> None:
            with running(context):
                self._fill(new)

        self._thread = threading.Thread(target=fill, args=(self._new,), name="reindex", daemon=True)
        self._thread.start()

    def finish(self, guard: Guard, goes_live: Callable[[str], None]) -> Report:
        """Let it go live, with all that the live generation has been given until now, if ``guard`` lets it.

        ``goes_live`` is told its name before.

        Raises:
            CachesyncError: it failed.
        """
        assert self._new
        try:
            report = self._finished(self._new, guard, goes_live)
        except BaseException:
            self._new.abandon()
            raise
        finally:
            self._forget()
        self._retries = delays(_RETRY_SECONDS, _MAX_RETRY_SECONDS)
        self._state.reindex_trouble = None
        return report

    def _finished(self, new: Reindex, guard: Guard, goes_live: Callable[[str], None]) -> Report:
        if self._error:
            raise self._error
        goes_live(new.generation)
        return new.finish(guard)

    def failed(self, error: CachesyncError) -> None:
        """Tell that it failed, and put off the next try, longer and longer."""
        self._state.reindex_trouble = str(error)
        _log.warning("the reindex came to nothing", reason=str(error))
        self.not_before = time.monotonic() + next(self._retries)

    def cancel(self) -> None:
        """End it, if there is one."""
        if self._thread and self._new:
            self._cancelled.set()
            with current().awaiting(self._source.file_system):  # it ends at its next page, unless that doesn't answer
                self._thread.join()
            self._new.abandon()
            self._forget()

    def _forget(self) -> None:
        self._new = self._thread = self.request = None
        self._state.reindexing = None

    def _fill(self, new: Reindex) -> None:
        try:
            with passing("reindex"):
                new.fill()
        except (CachesyncError, StoppedError) as error:
            self._error = error
        except Exception as error:  # noqa: BLE001  a thread has nobody else to tell
            _log.exception("a defect of cachesync: please report it")
            self._error = DefectError.of(error)
        self._on_filled()

    def _progress(self, done: int, pages: int) -> None:
        self.done, self.pages = done, pages
        self._state.reindexing = done / pages

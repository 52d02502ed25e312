"""A reindex that runs beside the service's other work: a separate thread fills the new generation."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cachesync.context import StoppedError, current, running
from cachesync.errors import CachesyncError, DefectError
from cachesync.index.lifecycle import Writer
from cachesync.log import DEFECT, get_logger, pass_context
from cachesync.retry import delays
from cachesync.service.state import ServiceState
from cachesync.sync.guard import Guard
from cachesync.sync.reindex import Reindex
from cachesync.sync.report import Report
from cachesync.sync.scan import Source

_log = get_logger()

_RETRY_SECONDS: Final = 60.0
_MAX_RETRY_SECONDS: Final = 3600.0


@dataclass
class Filling:
    """A reindex in progress."""

    request: str | None
    """The ID of the request that started the reindex; None if the service started it without a request."""
    consent: bool
    """Whether that request consents to any loss."""
    done: int = 0
    pages: int = 0
    error: CachesyncError | StoppedError | None = None
    """Why filling the new generation failed, or None."""


class BackgroundReindex:
    """Runs at most one reindex at a time. Only the thread that writes to the live generation may call the methods."""

    def __init__(self, source: Source, writer: Writer, state: ServiceState, on_filled: Callable[[], None]) -> None:
        """``on_filled`` is called by the filling thread at its end, when the reindex is ready for :meth:`finish`."""
        self.running: Filling | None = None
        """The reindex in progress, or None."""
        self.not_before = 0.0
        """When the next attempt may start, by :func:`time.monotonic`."""
        self._source = source
        self._writer = writer
        self._state = state
        self._on_filled = on_filled
        self._new: Reindex | None = None
        self._thread: threading.Thread | None = None
        self._cancelled = threading.Event()
        self._retries = delays(_RETRY_SECONDS, _MAX_RETRY_SECONDS)

    @property
    def is_filled(self) -> bool:
        """Whether filling has finished, successfully or not."""
        return self._thread is not None and not self._thread.is_alive()

    def start(self, request: str | None = None, *, consent: bool = False) -> None:
        """Start a reindex, for a request if one is given. The reindex stops with the calling thread's context."""
        self._cancelled = threading.Event()
        context = current().branch(self._cancelled)
        filling = self.running = Filling(request, consent)
        self._state.reindexing = 0.0

        def progress(done: int, pages: int) -> None:
            filling.done, filling.pages = done, pages
            self._state.reindexing = done / pages

        new = self._new = Reindex(self._source, self._writer, progress)

        def fill() -> None:
            with running(context):
                filling.error = _failure(new)
                self._on_filled()

        self._thread = threading.Thread(target=fill, name="reindex", daemon=True)
        self._thread.start()

    def finish(self, guard: Guard, before_promote: Callable[[str], None]) -> Report:
        """Bring the new generation up to date with the pages, and promote it if ``guard`` allows the promotion.

        ``before_promote`` is called first, with the generation's name.

        Raises:
            CachesyncError: the reindex failed.
        """
        assert self._new
        try:
            report = self._finish(self._new, guard, before_promote)
        except BaseException:
            self._new.abandon()
            raise
        finally:
            self._clear()
        self._retries = delays(_RETRY_SECONDS, _MAX_RETRY_SECONDS)
        self._state.reindex_trouble = None
        return report

    def _finish(self, new: Reindex, guard: Guard, before_promote: Callable[[str], None]) -> Report:
        if self.running and self.running.error:
            raise self.running.error
        before_promote(new.generation)
        return new.finish(guard)

    def failed(self, error: CachesyncError) -> None:
        """Log that the reindex failed, and delay the next attempt with back-off."""
        self._state.reindex_trouble = str(error)
        _log.warning("the reindex failed", action="reindex.failed", reason=str(error))
        self.not_before = time.monotonic() + next(self._retries)

    def cancel(self) -> None:
        """Stop and discard the reindex, if one is running."""
        if self._thread and self._new:
            self._cancelled.set()
            with current().awaiting(self._source.file_system):  # it stops at its next page, unless the disk hangs
                self._thread.join()
            self._new.abandon()
            self._clear()

    def _clear(self) -> None:
        self.running = self._new = self._thread = None
        self._state.reindexing = None


def _failure(new: Reindex) -> CachesyncError | StoppedError | None:
    """Fill a new generation. Return None, or the error that :meth:`BackgroundReindex.finish` is to raise."""
    try:
        with pass_context("reindex"):
            new.fill()
    except (CachesyncError, StoppedError) as error:
        return error
    except Exception as error:  # noqa: BLE001  nothing else would report an exception of this thread
        _log.exception(DEFECT, action="defect.found")
        return DefectError.of(error)
    return None

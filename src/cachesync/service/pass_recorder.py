"""What is recorded of each pass: metrics, a log line, the state that HTTP shows, and what became of its dirty paths."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from cachesync.context import StoppedError
from cachesync.errors import OvertakenError
from cachesync.log import pass_context
from cachesync.service.pass_log import PassLog
from cachesync.service.session import Resources
from cachesync.service.state import LastPass
from cachesync.sync.report import Report


class PassRecorder:
    """Records passes."""

    def __init__(self, resources: Resources) -> None:
        self._state = resources.state
        self._dirty = resources.dirty
        self._metrics = resources.metrics
        self._pass_log = PassLog()

    @contextmanager
    def recorded(self, kind: str) -> Iterator[Callable[[Report], None]]:
        """Give a pass its trace id, metrics and log line. Its dirty paths are done at the end, or put back if it fails.

        The block must call the yielded function with the pass's report.
        """
        started = datetime.now(UTC)
        start = time.monotonic()
        with pass_context(kind):
            try:
                outcome: list[Report] = []
                yield outcome.append
            except BaseException as error:
                self._dirty.put_back()
                if not isinstance(error, StoppedError | OvertakenError):
                    self._metrics.record_pass(kind, "failed", 0)
                raise
            self._dirty.done()
            report = outcome[0]
            seconds = time.monotonic() - start
            self._metrics.record_pass(kind, report.outcome, seconds)
            self._metrics.written(report.specs.added, report.specs.updated, report.specs.deleted)
            pages, specs = report.pages, report.specs
            changed = pages.added + pages.updated + pages.deleted, specs.added + specs.updated + specs.deleted
            self._state.last_pass = LastPass(kind, report.outcome, started, seconds, *changed)
            self._pass_log.record_pass(report, seconds, more=kind == "partial" and len(self._dirty) > 0)
            if report.has_written:
                self._state.last_written = datetime.now(UTC)

    def acknowledged(self, page: str) -> None:
        """Record how long the change of a page has waited until it was in the index."""
        since = self._dirty.since(page)
        if since is not None:
            self._metrics.acknowledged(time.monotonic() - since)

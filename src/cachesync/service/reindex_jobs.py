"""The jobs that start a reindex when it is due, and promote the generation that the reindex has filled."""

import time
from datetime import UTC, datetime
from functools import partial
from typing import Final

from cachesync.errors import CachesyncError, OvertakenError, RefusedError
from cachesync.log import get_logger
from cachesync.service.requests import Response
from cachesync.service.scheduler import NEVER
from cachesync.service.session import Session
from cachesync.service.sync_jobs import Mode, SyncJobs

_log = get_logger()

_SCHEDULE_SECONDS: Final = 30.0


class ReindexJobs:
    """Starts a reindex by the schedule or for an index of another version, and promotes the result of any reindex."""

    def __init__(self, session: Session, sync_jobs: SyncJobs) -> None:
        self.due = 0.0
        """When to check next whether a reindex has to start."""
        self._was_catching_up = False
        self._sync_jobs = sync_jobs
        self._reindex = session.reindex
        self._requests = session.requests
        self._timetable = session.timetable
        self._loss_guard = session.loss_guard
        self._state = session.resources.state
        self._metrics = session.resources.metrics
        self._upgrades = session.resources.options.auto_reindex
        """Whether a reindex for an index of another version is still to be started."""

    def start_due(self) -> float:
        """Return when to check whether a reindex has to start: immediately once the service has caught up."""
        has_caught_up = self._was_catching_up and self._sync_jobs.mode is not Mode.CATCHING_UP
        return 0.0 if has_caught_up else self.due

    def promotion_due(self) -> float:
        """Return when to promote a generation: now if it is filled, otherwise never."""
        return 0.0 if self._reindex.is_filled else NEVER

    def start(self) -> None:
        """Start a reindex if one is due or was due while no service was running."""
        now = datetime.now(UTC)
        upcoming = self._timetable.next_due(now)
        self.due = time.monotonic() + _SCHEDULE_SECONDS  # after next_due(), whose failure is retried sooner
        self._was_catching_up = self._sync_jobs.mode is Mode.CATCHING_UP
        with self._state.changing():
            self._state.last_reindex, self._state.next_reindex = self._timetable.last, upcoming
        if self._sync_jobs.mode in (Mode.PINNED, Mode.CATCHING_UP) or self._reindex.running:
            return
        if self._upgrades and self._sync_jobs.live and self._sync_jobs.live.outdated:
            self._upgrades = False
            _log.info(
                "another version of cachesync made this index: a reindex brings it up to date", action="reindex.started"
            )
            self._reindex.start()
            return
        if upcoming is None:
            return
        wait = (upcoming - now).total_seconds()
        if wait > 0:
            self.due = time.monotonic() + min(wait, _SCHEDULE_SECONDS)
        elif time.monotonic() >= self._reindex.not_before:
            _log.info("a reindex is due", action="reindex.started", since=upcoming.isoformat())
            self._reindex.start()

    def promote(self) -> None:
        """Promote the filled generation, which is complete because nothing else is written during the promotion."""
        running = self._reindex.running
        assert running
        request = running.request
        consent = partial(self._requests.consents, request) if request and running.consent else None
        now = datetime.now(UTC)
        guard = self._loss_guard.for_full_pass(consent)
        self._sync_jobs.require_full_pass()  # no partial pass may write to the earlier generation any more
        self._requests.due = self.due = 0.0  # to send the response and note the outcome in the timetable
        try:
            report = self._reindex.finish(guard, partial(self._requests.note_promotion, request))
        except CachesyncError as error:
            self._reindex.failed(error)
            self._metrics.record_pass("reindex", "failed", 0)
            if isinstance(error, OvertakenError):  # the next writer carries out the request
                raise
            self._requests.settle(request, Response.failed(error))
            if isinstance(error, RefusedError):
                self._timetable.skip_until(now)  # a person has to act first
            return
        self._requests.settle(request, Response.done_with(report))
        self._metrics.record_pass("reindex", report.outcome, report.seconds)
        if report.withheld:
            _log.warning(
                "the reindex would lose too many specs and was dropped", action="reindex.refused", specs=report.lost
            )
            self._timetable.skip_until(now)
        else:
            self._sync_jobs.unpin()
            self._state.last_written = datetime.now(UTC)
            _log.info(
                "a new generation is live",
                action="reindex.completed",
                specs=report.specs.added,
                seconds=round(report.seconds, 3),
            )
            self._loss_guard.record_pass(report, guard)
            self._timetable.reindexed(now)

"""The writer's main loop: catch up, then follow the pages until the service stops or another writer takes over.

A single thread runs one job at a time: the job that has been due for longest. Only the filling of a new generation has
a thread of its own.
"""

import time
from typing import Final

from cachesync.context import StoppedError, current
from cachesync.errors import CachesyncError, ConsentError, IndexUnavailableError, IndexUnusableError
from cachesync.index.connection_health import SERVICE
from cachesync.log import get_logger
from cachesync.service.partial_passes import PartialPasses
from cachesync.service.reindex_jobs import ReindexJobs
from cachesync.service.request_jobs import RequestJobs
from cachesync.service.scheduler import NEVER, Job, Scheduler
from cachesync.service.session import Session
from cachesync.service.sync_jobs import Mode, SyncJobs

_log = get_logger()

_PARTIAL: Final = "partial pass"
"""The name of the job that handles dirty paths."""

_CHECK_SECONDS: Final = 5.0
"""How often to check that the index is intact."""


class ServiceLoop:
    """The loop that runs while this process is the writer."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.sync_jobs = SyncJobs(session, self._all_recovered)
        self._reindex_jobs = ReindexJobs(session, self.sync_jobs)
        partial_passes = PartialPasses(session, self.sync_jobs)
        request_jobs = RequestJobs(session, self.sync_jobs)
        self._has_reported_trouble = False
        self._damage: str | None = None
        """What has happened to the index; None once a full pass has repaired the index."""
        self._check_at = NEVER
        """When to check the index next. Before the first full pass there is nothing to check."""
        jobs = [
            Job("full pass", self.sync_jobs.full_pass_due, self.sync_jobs.full_pass),
            Job(_PARTIAL, partial_passes.due, partial_passes.run),
            Job("index check", lambda: self._check_at, self._check_index),
            Job("requests", lambda: session.requests.due, request_jobs.carry_out_all),
            Job("schedule", self._reindex_jobs.start_due, self._reindex_jobs.start),
            Job("promotion", self._reindex_jobs.promotion_due, self._reindex_jobs.promote),
            Job("watcher health", lambda: self.sync_jobs.watcher_health.due, self.sync_jobs.judge_watcher),
            Job("freshness", session.freshness_notes.due, session.freshness_notes.note),
        ]
        self.scheduler = Scheduler(jobs, self._job_failed, self._job_recovered)

    def run(self) -> None:
        """Run jobs until the context is to stop.

        Raises:
            OvertakenError: another process has become the writer.
            StoppedError: the context is to stop.
        """
        session = self.session
        self.sync_jobs.enter(Mode.CATCHING_UP)  # another writer may have unpinned the index in the meantime
        session.loss_guard.load()
        session.freshness_notes.begin()
        try:
            while True:
                session.resources.publish_queue()
                job, wait = self.scheduler.next()
                if wait > 0:
                    current().wait(wait, until=session.resources.wake)
                    session.resources.wake.clear()
                else:
                    current().check()
                    self.scheduler.run(job)
        except StoppedError:
            session.freshness_notes.end()
            raise
        finally:
            session.reindex.cancel()

    def _job_failed(self, job: str, error: CachesyncError, is_first: bool) -> float | None:
        """Put back the dirty paths that the job had taken, and report the error, see :class:`.Scheduler`."""
        self.session.resources.dirty.put_back()
        self._report_trouble()
        if is_first:
            _log.warning("a job failed; retrying", action="job.failed", job=job, reason=str(error))
        outage = isinstance(error, IndexUnavailableError) and not isinstance(error, IndexUnusableError)
        if not outage or job == _PARTIAL:
            self.sync_jobs.require_full_pass()  # how much a failed partial pass has written is unknown
        # A retry is pointless until a person has consented.
        return self.session.resources.options.rescan_interval if isinstance(error, ConsentError) else None

    def _job_recovered(self, job: str) -> None:
        """Withdraw the report of the job's failure."""
        self._report_trouble()
        if not self.scheduler.errors:
            _log.info("all jobs succeed again", action="job.recovered", job=job)

    def _check_index(self) -> None:
        """Check that the index is still as this service left it, and make a full pass due if it needs a repair."""
        is_intact = self.session.writer.intact()
        self._check_at = time.monotonic() + _CHECK_SECONDS
        if is_intact or self._damage:
            return
        _log.warning("the index isn't as it was left: starting a full pass", action="index.damaged")
        self._damage = "it isn't as it was left, and is being repaired"
        self._report_trouble()
        self.sync_jobs.unpin()
        self.sync_jobs.require_full_pass()

    def _report_trouble(self) -> None:
        """Report why the index is unavailable and why the loop can't continue, from the errors of the failing jobs."""
        health, state = self.session.resources.health, self.session.resources.state
        errors = self.scheduler.errors
        unavailable = [str(error) for error in errors if isinstance(error, IndexUnavailableError)]
        unavailable += [self._damage] if self._damage else []
        others = [str(error) for error in errors if not isinstance(error, IndexUnavailableError)]
        if unavailable:
            health.gave_up(SERVICE, "other", unavailable[0])
        elif self._has_reported_trouble:
            health.answered(SERVICE, state.url)
        self._has_reported_trouble = bool(unavailable)
        state.set_trouble(others[0] if others else None, time.monotonic())

    def _all_recovered(self) -> None:
        """Withdraw all failures, because a full pass or a rollback has repaired everything."""
        self._damage = None
        self._check_at = time.monotonic() + _CHECK_SECONDS
        self._report_trouble()
        self.scheduler.recover_all()

"""The job that syncs dirty paths by partial passes."""

import time
from typing import Final

from cachesync.service.pass_recorder import log_problems, update_warnings
from cachesync.service.scheduler import NEVER
from cachesync.service.session import Session
from cachesync.service.sync_jobs import SyncJobs
from cachesync.sync.passes import partial_pass
from cachesync.sync.plan import ids_are_unique
from cachesync.sync.report import Report
from cachesync.sync.scan import EVERYTHING, is_at

_PARTIAL_PAGES: Final = 2_000
"""The maximum number of dirty paths that one partial pass handles, so that no other job waits for long."""


class PartialPasses:
    """Partial passes, which sync dirty paths between the full passes."""

    def __init__(self, session: Session, sync_jobs: SyncJobs) -> None:
        self._source = session.resources.options.source
        self._state = session.resources.state
        self._dirty = session.resources.dirty
        self._loss_guard = session.loss_guard
        self._sync_jobs = sync_jobs

    def due(self) -> float:
        """Return when the next dirty path is due."""
        due = None if self._sync_jobs.root is None else self._dirty.due_at()
        return NEVER if due is None else due

    def run(self) -> None:
        """Sync the dirty paths that are due."""
        paths = self._dirty.take(time.monotonic(), _PARTIAL_PAGES)
        live, root, recorder = self._sync_jobs.live, self._sync_jobs.root, self._sync_jobs.recorder
        if live is None or root is None or EVERYTHING in paths or not ids_are_unique(self._source.pattern):
            self._sync_jobs.full_pass()
            return
        taken = set(paths)
        paths = [path for path in paths if not is_at(path.rstrip("/").rpartition("/")[0] + "/", taken)]
        with recorder.recorded("partial") as finished:
            guard = self._loss_guard.for_partial_pass()
            report = partial_pass(live, self._source, guard, recorder.acknowledged, paths, root, self._state.specs)
            self._loss_guard.record_pass(report, guard)
            self._publish(set(paths), report)
            finished(report)
        self._sync_jobs.schedule_next_pass(report)
        if not len(self._dirty):
            self._loss_guard.all_scanned()
            if self._loss_guard.should_recheck:
                self._sync_jobs.full_pass_at = 0.0

    def _publish(self, paths: set[str], report: Report) -> None:
        """Update the state with the result of a partial pass over some paths."""
        state, before = self._state, self._state.problems
        problems = {page: problem for page, problem in before.items() if not is_at(page, paths)}
        problems |= {problem.page: problem for problem in report.problems}
        with state.changing():
            state.problems = problems
            state.specs += report.specs.added - report.specs.deleted
            state.pages += report.records
        log_problems(before, problems)
        update_warnings(state, report, paths)
        withheld = {page: specs for page, specs in state.withheld.items() if not is_at(page, paths)}
        self._loss_guard.withhold(withheld | report.withheld, is_full_pass=False)

"""The writer's main loop: catch up, then follow the pages, until the service stops or another becomes the writer.

One thread runs one job at a time, the one that has been due for longest. Only filling a new generation has a thread of
its own.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

from cachesync.context import StoppedError, current
from cachesync.errors import (
    CachesyncError,
    ConsentError,
    DefectError,
    IndexUnavailableError,
    IndexUnusableError,
    OvertakenError,
    RefusedError,
)
from cachesync.index.base import Generation, Index, Writer
from cachesync.index.connection_health import SERVICE, ConnectionHealth
from cachesync.log import get_logger, pass_context
from cachesync.service.background_reindex import BackgroundReindex
from cachesync.service.debounce import DirtyPaths
from cachesync.service.first_fill import FirstFill
from cachesync.service.freshness_notes import FreshnessNotes
from cachesync.service.loss_guard import LossGuard
from cachesync.service.metrics import Metrics
from cachesync.service.pass_log import PassLog, log_problems, update_warnings
from cachesync.service.requests import CommandRequest, Requests, Response, RootNames
from cachesync.service.schedule import Schedule
from cachesync.service.scheduler import NEVER, Job, Scheduler
from cachesync.service.state import LastPass, ServiceState
from cachesync.service.timetable import Timetable
from cachesync.service.watcher_health import BLIND_SECONDS, WatcherHealth
from cachesync.sync import full_sync
from cachesync.sync.guard import Consent, Guard, question
from cachesync.sync.passes import partial_pass
from cachesync.sync.plan import ids_are_unique
from cachesync.sync.reindex import went_live
from cachesync.sync.report import Report
from cachesync.sync.scan import EVERYTHING, Root, Source, is_at, require_same, root_of

_log = get_logger()

CHECK_SECONDS: Final = 5.0
"""How often to check that the index is intact."""

_SCHEDULE_SECONDS: Final = 30.0
_PARTIAL_PAGES: Final = 2_000
"""How many dirty paths one partial pass handles at most, so that no other job waits for long."""

_WATCH_SECONDS: Final = 10.0
"""How long the first pass waits for the watcher. Later changes are reported, so that one full pass is enough."""

_RETRY_SECONDS: Final = 0.5
"""How soon to repeat a full pass during which pages changed."""


class LoopSettings(NamedTuple):
    """The configuration of the loop."""

    source: Source
    guard: Callable[[Consent], Guard]
    """Returns a guard that asks the given function for consent."""
    schedule: Schedule
    rescan_interval: float
    auto_reindex: bool
    """Whether to reindex by itself an index that another version made."""


_PARTIAL: Final = "partial"
"""The name of the job that handles dirty paths."""


class ServiceLoop:
    """The loop that runs while this process is the writer."""

    def __init__(
        self,
        settings: LoopSettings,
        index: Index,
        writer: Writer,
        dirty: DirtyPaths,
        state: ServiceState,
        metrics: Metrics,
        health: ConnectionHealth,
        wake: threading.Event,
    ) -> None:
        """``wake`` is set whenever a job may have become due, and when the context is to stop."""
        self._settings = settings
        self._index = index
        self._source = settings.source
        self._writer = writer
        self._dirty = dirty
        self._state = state
        self._metrics = metrics
        self._health = health
        self._wake = wake
        self._root: Root | None = None
        self._live: Generation | None = None
        self._schedule_at = 0.0
        self._full_pass_at = time.monotonic() + _WATCH_SECONDS
        self._check_at = NEVER
        self._upgrade_begun = not settings.auto_reindex
        """Whether the reindex for an index of another version was started, or ``auto_reindex`` is off."""
        self._damage: str | None = None
        """What has happened to the index, until a full pass has repaired it."""
        self._has_reported_trouble = False
        self._watcher_health = WatcherHealth(dirty, state)
        notes = index.notes()
        self._first_fill = FirstFill(notes)
        self._freshness_notes = FreshnessNotes(notes, state, lambda: health.trouble, settings.rescan_interval)
        self._requests = Requests(writer, notes)
        self._loss_guard = LossGuard(settings.guard, notes, state)
        self._pass_log = PassLog()
        self._timetable = Timetable(settings.schedule, notes)
        self._background_reindex = BackgroundReindex(settings.source, writer, state, wake.set)
        jobs = [
            Job("whole", self._full_pass_due, self._full_pass),
            Job(_PARTIAL, self._partial_due, self._partial_pass),
            Job("pulse", self._check_due, self._check_index),
            Job("request", lambda: self._requests.due, self._carry_out_requests),
            Job("schedule", lambda: self._schedule_at, self._start_due_reindex),
            Job("swap", lambda: 0.0 if self._background_reindex.is_filled else NEVER, self._promote),
            Job("blindness", lambda: self._watcher_health.due, self._judge_watcher),
            Job("freshness", self._freshness_notes.due, self._freshness_notes.note),
        ]
        self.scheduler = Scheduler(jobs, self)

    def run(self) -> None:
        """Run jobs until the context is to stop.

        Raises:
            OvertakenError: another has become the writer.
            StoppedError: the context is to stop.
        """
        self._state.rolled_back = False  # another writer may have unpinned the index since
        self._loss_guard.load()
        self._freshness_notes.begin()
        try:
            while True:
                update_queue(self._dirty, self._state)
                job, wait = self.scheduler.next()
                if wait > 0:
                    current().wait(wait, until=self._wake)
                    self._wake.clear()
                else:
                    current().check()
                    self.scheduler.run(job)
        except StoppedError:
            self._freshness_notes.end()
            raise
        finally:
            self._background_reindex.cancel()

    def job_failed(self, job: str, error: CachesyncError, *, is_first: bool) -> float | None:
        """Make the job's dirty paths dirty again, and report the error, see :class:`.scheduler.Listener`."""
        self._dirty.put_back()
        self._report_trouble()
        if is_first:
            _log.warning("a job failed; retrying", action="job.failed", job=job, reason=str(error))
        outage = isinstance(error, IndexUnavailableError) and not isinstance(error, IndexUnusableError)
        if not outage or job == _PARTIAL:
            self._require_full_pass()  # what a partial pass had written before it failed is not known
        # There is no point in retrying before somebody has consented.
        return self._settings.rescan_interval if isinstance(error, ConsentError) else None

    def job_recovered(self, job: str) -> None:
        """Withdraw the report of its failure."""
        self._report_trouble()
        if not self.scheduler.errors:
            _log.info("all jobs succeed again", action="job.recovered", job=job)

    def _report_trouble(self) -> None:
        """Report why the index can't be used and what else keeps the loop from continuing, by the jobs that fail."""
        errors = self.scheduler.errors
        unavailable = [str(error) for error in errors if isinstance(error, IndexUnavailableError)]
        unavailable += [self._damage] if self._damage else []
        others = [str(error) for error in errors if not isinstance(error, IndexUnavailableError)]
        if unavailable:
            self._health.gave_up(SERVICE, "other", unavailable[0])
        elif self._has_reported_trouble:
            self._health.answered(SERVICE, self._state.url)
        self._has_reported_trouble = bool(unavailable)
        self._state.set_trouble(others[0] if others else None, time.monotonic())

    def _all_recovered(self) -> None:
        """Withdraw all failures: a full pass repairs everything, and so does a rollback."""
        self._damage = None
        self._report_trouble()
        self.scheduler.recover_all()

    def _require_full_pass(self) -> None:
        """Make a full pass due now, and run no partial pass before it."""
        self._loss_guard.invalidate_note()
        self._root = None
        self._full_pass_at = 0.0

    def _progress(self, done: int, pages: int) -> None:
        """Note the progress of a first fill, during which there is no index to ask, and the freshness if due."""
        if self._live is None:
            self._first_fill.note(done, pages)
        self._freshness_notes.note_if_due()

    # --- passes -------------------------------------------------------------------------------------------------------

    def _full_pass(self) -> None:
        """Compare all pages with the index, and build the index anew if needed. This repairs any damage."""
        if self._writer.pinned():
            self._enter_pinned()
            return
        guard = self._loss_guard.for_full_pass()
        self._run_full_pass(
            "rescan" if self._state.caught_up else "catch-up",
            guard,
            lambda: full_sync.sync_once(
                self._source, self._writer, guard, self._progress, before_build=self._background_reindex.cancel
            ),
        )

    def _full_pass_due(self) -> float:
        if self._state.rolled_back:
            return NEVER
        watching = self._state.watching
        if not self._state.caught_up and watching and (watching.watching or watching.reason):
            return 0.0
        return self._full_pass_at

    def _run_full_pass(self, kind: str, guard: Guard, sync: Callable[[], Report]) -> Report:
        self._dirty.take_all()
        withheld = self._state.withheld
        watching = self._state.watching
        judged = kind == "rescan" and watching is not None and watching.watching and watching.mode == "native"
        if judged:
            self._watcher_health.rescan_begins()
        with self._recorded_pass(kind) as finished:
            root = root_of(self._source)
            report = sync()
            require_same(self._source, root)
            live = self._writer.live()
            if live is None:
                raise self._nothing_live(report)
            specs, pages = live.size()
            self._loss_guard.record_pass(report, guard)
            self._loss_guard.withhold(report.withheld, is_full_pass=True)
            finished(report)
        if live.outdated and not self._state.reindex_needed and self._upgrade_begun:
            _log.warning(full_sync.OUTDATED, action="index.outdated")
        if live.generation != self._state.generation:
            self._state.kept_generations = self._index.status().kept
        self._root, self._live = root, live
        self._first_fill.over()
        self._freshness_notes.rescanned()
        problems = self._state.problems
        with self._state.changing():
            self._state.caught_up = True
            self._state.rolled_back = False
            self._state.generation = live.generation
            self._state.specs, self._state.pages = specs, pages
            self._state.problems = {problem.page: problem for problem in report.problems}
            self._state.reindex_needed = live.outdated
        log_problems(problems, self._state.problems)
        update_warnings(self._state, report, {EVERYTHING})
        if kind == "catch-up":
            self._schedule_at = 0.0
        now = time.monotonic()
        self._full_pass_at = now + (BLIND_SECONDS if self._state.blind else self._settings.rescan_interval)
        self._check_at = now + CHECK_SECONDS
        if judged:
            self._watcher_health.rescan_ended({*report.news} - {*withheld, *report.withheld})
        self._schedule_next_pass(report)
        if not len(self._dirty) and not report.again:
            self._loss_guard.all_scanned()
        self._all_recovered()
        return report

    def _nothing_live(self, report: Report) -> CachesyncError:
        """Return the error for a full pass after which there is still no index."""
        self._loss_guard.withhold(report.withheld, is_full_pass=True)
        if report.withheld:
            return ConsentError(
                f"there is no index that can be used, and a new one would lose {report.lost:,} specs of "
                f"{report.before:,}. {question()}"
            )
        return IndexUnusableError("the index was deleted while it was synced")

    def _partial_due(self) -> float:
        due = None if self._state.rolled_back or self._root is None else self._dirty.due_at()
        return NEVER if due is None else due

    def _partial_pass(self) -> None:
        """Sync the dirty paths that are due."""
        paths = self._dirty.take(time.monotonic(), _PARTIAL_PAGES)
        if self._live is None or self._root is None or EVERYTHING in paths or not ids_are_unique(self._source.pattern):
            self._full_pass()
            return
        taken = set(paths)
        paths = [path for path in paths if not is_at(path.rstrip("/").rpartition("/")[0] + "/", taken)]
        with self._recorded_pass("partial") as finished:
            guard = self._loss_guard.for_partial_pass()
            specs = self._state.specs
            report = partial_pass(self._live, self._source, guard, self._acknowledged, paths, self._root, specs)
            self._loss_guard.record_pass(report, guard)
            self._apply_partial_report(paths, report)
            finished(report)
        self._schedule_next_pass(report)
        if not len(self._dirty):
            self._loss_guard.all_scanned()
            if self._loss_guard.should_recheck:
                self._full_pass_at = 0.0

    def _apply_partial_report(self, paths: list[str], report: Report) -> None:
        """Update the state by the result of a partial pass over some paths."""
        at = set(paths)
        state, before = self._state, self._state.problems
        problems = {page: problem for page, problem in state.problems.items() if not is_at(page, at)}
        problems |= {problem.page: problem for problem in report.problems}
        with state.changing():
            state.problems = problems
            state.specs += report.specs.added - report.specs.deleted
            state.pages += report.records
        log_problems(before, problems)
        update_warnings(state, report, at)
        withheld = {page: specs for page, specs in state.withheld.items() if not is_at(page, at)}
        self._loss_guard.withhold(withheld | report.withheld, is_full_pass=False)

    def _acknowledged(self, page: str) -> None:
        since = self._dirty.since(page)
        if since is not None:
            self._metrics.acknowledged(time.monotonic() - since)

    def _schedule_next_pass(self, report: Report) -> None:
        if report.unsteady:
            again = [each for path in report.unsteady for each in (path, f"{path}/" if path else path)]
            self._dirty.mark(again, time.monotonic())
        elif report.again:
            self._full_pass_at = time.monotonic() + _RETRY_SECONDS

    @contextmanager
    def _recorded_pass(self, kind: str) -> Iterator[Callable[[Report], None]]:
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

    # --- checks -------------------------------------------------------------------------------------------------------

    def _check_due(self) -> float:
        """Before the first full pass there is nothing to check."""
        return self._check_at if self._state.caught_up else NEVER

    def _check_index(self) -> None:
        """Check that the index is still as this service left it."""
        intact = self._writer.intact()
        self._check_at = time.monotonic() + CHECK_SECONDS
        if not intact and not self._damage:
            _log.warning("the index isn't as it was left: starting a full pass", action="index.damaged")
            self._damage = "it isn't as it was left, and is being repaired"
            self._report_trouble()
            self._state.rolled_back = False
            self._require_full_pass()

    def _judge_watcher(self) -> None:
        if self._watcher_health.judge():
            self._full_pass_at = min(self._full_pass_at, time.monotonic() + BLIND_SECONDS)

    # --- reindex and requests -----------------------------------------------------------------------------------------

    def _start_due_reindex(self) -> None:
        """Start a reindex if one is due, or was due while no service ran."""
        now = datetime.now(UTC)
        upcoming = self._timetable.next_due(now)
        self._schedule_at = time.monotonic() + _SCHEDULE_SECONDS  # not before next_due(): if that fails, retry sooner
        with self._state.changing():
            self._state.last_reindex, self._state.next_reindex = self._timetable.last, upcoming
        if self._state.rolled_back or not self._state.caught_up or self._background_reindex.is_running:
            return
        if self._state.reindex_needed and not self._upgrade_begun:
            self._upgrade_begun = True
            _log.info(
                "another version of cachesync made this index: a reindex brings it up to date", action="reindex.started"
            )
            self._background_reindex.start()
            return
        if upcoming is None:
            return
        wait = (upcoming - now).total_seconds()
        if wait > 0:
            self._schedule_at = time.monotonic() + min(wait, _SCHEDULE_SECONDS)
        elif time.monotonic() >= self._background_reindex.not_before:
            _log.info("a reindex is due", action="reindex.started", since=upcoming.isoformat())
            self._background_reindex.start()

    def _promote(self) -> None:
        """Promote the generation that was filled. Nothing else is written meanwhile, so it is complete."""
        request = self._background_reindex.request
        consent = partial(self._requests.consents, request) if request and self._background_reindex.consent else None
        now = datetime.now(UTC)
        guard = self._loss_guard.for_full_pass(consent)
        self._require_full_pass()  # so that no partial pass writes to the earlier generation any more
        self._requests.due = self._schedule_at = 0.0  # to send the response and note the outcome in the timetable
        try:
            report = self._background_reindex.finish(guard, partial(self._requests.note_promotion, request))
        except CachesyncError as error:
            self._background_reindex.failed(error)
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
            self._state.rolled_back = False
            self._state.last_written = datetime.now(UTC)
            _log.info(
                "a new generation is live",
                action="reindex.completed",
                specs=report.specs.added,
                seconds=round(report.seconds, 3),
            )
            self._loss_guard.record_pass(report, guard)
            self._timetable.reindexed(now)

    def _carry_out_requests(self) -> None:
        """Carry out the requests of commands, and write the responses."""
        for request in self._requests.poll():
            if request.id != self._background_reindex.request:
                self._carry_out(request)
        running = self._background_reindex.request
        if running and not self._requests.is_waited_for(running):
            self._background_reindex.cancel()
        self._requests.progress(running, self._background_reindex.done, self._background_reindex.pages)
        self._requests.respond()

    def _carry_out(self, request: CommandRequest) -> None:
        if request.command != "sync" and self._background_reindex.is_running:
            return  # it waits until that reindex has ended
        try:
            RootNames.of(self._source.root).require_same(request.root)
            if request.command == "sync":
                self._requests.settle(request.id, Response.done_with(self._sync(request)))
            elif request.command == "rollback":
                self._roll_back(request)
            elif (report := went_live(self._writer, request.generation)) is not None:
                self._requests.settle(request.id, Response.done_with(report))
                self._timetable.reindexed(datetime.now(UTC))
            else:
                self._background_reindex.start(request.id, consent=request.consent)
        except (OvertakenError, StoppedError):  # the next writer carries it out
            raise
        except CachesyncError as error:
            self._requests.settle(request.id, Response.failed(error))
        except Exception as error:  # noqa: BLE001  the command waits for a response, and other requests behind it
            _log.exception("a defect of cachesync: please report it", action="defect.found", job=request.command)
            self._requests.settle(request.id, Response.failed(DefectError.of(error)))

    def _sync(self, request: CommandRequest) -> Report:
        consent = partial(self._requests.consents, request.id) if request.consent else None
        guard, suspects = self._loss_guard.for_full_pass(consent), set(request.suspects)

        def progress(done: int, pages: int) -> None:
            self._requests.progress(request.id, done, pages)
            self._freshness_notes.note_if_due()

        return self._run_full_pass(
            "sync",
            guard,
            lambda: full_sync.sync(
                self._source, self._writer, guard, progress, suspects, self._background_reindex.cancel
            ),
        )

    def _roll_back(self, request: CommandRequest) -> None:
        before = request.generation or next(iter(self._index.status().kept), None)
        if before:
            self._requests.note_promotion(request.id, before)
        generation = self._writer.rollback(before)
        self._requests.settle(request.id, Response.live(generation))
        _log.info("rolled back; nothing is synced until a reindex", action="rollback.completed", generation=generation)
        self._enter_pinned()

    def _enter_pinned(self) -> None:
        """Sync nothing until a reindex, since a rollback has pinned the index."""
        reader = self._index.reader(fresh=True)
        specs, pages = reader.size()
        kept = self._index.status().kept
        self._root = self._live = None
        self._dirty.take_all()
        self._dirty.done()
        with self._state.changing():
            self._state.rolled_back = self._state.caught_up = True
            self._state.generation, self._state.specs, self._state.pages = reader.generation, specs, pages
            self._state.kept_generations = kept
        self._check_at = time.monotonic() + CHECK_SECONDS
        self._all_recovered()


def update_queue(dirty: DirtyPaths, state: ServiceState) -> None:
    """Record in the state how many dirty paths wait, and since when."""
    with state.changing():
        state.queue = len(dirty)
        state.queue_bytes = dirty.bytes
        state.waiting_since = None if state.rolled_back else dirty.oldest()

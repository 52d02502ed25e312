"""The jobs of full passes: the passes, the checks that make a full pass due, and the mode, which full passes decide."""

import time
from collections.abc import Callable
from enum import Enum
from typing import Final

from cachesync.errors import CachesyncError, ConsentError, IndexUnusableError
from cachesync.index.generation import Generation
from cachesync.log import get_logger
from cachesync.service.pass_recorder import PassRecorder, log_problems, update_warnings
from cachesync.service.scheduler import NEVER
from cachesync.service.session import Session
from cachesync.service.watcher_health import BLIND_SECONDS, WatcherHealth
from cachesync.sync import full_sync
from cachesync.sync.guard import Guard, question
from cachesync.sync.report import Report
from cachesync.sync.scan import EVERYTHING, Root, require_same, root_of

_log = get_logger()

_WATCH_SECONDS: Final = 10.0
"""How long the first pass waits for the watcher, which then reports later changes, so that one full pass is enough."""

_RETRY_SECONDS: Final = 0.5
"""How soon to repeat a full pass during which pages changed."""


class Mode(Enum):
    """What the service is doing. The sync jobs set the mode, and the state publishes it for HTTP."""

    CATCHING_UP = "catching up"
    """No full pass has succeeded since this process became the writer."""
    FOLLOWING = "following"
    """The index equals the pages except for dirty paths, which partial passes handle."""
    REPAIRING = "repairing"
    """Partial passes wait for a full pass, because the index is corrupt or was replaced, or a pass failed halfway."""
    PINNED = "pinned"
    """A rollback has pinned the index, so nothing is synced until a reindex."""


class SyncJobs:
    """Full passes, and the mode that decides which passes may run."""

    def __init__(self, session: Session, on_repair: Callable[[], None]) -> None:
        """``on_repair`` is called once the index is known to be in order."""
        self._session = session
        self._source = session.resources.options.source
        self._state = session.resources.state
        self._dirty = session.resources.dirty
        self._on_repair = on_repair
        self.recorder = PassRecorder(session.resources)
        self.watcher_health = WatcherHealth(self._dirty, self._state)
        self.mode = Mode.CATCHING_UP
        self.root: Root | None = None
        """The root of the last full pass; None if a full pass has to precede the next partial pass."""
        self.live: Generation | None = None
        """The generation that partial passes write to; None until a full pass has succeeded."""
        self.full_pass_at = time.monotonic() + _WATCH_SECONDS
        """When the next full pass is due."""

    def enter(self, mode: Mode) -> None:
        """Enter a mode and publish it in the state."""
        self.mode = mode
        with self._state.changing():
            self._state.caught_up = mode is not Mode.CATCHING_UP
            self._state.rolled_back = mode is Mode.PINNED

    def unpin(self) -> None:
        """Resume syncing an index that a rollback has pinned, beginning with a full pass."""
        if self.mode is Mode.PINNED:
            self.enter(Mode.REPAIRING)

    def require_full_pass(self) -> None:
        """Make a full pass due now, before any partial pass. A pinned index stays pinned."""
        self._session.loss_guard.invalidate_note()
        if self.mode is Mode.FOLLOWING:
            self.enter(Mode.REPAIRING)
        self.root = None
        self.full_pass_at = 0.0

    def full_pass_due(self) -> float:
        """Return when the next full pass is due."""
        if self.mode is Mode.PINNED:
            return NEVER
        watching = self._state.watching
        if self.mode is Mode.CATCHING_UP and watching and (watching.watching or watching.reason):
            return 0.0
        return self.full_pass_at

    def full_pass(self) -> None:
        """Compare all pages with the index and repair all differences. If necessary, rebuild the index."""
        session = self._session
        if session.writer.pinned():
            self.enter_pinned()
            return
        guard = session.loss_guard.for_full_pass()
        self.run_full_pass(
            "catch-up" if self.mode is Mode.CATCHING_UP else "rescan",
            guard,
            lambda: full_sync.sync_once(
                self._source, session.writer, guard, self._progress, before_build=session.reindex.cancel
            ),
        )

    def run_full_pass(self, kind: str, guard: Guard, sync: Callable[[], Report]) -> Report:
        """Run ``sync``, a full pass with ``guard``, enter the mode ``FOLLOWING``, and return the pass's report."""
        self._dirty.take_all()
        withheld = self._state.withheld
        watching = self._state.watching
        judged = kind == "rescan" and watching is not None and watching.watching and watching.mode == "native"
        if judged:
            self.watcher_health.rescan_begins()
        with self.recorder.recorded(kind) as finished:
            root = root_of(self._source)
            report = sync()
            require_same(self._source, root)
            live = self._session.writer.live()
            if live is None:
                raise self._nothing_live(report)
            specs, pages = live.size()
            self._session.loss_guard.record_pass(report, guard)
            self._session.loss_guard.withhold(report.withheld, is_full_pass=True)
            finished(report)
        self._publish(live, specs, pages, report)
        self.root, self.live = root, live
        interval = BLIND_SECONDS if self._state.blind else self._session.resources.options.rescan_interval
        self.full_pass_at = time.monotonic() + interval
        if judged:
            self.watcher_health.rescan_ended({*report.news} - {*withheld, *report.withheld})
        self.schedule_next_pass(report)
        if not len(self._dirty) and not report.again:
            self._session.loss_guard.all_scanned()
        self._on_repair()
        return report

    def _publish(self, live: Generation, specs: int, pages: int, report: Report) -> None:
        """Update the state with the result of a full pass."""
        state = self._state
        if live.outdated and not state.reindex_needed and not self._session.resources.options.auto_reindex:
            _log.warning(full_sync.OUTDATED, action="index.outdated")
        if live.generation != state.generation:
            state.kept_generations = self._session.resources.index.status().kept
        self._session.first_fill.over()
        self._session.freshness_notes.rescanned()
        problems = state.problems
        with state.changing():
            self.enter(Mode.FOLLOWING)
            state.generation = live.generation
            state.specs, state.pages = specs, pages
            state.problems = {problem.page: problem for problem in report.problems}
            state.reindex_needed = live.outdated
        log_problems(problems, state.problems)
        update_warnings(state, report, {EVERYTHING})

    def _nothing_live(self, report: Report) -> CachesyncError:
        """Return the error for a full pass after which there is still no index."""
        self._session.loss_guard.withhold(report.withheld, is_full_pass=True)
        if report.withheld:
            return ConsentError(
                f"there is no index that can be used, and a new one would lose {report.lost:,} specs of "
                f"{report.before:,}. {question()}"
            )
        return IndexUnusableError("the index was deleted while it was synced")

    def _progress(self, done: int, pages: int) -> None:
        """Note the progress of a first fill, while there is no index to ask, and note the freshness if it is due."""
        if self.live is None:
            self._session.first_fill.note(done, pages)
        self._session.freshness_notes.note_if_due()

    def enter_pinned(self) -> None:
        """Sync nothing until a reindex, because a rollback has pinned the index."""
        reader = self._session.resources.index.reader(refresh=True)
        specs, pages = reader.size()
        kept = self._session.resources.index.status().kept
        self.root = self.live = None
        self._dirty.take_all()
        self._dirty.done()
        with self._state.changing():
            self.enter(Mode.PINNED)
            self._state.generation, self._state.specs, self._state.pages = reader.generation, specs, pages
            self._state.kept_generations = kept
        self._on_repair()

    def schedule_next_pass(self, report: Report) -> None:
        """Make a pass due soon over paths that kept changing, or over all pages, if the report requires it."""
        if report.unsteady:
            again = [each for path in report.unsteady for each in (path, f"{path}/" if path else path)]
            self._dirty.mark(again, time.monotonic())
        elif report.again:
            self.full_pass_at = time.monotonic() + _RETRY_SECONDS

    def judge_watcher(self) -> None:
        """Make the next rescan due sooner if the watcher has missed changes."""
        if self.watcher_health.judge():
            self.full_pass_at = min(self.full_pass_at, time.monotonic() + BLIND_SECONDS)

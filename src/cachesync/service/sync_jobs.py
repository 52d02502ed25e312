"""The jobs that keep the index equal to the pages: full passes, partial passes, and the checks that make either due."""

import time
from collections.abc import Callable
from typing import Final

from cachesync.errors import CachesyncError, ConsentError, IndexUnusableError
from cachesync.index.base import Generation
from cachesync.log import get_logger
from cachesync.service.mode import Mode
from cachesync.service.pass_log import log_problems, update_warnings
from cachesync.service.pass_recorder import PassRecorder
from cachesync.service.scheduler import NEVER
from cachesync.service.session import Session
from cachesync.service.watcher_health import BLIND_SECONDS, WatcherHealth
from cachesync.sync import full_sync
from cachesync.sync.guard import Guard, question
from cachesync.sync.passes import partial_pass
from cachesync.sync.plan import ids_are_unique
from cachesync.sync.report import Report
from cachesync.sync.scan import EVERYTHING, Root, is_at, require_same, root_of

_log = get_logger()

CHECK_SECONDS: Final = 5.0
"""How often to check that the index is intact."""

_PARTIAL_PAGES: Final = 2_000
"""How many dirty paths one partial pass handles at most, so that no other job waits for long."""

_WATCH_SECONDS: Final = 10.0
"""How long the first pass waits for the watcher. Later changes are reported, so that one full pass is enough."""

_RETRY_SECONDS: Final = 0.5
"""How soon to repeat a full pass during which pages changed."""


class SyncJobs:
    """Full and partial passes, and the mode that decides which of them may run."""

    def __init__(self, session: Session, on_damage: Callable[[], None], on_repair: Callable[[], None]) -> None:
        """``on_damage`` is called when the index is found damaged, ``on_repair`` when nothing can be wrong any more."""
        self._session = session
        self._state = session.state
        self._dirty = session.dirty
        self._on_damage = on_damage
        self._on_repair = on_repair
        self._recorder = PassRecorder(session)
        self.watcher_health = WatcherHealth(session.dirty, session.state)
        self.mode = Mode.CATCHING_UP
        self.damage: str | None = None
        """What has happened to the index, until a full pass has repaired it."""
        self._root: Root | None = None
        """The root of the last full pass; None: a full pass has to come before any partial pass."""
        self.live: Generation | None = None
        """What partial passes write to, since the first full pass."""
        self._full_pass_at = time.monotonic() + _WATCH_SECONDS
        self._check_at = NEVER

    def enter(self, mode: Mode) -> None:
        """Enter a mode, and publish it."""
        self.mode = mode
        with self._state.changing():
            self._state.caught_up = mode is not Mode.CATCHING_UP
            self._state.rolled_back = mode is Mode.PINNED

    def unpin(self) -> None:
        """Sync again what a rollback had pinned: a full pass comes first."""
        if self.mode is Mode.PINNED:
            self.enter(Mode.REPAIRING)

    def require_full_pass(self) -> None:
        """Make a full pass due now, and run no partial pass before it. A pinned index stays pinned."""
        self._session.loss_guard.invalidate_note()
        if self.mode is Mode.FOLLOWING:
            self.enter(Mode.REPAIRING)
        self._root = None
        self._full_pass_at = 0.0

    # --- full passes --------------------------------------------------------------------------------------------------

    def full_pass_due(self) -> float:
        """Return when the next full pass is due."""
        if self.mode is Mode.PINNED:
            return NEVER
        watching = self._state.watching
        if self.mode is Mode.CATCHING_UP and watching and (watching.watching or watching.reason):
            return 0.0
        return self._full_pass_at

    def full_pass(self) -> None:
        """Compare all pages with the index, and build the index anew if needed. This repairs any damage."""
        session = self._session
        if session.writer.pinned():
            self.enter_pinned()
            return
        guard = session.loss_guard.for_full_pass()
        self.run_full_pass(
            "catch-up" if self.mode is Mode.CATCHING_UP else "rescan",
            guard,
            lambda: full_sync.sync_once(
                session.source, session.writer, guard, self._progress, before_build=session.reindex.cancel
            ),
        )

    def run_full_pass(self, kind: str, guard: Guard, sync: Callable[[], Report]) -> Report:
        """Run a full pass of a kind, which ``sync`` does with a guard, and enter the mode ``FOLLOWING``."""
        self._dirty.take_all()
        withheld = self._state.withheld
        watching = self._state.watching
        judged = kind == "rescan" and watching is not None and watching.watching and watching.mode == "native"
        if judged:
            self.watcher_health.rescan_begins()
        with self._recorder.recorded(kind) as finished:
            root = root_of(self._session.source)
            report = sync()
            require_same(self._session.source, root)
            live = self._session.writer.live()
            if live is None:
                raise self._nothing_live(report)
            specs, pages = live.size()
            self._session.loss_guard.record_pass(report, guard)
            self._session.loss_guard.withhold(report.withheld, is_full_pass=True)
            finished(report)
        self._publish(live, specs, pages, report)
        self._root, self.live = root, live
        now = time.monotonic()
        self._full_pass_at = now + (BLIND_SECONDS if self._state.blind else self._session.settings.rescan_interval)
        self._check_at = now + CHECK_SECONDS
        if judged:
            self.watcher_health.rescan_ended({*report.news} - {*withheld, *report.withheld})
        self._schedule_next_pass(report)
        if not len(self._dirty) and not report.again:
            self._session.loss_guard.all_scanned()
        self._repaired()
        return report

    def _publish(self, live: Generation, specs: int, pages: int, report: Report) -> None:
        """Update the state by the result of a full pass."""
        state = self._state
        if live.outdated and not state.reindex_needed and not self._session.settings.auto_reindex:
            _log.warning(full_sync.OUTDATED, action="index.outdated")
        if live.generation != state.generation:
            state.kept_generations = self._session.index.status().kept
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
        """Note the progress of a first fill, during which there is no index to ask, and the freshness if due."""
        if self.live is None:
            self._session.first_fill.note(done, pages)
        self._session.freshness_notes.note_if_due()

    def enter_pinned(self) -> None:
        """Sync nothing until a reindex, since a rollback has pinned the index."""
        reader = self._session.index.reader(refresh=True)
        specs, pages = reader.size()
        kept = self._session.index.status().kept
        self._root = self.live = None
        self._dirty.take_all()
        self._dirty.done()
        with self._state.changing():
            self.enter(Mode.PINNED)
            self._state.generation, self._state.specs, self._state.pages = reader.generation, specs, pages
            self._state.kept_generations = kept
        self._check_at = time.monotonic() + CHECK_SECONDS
        self._repaired()

    def _repaired(self) -> None:
        self.damage = None
        self._on_repair()

    # --- partial passes -----------------------------------------------------------------------------------------------

    def partial_pass_due(self) -> float:
        """Return when the next dirty path is due."""
        due = None if self._root is None else self._dirty.due_at()
        return NEVER if due is None else due

    def partial_pass(self) -> None:
        """Sync the dirty paths that are due."""
        source = self._session.source
        paths = self._dirty.take(time.monotonic(), _PARTIAL_PAGES)
        if self.live is None or self._root is None or EVERYTHING in paths or not ids_are_unique(source.pattern):
            self.full_pass()
            return
        taken = set(paths)
        paths = [path for path in paths if not is_at(path.rstrip("/").rpartition("/")[0] + "/", taken)]
        loss_guard = self._session.loss_guard
        with self._recorder.recorded("partial") as finished:
            guard = loss_guard.for_partial_pass()
            specs = self._state.specs
            report = partial_pass(self.live, source, guard, self._recorder.acknowledged, paths, self._root, specs)
            loss_guard.record_pass(report, guard)
            self._apply_partial_report(paths, report)
            finished(report)
        self._schedule_next_pass(report)
        if not len(self._dirty):
            loss_guard.all_scanned()
            if loss_guard.should_recheck:
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
        self._session.loss_guard.withhold(withheld | report.withheld, is_full_pass=False)

    def _schedule_next_pass(self, report: Report) -> None:
        if report.unsteady:
            again = [each for path in report.unsteady for each in (path, f"{path}/" if path else path)]
            self._dirty.mark(again, time.monotonic())
        elif report.again:
            self._full_pass_at = time.monotonic() + _RETRY_SECONDS

    # --- checks -------------------------------------------------------------------------------------------------------

    def check_due(self) -> float:
        """Return when to check the index next; before the first full pass there is nothing to check."""
        return NEVER if self.mode is Mode.CATCHING_UP else self._check_at

    def check_index(self) -> None:
        """Check that the index is still as this service left it."""
        intact = self._session.writer.intact()
        self._check_at = time.monotonic() + CHECK_SECONDS
        if not intact and not self.damage:
            _log.warning("the index isn't as it was left: starting a full pass", action="index.damaged")
            self.damage = "it isn't as it was left, and is being repaired"
            self._on_damage()
            self.unpin()
            self.require_full_pass()

    def judge_watcher(self) -> None:
        """Make the next rescan due sooner if the watcher misses changes."""
        if self.watcher_health.judge():
            self._full_pass_at = min(self._full_pass_at, time.monotonic() + BLIND_SECONDS)

"""The service's state. The service's loop writes it, and HTTP and metrics read it through pure functions."""

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import structs

from cachesync.context import Awaited
from cachesync.index.freshness import Shortcoming
from cachesync.pages.page import Problem, by_page
from cachesync.sync.guard import question
from cachesync.sync.scan import WHOLE_ROOT, PathWarning, by_path
from cachesync.watch.watcher import WatcherState

Role = Literal["starting", "standing by", "serving", "stopping"]


class LastPass(NamedTuple):
    """A pass that has finished."""

    kind: str
    outcome: str
    started: datetime
    seconds: float
    pages: int
    """How many pages' changes were acknowledged."""
    specs: int
    """How many documents were written or deleted."""


# Many fields: one for each fact that HTTP and metrics show. One lock guards all of them, so that they agree.
@dataclass
class ServiceState:
    """The current state of the service.

    Values are replaced, never modified in place, so any thread may read a single value. Values that must agree are set
    within :meth:`changing` and read from a :meth:`snapshot`. Numeric times are those of :func:`time.monotonic`.
    """

    engine: str = ""
    url: str = ""
    role: Role = "starting"
    holder: str | None = None
    """The writer: this process or another."""
    caught_up: bool = False
    """Whether the first full pass has finished."""
    trouble: str | None = None
    """Why the service can't continue, such as a missing root; set by :meth:`set_trouble`."""
    trouble_since: float | None = None
    generation: str | None = None
    specs: int = 0
    pages: int = 0
    last_written: datetime | None = None
    kept_generations: Sequence[str] = ()
    problems: Mapping[str, Problem] = field(default_factory=dict)
    """The problems by page."""
    warnings: Mapping[str, PathWarning] = field(default_factory=dict)
    """The warnings by path."""
    withheld: Mapping[str, int] = field(default_factory=dict)
    """The pages whose deletes the guard withholds, each with the number of specs that it would lose."""
    rolled_back: bool = False
    """Whether a rollback pins the index until a reindex."""
    reindex_needed: bool = False
    """Whether the live generation was made by another version."""
    watching: WatcherState | None = None
    blind: bool = False
    """Whether rescans find changes that the watcher missed."""
    found_by_rescan: int = 0
    """How many changes only rescans have found since the service started."""
    queue: int = 0
    """How many dirty paths are waiting for a pass."""
    queue_bytes: int = 0
    waiting_since: float | None = None
    """When the oldest unacknowledged change was reported; None if all changes are acknowledged."""
    reindexing: float | None = None
    """The progress of the running reindex, from 0 to 1; None if no reindex is running."""
    last_reindex: datetime | None = None
    next_reindex: datetime | None = None
    reindex_trouble: str | None = None
    """Why the last reindex failed."""
    last_pass: LastPass | None = None

    @property
    def lost(self) -> int:
        """How many specs would be lost if the guard withheld nothing."""
        return sum(self.withheld.values())

    def __post_init__(self) -> None:
        self._lock = threading.RLock()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Prevent snapshots while several values are set."""
        with self._lock:
            yield

    def set_trouble(self, reason: str | None, now: float) -> None:
        """Record why the service can't continue, and since when. None means that it can continue."""
        with self._lock:
            if reason is None:
                self.trouble_since = None
            elif self.trouble is None:
                self.trouble_since = now
            self.trouble = reason

    def snapshot(self) -> "ServiceState":
        """Return a consistent copy of all values."""
        with self._lock:
            return copy.copy(self)


class Health(NamedTuple):
    """Whether searches can currently rely on the index."""

    ready: bool
    reason: str | None
    """Why the service isn't ready; None if it is ready."""
    degraded: list[str]
    """What needs attention although the service works, with one sentence for each."""


def health(
    state: ServiceState, index_trouble: str | None, max_lag: float, now: float, awaited: Awaited | None = None
) -> Health:
    """Return whether the service is ready, and what needs attention.

    ``index_trouble`` is why the index is unavailable, ``max_lag`` is how many seconds a change may wait, ``now`` is the
    time by :func:`time.monotonic`, and ``awaited`` is what the service is waiting for outside of this process.
    """
    state = state.snapshot()
    late = awaited if awaited and now - awaited.since > _LATE_SECONDS else None
    reason = _unready(state, index_trouble, max_lag, now, late)
    stalled = [f"the service is stalled: {late.what} hasn't responded for {now - late.since:,.0f} s"] if late else []
    return Health(reason is None, reason, [*stalled, *(sentence for _, sentence in _shortcomings(state))])


def shortcomings(state: ServiceState) -> tuple[Shortcoming, ...]:
    """Return what :func:`health` lists as degraded, in fixed words because only operators may see the reasons."""
    return tuple(shortcoming for shortcoming, _ in _shortcomings(state))


_LATE_SECONDS: Final = 10.0
"""A response that takes longer than this counts as a failure."""


def lag(state: ServiceState, now: float, late: Awaited | None = None) -> float:
    """Return how many seconds the oldest change has waited, or may have waited unseen while pages can't be read.

    ``late`` is what hasn't responded for so long that the silence counts as a failure.
    """
    if state.role == "standing by":  # another service is the writer and reports the lag
        return 0.0
    moments = (state.waiting_since, state.trouble_since, late and late.since)
    since = [moment for moment in moments if moment is not None]
    return max(0.0, now - min(since)) if since else 0.0


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def in_sync(state: ServiceState, index_trouble: str | None) -> bool:
    """Return whether the index equals the pages, as far as the service can tell."""
    known = state.role == "serving" and state.caught_up and not state.trouble and not index_trouble
    return known and state.waiting_since is None and not (state.queue or state.withheld or state.rolled_back)


def status(
    state: ServiceState, index_trouble: str | None, max_lag: float, now: float, awaited: Awaited | None = None
) -> dict[str, Any]:
    """Return the object that ``cachesync status --json`` prints, with facts that only the service can report.

    The arguments are those of :func:`health`.
    """
    state = state.snapshot()
    judged = health(state, index_trouble, max_lag, now, awaited)
    watching, missed = state.watching, {"blind": state.blind, "found_by_rescan": state.found_by_rescan}
    return {
        "engine": state.engine,
        "url": state.url,
        "generation": state.generation,
        "specs": state.specs,
        "pages": state.pages,
        "problems": [msgspec.to_builtins(problem) for problem in by_page(state.problems.values())],
        "warnings": [msgspec.to_builtins(warning) for warning in by_path(state.warnings.values())],
        "in_sync": in_sync(state, index_trouble),
        "lag_seconds": round(lag(state, now), 3),
        "last_written": state.last_written,
        "holder": state.holder,
        "held_after_rollback": state.rolled_back,
        "kept_generations": list(state.kept_generations),
        "reindex_needed": state.reindex_needed,
        "role": state.role,
        "service": True,
        **judged._asdict(),
        "trouble": state.trouble or index_trouble,
        "waiting_for": _waiting_for(awaited, now),
        "watcher": watching and structs.asdict(watching) | missed,
        "queue": {"paths": state.queue, "bytes": state.queue_bytes},
        "held_deletes": {"pages": len(state.withheld), "specs": state.lost},
        "reindexing": state.reindexing,
        "last_reindex": state.last_reindex,
        "next_reindex": state.next_reindex,
        "last_pass": state.last_pass and state.last_pass._asdict(),
    }


def _waiting_for(awaited: Awaited | None, now: float) -> dict[str, Any] | None:
    """Return what hasn't responded for a second or more. A shorter limit would report every access to a page."""
    seconds = now - awaited.since if awaited else 0.0
    return {"what": awaited.what, "seconds": round(seconds, 1)} if awaited and seconds >= 1 else None


def _unready(
    state: ServiceState, index_trouble: str | None, max_lag: float, now: float, late: Awaited | None
) -> str | None:
    if state.role == "stopping":
        return "the service is stopping"
    if state.role == "standing by":
        return f"standing by: {state.holder or 'another process'} is the writer"
    if index_trouble:
        return f"the index can't be used: {index_trouble}"
    if not state.caught_up:
        return "the first full pass isn't done" + (f": {_first_line(state.trouble)}" if state.trouble else "")
    if (behind := lag(state, now, late)) > max_lag:
        cause = f": {_first_line(state.trouble)}" if state.trouble else ""
        return f"the index is behind by {behind:,.0f} s, and http.max_lag allows {max_lag:,.0f} s{cause}"
    return None


def _shortcomings(state: ServiceState) -> Iterator[tuple[Shortcoming, str]]:
    if state.trouble:
        yield "trouble", f"the service can't continue for now: {_first_line(state.trouble)}"
    if state.withheld:
        held = f"deletes of {len(state.withheld):,} pages with {state.lost:,} specs are withheld"
        yield "held", f"{held}. {question()}"
    if state.rolled_back:
        yield "rolled-back", "a rollback pins the index: `cachesync reindex` ends that"
    yield from _page_shortcomings(state)
    if state.watching and not state.watching.watching and not state.trouble:
        reason = state.watching.reason or "not started yet"
        yield "unwatched", f"the pages are not watched, only rescans find changes: {reason}"
    elif state.watching and state.watching.watching and state.watching.reason:
        yield "polling", f"the pages are watched by {state.watching.mode}: {state.watching.reason}"
    if state.reindex_trouble:
        yield "reindex-failed", f"the last reindex failed: {_first_line(state.reindex_trouble)}"
    if state.blind:
        found = f"rescans have found {state.found_by_rescan:,} that it didn't notice"
        yield "blind", f"the watcher misses changes: {found}"


def _page_shortcomings(state: ServiceState) -> Iterator[tuple[Shortcoming, str]]:
    if empty := state.warnings.get(WHOLE_ROOT):
        yield "empty", f"there is nothing to index: {empty.message}"
    if state.problems:
        yield "problems", f"{len(state.problems):,} of the pages can't be used: `cachesync status` says why"

"""What the service knows of itself. Its loop writes it; HTTP and metrics read it, and judge it with pure functions."""

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from cachesync.context import Awaited
from cachesync.index.freshness import Shortcoming
from cachesync.pages.page import Problem, by_page
from cachesync.sync.guard import question
from cachesync.sync.scan import WHOLE_ROOT, PathWarning, by_path

Role = Literal["starting", "standing by", "serving", "stopping"]


class WatcherStatus(Protocol):
    """How changes are noticed at the moment."""

    @property
    def mode(self) -> str:
        """``native`` or ``polling``."""

    @property
    def watching(self) -> bool:
        """Changes are noticed. Otherwise only rescans find them."""

    @property
    def reason(self) -> str | None:
        """Why it isn't as it was wanted."""

    @property
    def folders(self) -> int:
        """How many folders are watched."""

    @property
    def overflows(self) -> int:
        """How often more happened than could be told."""

    @property
    def restarts(self) -> int:
        """How often watching was begun anew."""


class LastPass(NamedTuple):
    """A pass that has ended."""

    kind: str
    outcome: str
    started: datetime
    seconds: float
    pages: int
    """Pages whose change was acknowledged."""
    specs: int
    """Documents written and deleted."""


@dataclass
class ServiceState:
    """What is so now.

    Its values are replaced, never changed in place, so any thread may read one. Values that must agree are set within
    :meth:`changing`, and read from a :meth:`snapshot`. Moments are those of :func:`time.monotonic`.
    """

    engine: str = ""
    url: str = ""
    role: Role = "starting"
    holder: str | None = None
    """The process that writes, this one or another."""
    caught_up: bool = False
    """The first catch-up is done."""
    trouble: str | None = None
    """Why the service can't go on, such as a missing root; set by :meth:`troubled`."""
    trouble_since: float | None = None
    generation: str | None = None
    specs: int = 0
    pages: int = 0
    last_written: datetime | None = None
    kept_generations: Sequence[str] = ()
    problems: Mapping[str, Problem] = field(default_factory=dict)
    """By page."""
    warnings: Mapping[str, PathWarning] = field(default_factory=dict)
    """By path."""
    withheld: Mapping[str, int] = field(default_factory=dict)
    """Pages whose deletes the guard holds back, and how many specs each would lose."""
    rolled_back: bool = False
    """A rollback holds the index until a reindex."""
    reindex_needed: bool = False
    """Another version made the generation."""
    watching: WatcherStatus | None = None
    blind: bool = False
    """A rescan has found changes that the watcher should have noticed."""
    found_by_rescan: int = 0
    """Changes that only rescans have found, since the service started."""
    queue: int = 0
    """Paths that may have changed and wait to be looked at."""
    queue_bytes: int = 0
    waiting_since: float | None = None
    """Since when the oldest change waits that isn't acknowledged; None: none does."""
    reindexing: float | None = None
    """How much of a reindex is done, from 0 to 1; None: there is none."""
    last_reindex: datetime | None = None
    next_reindex: datetime | None = None
    reindex_trouble: str | None = None
    """Why the last reindex came to nothing."""
    last_pass: LastPass | None = None

    @property
    def lost(self) -> int:
        """How many specs would be lost if the guard held nothing back."""
        return sum(self.withheld.values())

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Let nobody take a snapshot while several values are set."""
        with self._lock:
            yield

    def troubled(self, reason: str | None, now: float) -> None:
        """Note why the service can't go on, and since when; None: it can."""
        with self._lock:
            if reason is None:
                self.trouble_since = None
            elif self.trouble is None:
                self.trouble_since = now
            self.trouble = reason

    def snapshot(self) -> "ServiceState":
        """Return all values as they are at one moment."""
        with self._lock:
            return copy.copy(self)


class Health(NamedTuple):
    """Whether searches can rely on the index now."""

    ready: bool
    reason: str | None
    """Why it isn't ready."""
    degraded: list[str]
    """What somebody should look after, a sentence each; the service works."""


def health(
    state: ServiceState, index_trouble: str | None, max_lag: float, now: float, awaited: Awaited | None = None
) -> Health:
    """Judge whether the service is ready, and what it lacks.

    Args:
        state: what is so.
        index_trouble: why the index doesn't answer; None: it does.
        max_lag: how many seconds a change may wait.
        now: the moment, by :func:`time.monotonic`.
        awaited: what has to answer before the service can go on; None: nothing.
    """
    state = state.snapshot()
    late = awaited if awaited and now - awaited.since > _LATE_SECONDS else None
    reason = _unready(state, index_trouble, max_lag, now, late)
    stalled = [f"nothing goes on: {late.what} hasn't answered for {now - late.since:,.0f} s"] if late else []
    return Health(reason is None, reason, [*stalled, *(sentence for _, sentence in _lacks(state))])


def shortcomings(state: ServiceState) -> tuple[Shortcoming, ...]:
    """Return what :func:`health` calls degraded in words that tell no reason, which is for operators alone."""
    return tuple(shortcoming for shortcoming, _ in _lacks(state))


_LATE_SECONDS: Final = 10.0
"""An answer that takes so long is told."""


def lag(state: ServiceState, now: float, late: Awaited | None = None) -> float:
    """Return for how many seconds the oldest change has waited; while pages can't be looked at, one may be waiting.

    ``late`` is what hasn't answered for so long that it counts as trouble.
    """
    if state.role == "standing by":  # the other knows
        return 0.0
    moments = (state.waiting_since, state.trouble_since, late and late.since)
    since = [moment for moment in moments if moment is not None]
    return max(0.0, now - min(since)) if since else 0.0


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def in_sync(state: ServiceState, index_trouble: str | None) -> bool:
    """Tell whether the index equals the pages, as far as is known."""
    known = state.role == "serving" and state.caught_up and not state.trouble and not index_trouble
    return known and state.waiting_since is None and not (state.queue or state.withheld or state.rolled_back)


def status(
    state: ServiceState, index_trouble: str | None, max_lag: float, now: float, awaited: Awaited | None = None
) -> dict[str, Any]:
    """Return what ``cachesync status --json`` prints, and what only the service knows.

    The arguments are those of :func:`health`.
    """
    state = state.snapshot()
    judged = health(state, index_trouble, max_lag, now, awaited)
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
        "watcher": state.watching and _watcher(state.watching, state),
        "queue": {"paths": state.queue, "bytes": state.queue_bytes},
        "held_deletes": {"pages": len(state.withheld), "specs": state.lost},
        "reindexing": state.reindexing,
        "last_reindex": state.last_reindex,
        "next_reindex": state.next_reindex,
        "last_pass": state.last_pass and state.last_pass._asdict(),
    }


def _waiting_for(awaited: Awaited | None, now: float) -> dict[str, Any] | None:
    """Tell what hasn't answered for a second. Sooner it would be told of every look at a page."""
    seconds = now - awaited.since if awaited else 0.0
    return {"what": awaited.what, "seconds": round(seconds, 1)} if awaited and seconds >= 1 else None


def _watcher(watching: WatcherStatus, state: ServiceState) -> dict[str, Any]:
    names = ("mode", "watching", "reason", "folders", "overflows", "restarts")
    found = {name: getattr(watching, name) for name in names}
    return {**found, "blind": state.blind, "found_by_rescan": state.found_by_rescan}


def _unready(
    state: ServiceState, index_trouble: str | None, max_lag: float, now: float, late: Awaited | None
) -> str | None:
    if state.role == "stopping":
        return "the service is stopping"
    if state.role == "standing by":
        return f"standing by: {state.holder or 'another process'} writes"
    if index_trouble:
        return f"the index can't be used: {index_trouble}"
    if not state.caught_up:
        return "the first catch-up isn't done" + (f": {_first_line(state.trouble)}" if state.trouble else "")
    if (behind := lag(state, now, late)) > max_lag:
        cause = f": {_first_line(state.trouble)}" if state.trouble else ""
        return f"the index is behind by {behind:,.0f} s, and http.max_lag allows {max_lag:,.0f} s{cause}"
    return None


def _lacks(state: ServiceState) -> Iterator[tuple[Shortcoming, str]]:
    if state.trouble:
        yield "trouble", f"the service can't go on for now: {_first_line(state.trouble)}"
    if state.withheld:
        held = f"deletes are held back, of {len(state.withheld):,} pages with {state.lost:,} specs"
        yield "held", f"{held}. {question()}"
    if state.rolled_back:
        yield "rolled-back", "a rollback holds the index as it is: `cachesync reindex` goes on"
    yield from _lacking_pages(state)
    if state.watching and not state.watching.watching and not state.trouble:
        reason = state.watching.reason or "not started yet"
        yield "unwatched", f"nothing watches the pages, rescans find what changes: {reason}"
    elif state.watching and state.watching.watching and state.watching.reason:
        yield "polling", f"the pages are watched by {state.watching.mode}: {state.watching.reason}"
    if state.reindex_trouble:
        yield "reindex-failed", f"the last reindex came to nothing: {_first_line(state.reindex_trouble)}"
    if state.blind:
        found = f"rescans have found {state.found_by_rescan:,} that it didn't notice"
        yield "blind", f"the watcher misses changes: {found}"


def _lacking_pages(state: ServiceState) -> Iterator[tuple[Shortcoming, str]]:
    if empty := state.warnings.get(WHOLE_ROOT):
        yield "empty", f"there is nothing to index: {empty.message}"
    if state.problems:
        yield "problems", f"{len(state.problems):,} of the pages can't be used: `cachesync status` says why"

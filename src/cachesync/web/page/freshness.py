"""How up to date the index is and what is wrong with it, in words for people who search."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple


class IndexState(NamedTuple):
    """The condition of the index."""

    written: datetime | None = None
    """When the index last changed."""
    lag_seconds: float | None = None
    """The lag; None: unknown."""
    in_sync: bool | None = None
    """Whether the index equals the pages; None: unknown."""
    degraded: tuple[str, ...] = ()
    """What needs attention: keys of :data:`DEGRADED`."""
    outdated: bool = False
    """Whether another version of cachesync made the index."""
    is_followed: bool = True
    """Whether a service keeps the index up to date. Otherwise, a command brought it up to date and has exited."""


DEGRADED: Final = {
    "blind": "Changes of pages may be found some minutes late.",
    "empty": "There are no pages at the moment.",
    "held": "Many pages have vanished at once. What they had is still found until an operator has checked this.",
    "problems": "Some pages can't be read. What they had before is still found.",
    "rolled-back": "The index was set back to an earlier state; what has changed since isn't found.",
    "reindex-failed": "The index could not be rebuilt. What it has is still found.",
    "stopped": "The index isn't kept up to date at the moment.",
    "trouble": "Updates have stopped; they continue by themselves as soon as they can.",
    "unwatched": "Changes of pages may be found some minutes late.",
}
"""Warnings about an index that can be searched."""

_FOR_OPERATORS: Final = frozenset({"polling"})
"""Codes that concern operators only and make no difference to searches."""

_ELSE: Final = "The index needs attention; results may not be up to date."
_OUTDATED: Final = "Another version of cachesync made this index, so some searches find less than there is."

_LATE_SECONDS: Final = 600.0
"""The lag from which the page shows a warning."""

_SHOWN_SECONDS: Final = 60.0
"""A lag below this isn't shown."""

_OLD_SECONDS: Final = 30.0 * 60 * 60
"""The time since the last sync from which the page shows a warning if a command is expected to sync once a day."""


class FreshnessView(NamedTuple):
    """The age of an index, in words."""

    written: str | None
    """When the index last changed, for a ``datetime`` attribute."""
    ago: str
    rest: str
    """Whether the index is behind the pages or in step with them, in words; may be empty."""


def freshness(state: IndexState, now: datetime) -> FreshnessView:
    """Describe the age of an index."""
    lag = state.lag_seconds or 0.0
    behind = f"{duration(lag)} behind the pages" if lag >= _SHOWN_SECONDS and state.is_followed else ""
    is_in_step = state.in_sync and state.is_followed and not lag
    rest = behind or ("in step with the pages" if is_in_step else "")
    if state.written is None:
        return FreshnessView(None, "", rest)
    seconds = max(0.0, (now - state.written).total_seconds())
    written = state.written.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return FreshnessView(written, f"{duration(seconds)} ago" if seconds >= _SHOWN_SECONDS else "just now", rest)


def warnings(state: IndexState) -> Iterator[str]:
    """Yield a sentence for each thing that is wrong with an index."""
    if state.outdated:
        yield _OUTDATED
    lag = state.lag_seconds or 0.0
    if lag >= _LATE_SECONDS and state.is_followed:
        yield f"The index is {duration(lag)} behind the pages."
    elif lag >= _OLD_SECONDS:
        yield f"The index was brought up to date {duration(lag)} ago; what has changed since isn't found."
    told = (DEGRADED.get(code, _ELSE) for code in state.degraded if code not in _FOR_OPERATORS)
    yield from dict.fromkeys(told)


def duration(seconds: float) -> str:
    """Format a duration in a single unit."""
    minutes = seconds / 60
    if minutes < 60:
        return f"{max(1, minutes):.0f} min"
    if minutes < 48 * 60:
        return f"{minutes / 60:.0f} h"
    return f"{minutes / 60 / 24:,.0f} days"

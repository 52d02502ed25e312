"""The report of a pass: what the pass did or would do."""

import itertools
from collections.abc import Collection
from typing import Any, Final, Literal, TypeVar

import msgspec

from cachesync.pages.page import Problem, by_page
from cachesync.sync.scan import PathWarning, by_path

_T = TypeVar("_T")

_SHORT_BYTES: Final = 4_000
"""How many bytes a shortened report has of each list: some proxies accept at most 20 kB in one request."""


def _first(items: Collection[_T]) -> list[_T]:
    """Return as many of the first items as fit."""
    sizes = itertools.accumulate(len(msgspec.json.encode(item)) for item in items)
    fitting = itertools.takewhile(lambda size: size <= _SHORT_BYTES, sizes)
    return [item for item, _ in zip(items, fitting, strict=False)]


class PageCounts(msgspec.Struct):
    """How many pages had which outcome. A page with a problem counts only as a problem."""

    added: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    problems: int = 0


class SpecCounts(msgspec.Struct):
    """How many documents were written and deleted."""

    added: int = 0
    updated: int = 0
    deleted: int = 0


# Many fields: one for each fact that commands print, the service logs or the next pass needs.
class Report(msgspec.Struct):
    """The outcome of a pass."""

    pages: PageCounts = msgspec.field(default_factory=PageCounts)
    specs: SpecCounts = msgspec.field(default_factory=SpecCounts)
    phases: dict[str, float] = {}
    """Seconds by phase."""
    problems: list[Problem] = []
    warnings: list[PathWarning] = []
    records: int = 0
    """By how many pages the ledger has grown."""
    before: int = 0
    """How many specs the index had before the pass."""
    lost: int = 0
    """How many specs the index loses, or would lose, see :class:`cachesync.sync.guard.Loss`."""
    withheld: dict[str, int] = {}
    """Pages whose changes the guard withheld, and how many specs each page would lose."""
    withheld_more: int = 0
    """How many withheld pages a shortened report leaves out."""
    again: bool = False
    """Whether another pass is needed because something changed during this one."""
    outdated: bool = False
    """Whether another version of cachesync made the generation, so that a reindex is needed."""
    unsteady: list[str] = []
    """The known pages and folders that changed during the pass."""
    news: list[str] = []
    """Pages that differed on disk from the ledger's records."""

    @property
    def has_written(self) -> bool:
        """Whether documents were written or deleted."""
        pages, specs = self.pages, self.specs
        return any((pages.added, pages.updated, pages.deleted, specs.added, specs.updated, specs.deleted))

    @property
    def outcome(self) -> Literal["done", "held"]:
        """How the pass finished."""
        return "held" if self.withheld else "done"

    @property
    def seconds(self) -> float:
        """How long the pass took."""
        return sum(self.phases.values())

    @property
    def withheld_pages(self) -> int:
        """The number of pages that are withheld."""
        return len(self.withheld) + self.withheld_more

    def shortened(self) -> "Report":
        """Return a report of bounded size that contains what a command prints."""
        withheld = dict(_first(self.withheld.items()))
        more = self.withheld_pages - len(withheld)
        problems, warnings = _first(self.problems), _first(self.warnings)
        return msgspec.structs.replace(
            self, withheld=withheld, withheld_more=more, problems=problems, warnings=warnings, news=[], unsteady=[]
        )

    def then(self, later: "Report") -> "Report":
        """Combine this report with that of a later pass: counts of changes add up; the state is the later report's."""
        done = msgspec.structs.replace(later, phases=dict(self.phases), before=self.before)
        for name in ("added", "updated", "deleted"):
            for mine, its in ((self.pages, done.pages), (self.specs, done.specs)):
                setattr(its, name, getattr(mine, name) + getattr(its, name))
        done.pages.unchanged = min(self.pages.unchanged, done.pages.unchanged)
        for name, seconds in later.phases.items():
            done.phases[name] = done.phases.get(name, 0.0) + seconds
        return done

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return {
            "pages": msgspec.to_builtins(self.pages),
            "specs": msgspec.to_builtins(self.specs),
            "seconds": round(self.seconds, 3),
            "phases": {name: round(seconds, 3) for name, seconds in self.phases.items()},
            "problems": [msgspec.to_builtins(problem) for problem in by_page(self.problems)],
            "warnings": [msgspec.to_builtins(warning) for warning in by_path(self.warnings)],
            "lost": self.lost,
            "held": sorted(self.withheld),
        }

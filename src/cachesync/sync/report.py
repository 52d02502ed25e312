"""What a pass did, or would do."""

import itertools
from collections.abc import Collection
from typing import Any, Final, Literal, TypeVar

import msgspec

from cachesync.pages.page import Problem, by_page
from cachesync.sync.scan import PathWarning, by_path

_T = TypeVar("_T")

_SHORT_BYTES: Final = 4_000
"""How much of each list is in a shortened report: some proxies take no more than 20 kB in one request."""


def _first(items: Collection[_T]) -> list[_T]:
    """Return the first of some items, as many as fit."""
    sizes = itertools.accumulate(len(msgspec.json.encode(item)) for item in items)
    fitting = itertools.takewhile(lambda size: size <= _SHORT_BYTES, sizes)
    return [item for item, _ in zip(items, fitting, strict=False)]


class PageCounts(msgspec.Struct):
    """Pages by what happened to them. A page that is a problem is counted as nothing else."""

    added: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    problems: int = 0


class SpecCounts(msgspec.Struct):
    """Documents written and deleted."""

    added: int = 0
    updated: int = 0
    deleted: int = 0


class Report(msgspec.Struct):
    """The outcome of a pass."""

    pages: PageCounts = msgspec.field(default_factory=PageCounts)
    specs: SpecCounts = msgspec.field(default_factory=SpecCounts)
    phases: dict[str, float] = {}
    """Seconds by phase."""
    problems: list[Problem] = []
    warnings: list[PathWarning] = []
    records: int = 0
    """How many more pages the ledger has afterwards."""
    before: int = 0
    """Specs that the index held before."""
    lost: int = 0
    """Specs that the index loses, or would lose, see :class:`cachesync.sync.guard.Loss`."""
    withheld: dict[str, int] = {}
    """Pages whose changes were not made, because with them too much would be lost, and how many specs each loses."""
    withheld_more: int = 0
    """How many more pages are held that aren't named, in a report that was shortened."""
    again: bool = False
    """Something changed while it was looked at: another pass is needed."""
    outdated: bool = False
    """Another version made the generation: a reindex is needed to bring it up to date."""
    unsteady: list[str] = []
    """Pages and folders that changed while they were looked at, as far as they can be named."""
    news: list[str] = []
    """Pages that weren't on disk as the ledger knew them."""

    @property
    def has_written(self) -> bool:
        """Documents were written or deleted."""
        pages, specs = self.pages, self.specs
        return any((pages.added, pages.updated, pages.deleted, specs.added, specs.updated, specs.deleted))

    @property
    def outcome(self) -> Literal["done", "held"]:
        """How it ended."""
        return "held" if self.withheld else "done"

    @property
    def seconds(self) -> float:
        """How long the pass took."""
        return sum(self.phases.values())

    @property
    def withheld_pages(self) -> int:
        """How many pages are held."""
        return len(self.withheld) + self.withheld_more

    def shortened(self) -> "Report":
        """Return what whoever asked for the pass prints of it, whose size has a bound."""
        withheld = dict(_first(self.withheld.items()))
        more = self.withheld_pages - len(withheld)
        problems, warnings = _first(self.problems), _first(self.warnings)
        return msgspec.structs.replace(
            self, withheld=withheld, withheld_more=more, problems=problems, warnings=warnings, news=[], unsteady=[]
        )

    def then(self, later: "Report") -> "Report":
        """Join this pass with one after it: what was done adds up, what is so now is the later one's."""
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

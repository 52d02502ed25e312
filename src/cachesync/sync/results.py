"""The results of a pass's pages, added up in its report."""

from typing import Literal, NamedTuple

from cachesync.documents import key_of
from cachesync.index.generation import PageChange, Written
from cachesync.ledger import refusal
from cachesync.pages.page import Problem
from cachesync.sync.plan import Plan
from cachesync.sync.report import Report

_Outcome = Literal["added", "updated", "deleted", "unchanged"]


class PageResult(NamedTuple):
    """The result of one page of the plan."""

    change: PageChange
    outcome: _Outcome
    """How the report counts the page, unless the page has a problem."""
    shrunk: int = 0
    """How many fewer specs the page has than before."""
    new_digest: str | None = None
    """The digest of a page that wasn't in the ledger; otherwise None."""
    writes: bool = True
    """Whether the change has to be written to the index."""


class Results:
    """Adds the results of pages to the report of a pass."""

    def __init__(self, plan: Plan, report: Report) -> None:
        """Set the fields of the report that follow from the plan."""
        self.report = report
        self.written: dict[str, int] = {}
        """The number of documents of each page whose change was added."""
        self._outcomes: dict[str, _Outcome] = {}
        """How the report counts each page that has documents to write and no problem."""
        report.problems = list(plan.problems)
        report.warnings = list(plan.found.warnings)
        report.before = plan.specs
        report.again = plan.again
        report.news = plan.news
        report.unsteady = [path for path, gone in plan.found.unread.items() if gone]
        report.pages.unchanged = plan.unchanged
        report.pages.problems = len(plan.problems)

    def add(self, result: PageResult) -> bool:
        """Add a page's result, and return whether there is anything to write."""
        change, record = result.change, result.change.record
        if record and record.problem:
            self._add_problem(Problem(change.page, record.problem, record.line))
        else:
            self._count(result.outcome, 1)
            if change.puts:
                self._outcomes[change.page] = result.outcome
        if record:
            self.written[change.page] = record.specs
        added = [put.is_new for put in change.puts].count(True)
        self.report.records += (record is not None) - (change.before is not None)
        self.report.specs.added += added
        self.report.specs.updated += len(change.puts) - added
        self.report.specs.deleted += len(change.deletes)
        return result.writes

    def add_unsteady(self, page: str) -> None:
        """Record that a page changed during the pass, so that another pass is needed."""
        self.report.again = True
        self.report.unsteady.append(page)

    def add_refusals(self, written: Written) -> None:
        """Add a problem for a page if the index rejected some of its documents."""
        if not written.refused:
            return
        page = written.page
        reasons = {key_of(page, each.id): each.reason for each in written.refused}
        self.report.specs.added -= len(reasons)
        self.written[page] -= len(reasons)
        if outcome := self._outcomes.pop(page, None):  # otherwise the page already has a problem
            self._count(outcome, -1)
            self._add_problem(Problem(page, refusal(reasons)))

    def _add_problem(self, problem: Problem) -> None:
        self.report.pages.problems += 1
        self.report.problems.append(problem)

    def _count(self, outcome: _Outcome, number: int) -> None:
        setattr(self.report.pages, outcome, getattr(self.report.pages, outcome) + number)

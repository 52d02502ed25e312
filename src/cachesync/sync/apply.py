"""Carry out a plan: read its pages, and yield the changes to the index.

.. code-block:: text

    plan.read ─► read, compare ─┬─ loses no spec ──────────────────────────────────────► PageChange
                                └─ loses specs ─┐
    plan.gone ──────────────────────────────────┴─► guard ─┬─ allows ─► read, compare ─► PageChange
                                                           └─ refuses ─► withheld

:mod:`.read` reads a page, :mod:`.compare` finds how its documents must change, :mod:`.guard` limits the loss of specs,
and :mod:`.results` adds up the results. The caller writes the changes; each includes the page's new ledger record.
"""

import time
from collections.abc import Iterable, Iterator

from cachesync.context import current
from cachesync.index.generation import PageChange, Reader, Remembered
from cachesync.sync.chunks import in_chunks
from cachesync.sync.compare import Comparer
from cachesync.sync.guard import Guard, Loss
from cachesync.sync.plan import Plan, Todo
from cachesync.sync.read import MAX_WAIT, Changing, read, unsettled_seconds
from cachesync.sync.report import Report
from cachesync.sync.results import PageResult, Results
from cachesync.sync.scan import Source, root_of, scan_at


class Apply:
    """Applies a plan. Iterate over :meth:`changes` once; afterwards :attr:`results` is complete."""

    def __init__(
        self,
        source: Source,
        index: Reader | None,
        plan: Plan,
        guard: Guard,
        report: Report,
        earlier: Reader | None = None,
        *,
        patient: bool = True,
    ) -> None:
        """``index`` is the generation that the plan was made for, or None if there is no generation yet.

        ``earlier`` is the generation that ``index`` is to replace. A page that currently can't be read or is invalid
        keeps the documents that it has in ``earlier``.

        With ``patient``, wait until the signatures of recently written pages can be trusted. Otherwise, read these
        pages immediately; the next pass that includes them reads them again.
        """
        self.results = Results(plan, report)
        self._source = source
        self._index = index
        self._plan = plan
        self._guard = guard
        self._earlier = earlier
        self._patient = patient
        self._comparer = Comparer(index, earlier)
        self._context = current()
        self._reading = self._context.awaiting(source.file_system)

    def changes(self) -> Iterator[PageChange]:
        """Yield the changes, page by page.

        Changes that lose specs come last, and only if the guard allows them. The total loss is therefore known before
        any spec is lost, and no other change is delayed.
        """
        plan, report = self._plan, self.results.report
        loss = Loss(todo.record for todo in plan.gone if todo.record and todo.page not in plan.moved)
        shrunk: dict[str, int] = {}
        for todo, result in self._compared(_recent_last(plan.read) if self._patient else plan.read):
            if result is None:
                continue
            if result.new_digest:
                loss.appeared(result.new_digest)
            if result.shrunk:
                loss.shrunk(result.shrunk)
                shrunk[todo.page] = result.shrunk
            elif self.results.add(result):
                yield result.change
        yield from (result.change for result in self._carried_over() if self.results.add(result))
        report.lost = loss.total()
        losing = [*(todo for todo in plan.read if todo.page in shrunk), *plan.gone]
        if self._guard.refuses(report.lost, plan.specs):
            gone = {todo.page: todo.record.specs for todo in plan.gone if todo.record}
            report.withheld = {todo.page: shrunk.get(todo.page, gone.get(todo.page, 0)) for todo in losing}
        else:
            yield from self._allowed_losses(losing, shrunk, loss)

    def _allowed_losses(self, losing: list[Todo], shrunk: dict[str, int], loss: Loss) -> Iterator[PageChange]:
        """Yield the changes that lose specs. Check each page again, and skip it if it would now lose more."""
        for todo, result in self._compared(losing):
            if result is None or result.shrunk > shrunk.get(todo.page, 0):
                self.results.add_unsteady(todo.page)
                loss.averted(todo.record, shrunk.get(todo.page))
                self.results.report.lost = loss.total()
            elif self.results.add(result):
                yield result.change

    def _compared(self, todos: Iterable[Todo]) -> Iterator[tuple[Todo, PageResult | None]]:
        """Read pages and compare them with the index. The result is None for a page that is being changed."""
        for chunk in in_chunks(todos, lambda todo: todo.record.specs if todo.record else 0):
            recorded = [todo.page for todo in chunk if todo.record]
            known = self._index.remembered(recorded) if self._index and recorded else {}
            back = self._reappeared([todo.page for todo in chunk if todo.entry is None])
            for todo in chunk:
                self._context.check()
                yield todo, None if todo.page in back else self._result(todo, known.get(todo.page))

    def _reappeared(self, pages: list[str]) -> set[str]:
        """Return those of ``pages`` that have reappeared, or whose existence can no longer be determined."""
        if not pages:
            return set()
        now = scan_at(self._source, pages, root_of(self._source))
        return {page for page in pages if page in now.entries or not now.covers(page)}

    def _result(self, todo: Todo, known: Remembered | None) -> PageResult | None:
        if todo.entry is None:
            return self._comparer.compare(todo, None, known)
        with self._reading:
            content = read(self._source, todo.entry)
        if isinstance(content, Changing):
            self.results.add_unsteady(todo.page)
            return self._comparer.carry_over(todo, settled=False)
        return self._comparer.compare(todo, content, known)

    def _carried_over(self) -> Iterator[PageResult]:
        """Carry over the pages below folders that can't be listed."""
        found = self._plan.found
        if self._earlier is None or not found.unread:
            return
        for record in self._earlier.records():
            if not (found.knows(record.page) or (self._index and self._index.remembered([record.page]))):
                result = self._comparer.carry_over(Todo(record.page, None, None))
                if result:
                    yield result


def _recent_last(todos: list[Todo]) -> Iterator[Todo]:
    """Move recently written pages to the end, and wait at most 2 s until their signatures can be trusted."""
    now = time.time_ns()
    recent = []
    for todo in todos:
        if todo.entry and unsettled_seconds(todo.entry.signature, now):
            recent.append(todo)
        else:
            yield todo
    now = time.time_ns()
    current().wait(
        min(MAX_WAIT, max((unsettled_seconds(todo.entry.signature, now) for todo in recent if todo.entry), default=0))
    )
    yield from recent

"""Carry out a plan: read its pages, and yield what changes in the index.

.. code-block:: text

    plan.read ─► read, compare ─┬─ loses no spec ──────────────────────────────────────► PageChange
                                └─ loses specs ─┐
    plan.gone ──────────────────────────────────┴─► guard ─┬─ allows ─► read, compare ─► PageChange
                                                           └─ refuses ─► withheld

:mod:`.read` reads a page, :mod:`.compare` says how its documents have to change, :mod:`.guard` how much may be lost,
and :mod:`.results` adds it all up. The caller writes the changes: each includes the page's record for the ledger.
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
    """Applies a plan once. Iterate over :meth:`changes` once; afterwards :attr:`results` is complete."""

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
        """``index`` is the generation that the plan was made for; None: there is none yet.

        ``earlier`` is the generation that ``index`` is to replace: pages that can't be read or used now keep the
        documents that they have there.

        ``patient``: wait until the signatures of recently written pages can be trusted. Otherwise these pages are read
        at once, and again by the next pass that includes them.
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

        Changes that lose specs come last, and only if the guard allows them. So the whole loss is known before any of
        it happens, and all other changes are not delayed.
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
        """Yield the changes that lose specs. Each page is checked again, and skipped if it would lose more by now."""
        for todo, result in self._compared(losing):
            if result is None or result.shrunk > shrunk.get(todo.page, 0):
                self.results.add_unsteady(todo.page)
                loss.averted(todo.record, shrunk.get(todo.page))
                self.results.report.lost = loss.total()
            elif self.results.add(result):
                yield result.change

    def _compared(self, todos: Iterable[Todo]) -> Iterator[tuple[Todo, PageResult | None]]:
        """Read pages and compare them with the index. The result is None for a page that is changing right now."""
        for chunk in in_chunks(todos, lambda todo: todo.record.specs if todo.record else 0):
            recorded = [todo.page for todo in chunk if todo.record]
            known = self._index.remembered(recorded) if self._index and recorded else {}
            back = self._reappeared([todo.page for todo in chunk if todo.entry is None])
            for todo in chunk:
                self._context.check()
                yield todo, None if todo.page in back else self._result(todo, known.get(todo.page))

    def _reappeared(self, pages: list[str]) -> set[str]:
        """Return those of ``pages`` that exist again, or of which it isn't known any more whether they do."""
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
    """Move recently written pages to the end, and wait until their signatures can be trusted, for at most 2 s."""
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

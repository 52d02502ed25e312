"""Carry out a plan: read each page, turn it into documents, and say what changes."""

import os
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from cachesync.documents import Rendered, key_of, render, summary
from cachesync.index.base import PageChange, Reader, Remembered, Written
from cachesync.ledger import Digests, PageRecord, Signature, content_digest, digests, refusal
from cachesync.pages.page import Page, Problem, parse
from cachesync.sync.guard import Guard, Loss
from cachesync.sync.plan import Plan, Todo, page_change
from cachesync.sync.read import MAX_WAIT, Content, Moving, Unreadable, freshness, read
from cachesync.sync.report import Report
from cachesync.sync.scan import Source


class _Look(NamedTuple):
    """What looking at a page came to."""

    change: PageChange
    outcome: Literal["added", "updated", "deleted", "unchanged"]
    """How the report counts the page, unless it is a problem."""
    shrunk: int = 0
    """How many specs fewer the page has."""
    appeared: str | None = None
    """The content of a page that the ledger didn't know."""
    writes: bool = True


class Apply:
    """One pass over a plan. :meth:`changes` is read once; :attr:`report` tells what came of it."""

    def __init__(
        self,
        source: Source,
        index: Reader | None,
        plan: Plan,
        guard: Guard,
        phases: dict[str, float],
        earlier: Reader | None = None,
    ) -> None:
        """``index`` is the generation that the plan was made for; None: there is none yet.

        ``earlier`` is the generation that it is to replace: pages that can't be used now keep their documents of then.
        """
        self.pages = len(plan.read) + len(plan.gone)
        """How many pages there are to look at."""
        self.report = Report(phases=phases, problems=list(plan.problems), before=plan.specs, again=plan.again)
        self.report.pages.unchanged = plan.unchanged
        self.report.pages.problems = len(plan.problems)
        self.written: dict[str, int] = {}
        """How many documents each page has whose change was yielded."""
        self._source = source
        self._index = index
        self._plan = plan
        self._guard = guard
        self._earlier = earlier
        self._remembered: dict[str, Remembered] = {}
        self._synced = datetime.now(UTC).isoformat(timespec="seconds")

    def changes(self) -> Iterator[PageChange]:
        """Yield what changes, page by page.

        What takes specs away comes last and only if the guard lets it: so the loss is known before any of it happens,
        while everything else isn't held up.
        """
        loss = Loss(todo.record for todo in self._plan.gone if todo.record and todo.page not in self._plan.moved)
        shrunk: list[tuple[Todo, int]] = []
        for todo in self._looked_up(_fresh_last(self._plan.read)):
            look = self._look(todo)
            if look is None:
                continue
            if look.appeared:
                loss.appeared(look.appeared)
            if look.shrunk:
                loss.shrunk(look.shrunk)
                shrunk.append((todo, look.shrunk))
            elif self._counted(look):
                yield look.change
        self.report.lost = loss.total()
        if self._guard.refuses(self.report.lost, self._plan.specs):
            self.report.held = sorted(todo.page for todo in [*self._plan.gone, *(todo for todo, _ in shrunk)])
            return
        judged = {todo.page: by for todo, by in shrunk}
        for todo in self._looked_up([*(todo for todo, _ in shrunk), *self._plan.gone]):
            look = self._look(todo)
            if look is None or look.shrunk > judged.get(todo.page, 0):  # it isn't what the guard has let through
                self.report.again = True
            elif self._counted(look):
                yield look.change

    def refused(self, written: Written) -> None:
        """Report that the index refused documents of a page, which is a problem now."""
        reasons = {key_of(written.page, each.id): each.reason for each in written.refused}
        self.report.pages.problems += 1
        self.report.specs.added -= len(reasons)
        self.written[written.page] -= len(reasons)
        self.report.problems.append(Problem(written.page, refusal(reasons)))

    def _looked_up(self, todos: Iterable[Todo]) -> Iterator[Todo]:
        """Look pages up in the ledger before they are wanted, many at once but within bounds."""
        chunk: list[Todo] = []
        specs = 0
        for todo in todos:
            chunk.append(todo)
            specs += todo.record.specs if todo.record else 0
            if len(chunk) >= _LOOKUP_PAGES or specs >= _LOOKUP_SPECS:
                yield from self._look_up(chunk)
                chunk, specs = [], 0
        yield from self._look_up(chunk)

    def _look_up(self, todos: list[Todo]) -> list[Todo]:
        known = [todo.page for todo in todos if todo.record]
        self._remembered = self._index.remembered(known) if self._index and known else {}
        return todos

    def _counted(self, look: _Look) -> bool:
        """Report what a look came to, and tell whether there is anything to write."""
        change = look.change
        pages = self.report.pages
        if change.record and change.record.problem:
            pages.problems += 1
            self.report.problems.append(Problem(change.page, change.record.problem, change.record.line))
        else:
            setattr(pages, look.outcome, getattr(pages, look.outcome) + 1)
        fresh = [put.fresh for put in change.puts].count(True)
        if change.record:
            self.written[change.page] = change.record.specs
        self.report.specs.added += fresh
        self.report.specs.updated += len(change.puts) - fresh
        self.report.specs.deleted += len(change.deletes)
        return look.writes

    def _look(self, todo: Todo) -> _Look | None:
        """Read a page and compare it with what the index has; None: it is changing right now."""
        if todo.entry is None:
            if self._source.pattern.matches(todo.page) and os.path.lexists(self._source.root / todo.page):
                return None
            return _Look(page_change(todo, {}, self._before(todo), None), "deleted")
        match read(self._source, todo.entry):
            case Content() as content:
                return self._content(todo, content)
            case Unreadable(message):
                return self._problem(todo, todo.entry.signature, Problem(todo.page, message))
            case Moving():
                self.report.again = True
                return None

    def _content(self, todo: Todo, content: Content) -> _Look:
        digest = content_digest(content.data)
        if todo.record and todo.record.digest == digest and not todo.damaged:
            return self._same(todo, todo.record, content)
        page = parse(todo.page, content.data)
        if isinstance(page, Problem):
            return self._problem(todo, content.signature, page, content.settled, digest)
        rendered = render(page)
        if isinstance(rendered, Problem):
            return self._problem(todo, content.signature, rendered, content.settled, digest)
        return self._good(todo, page, rendered, content, digest)

    def _good(self, todo: Todo, page: Page, rendered: Rendered, content: Content, digest: str) -> _Look:
        distinct = summary(page)
        record = PageRecord(
            page=todo.page,
            signature=content.signature,
            settled=content.settled,
            digest=digest,
            package=page.package,
            tag=page.tag,
            specs=len(rendered),
            versions=distinct.versions,
            compilers=distinct.compilers,
            stacks=distinct.stacks,
            synced=self._synced,
        )
        change = page_change(todo, rendered, self._before(todo), record)
        if todo.record is None:
            return _Look(change, "added", appeared=digest)
        return _Look(change, "updated", shrunk=max(0, todo.record.specs - len(rendered)))

    def _same(self, todo: Todo, record: PageRecord, content: Content) -> _Look:
        """The file was touched, or is read again to be sure: its documents stay as they are."""
        return self._record_only(todo, record, signature=content.signature, settled=content.settled)

    def _problem(
        self, todo: Todo, signature: Signature, problem: Problem, settled: bool = False, digest: str | None = None
    ) -> _Look:
        """The page can't be used: its earlier documents stay, and the record says why."""
        if todo.record is None and not todo.damaged and self._earlier:
            known = self._earlier.remembered([todo.page]).get(todo.page)
            rendered = _documents(self._earlier, todo.page) if known else {}
            if known and rendered:
                record = msgspec.structs.replace(
                    known.record,
                    signature=signature,
                    settled=settled,
                    digest=digest,
                    pending=False,
                    specs=len(rendered),
                    synced=self._synced,
                    problem=problem.message,
                    line=problem.line,
                )
                return _Look(page_change(todo, rendered, {}, record), "unchanged", appeared=digest)
        record = todo.record or PageRecord(page=todo.page, signature=signature, settled=settled, synced="")
        specs = record.specs if not todo.damaged else len(self._there(todo))
        return self._record_only(
            todo,
            record,
            signature=signature,
            settled=settled,
            digest=digest,
            specs=specs,
            problem=problem.message,
            line=problem.line,
        )

    def _record_only(self, todo: Todo, record: PageRecord, **changes: Any) -> _Look:
        """Keep a page's documents and change what the ledger says of it, if anything does change."""
        after = msgspec.structs.replace(record, pending=False, **changes)
        writes = after != todo.record
        after.synced = self._synced
        digests = (self._there(todo) if todo.damaged else self._before(todo)) if writes else {}
        change = PageChange(todo.page, [], [], todo.record, after, digests)
        return _Look(change, "unchanged", writes=writes)

    def _before(self, todo: Todo) -> Digests:
        """Return the digests of the documents that the index has, or may have in a moment."""
        remembered = self._remembered.get(todo.page)
        digests = remembered.digests if remembered else {}
        if todo.damaged:
            return {**dict.fromkeys(digests, b""), **self._there(todo)}
        return digests

    def _there(self, todo: Todo) -> Digests:
        """Return the digests of the documents that the index has of a page, whatever the ledger says."""
        if self._index is None:
            return {}
        return digests(_documents(self._index, todo.page))


def _documents(index: Reader, page: str) -> Rendered:
    return {key_of(page, each.id): each.source for each in index.documents(page)}


_LOOKUP_PAGES: Final = 250
_LOOKUP_SPECS: Final = 20_000


def _fresh_last(todos: list[Todo]) -> Iterator[Todo]:
    """Leave pages that were just written to the end, and wait until their signatures can be trusted: 2 s at most."""
    now = time.time_ns()
    fresh = []
    for todo in todos:
        if todo.entry and freshness(todo.entry.signature, now):
            fresh.append(todo)
        else:
            yield todo
    now = time.time_ns()
    time.sleep(min(MAX_WAIT, max((freshness(todo.entry.signature, now) for todo in fresh if todo.entry), default=0)))
    yield from fresh

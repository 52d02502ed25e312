"""Carry out a plan: read each page, turn it into documents, and say what changes."""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from cachesync.context import current
from cachesync.documents import Rendered, document_id, fitting, key_of, render, summary
from cachesync.errors import IndexUnusableError
from cachesync.index.base import PageChange, Put, Reader, Remembered, Written
from cachesync.ledger import Digests, PageRecord, Signature, content_digest, digests, refusal
from cachesync.log import get_logger
from cachesync.pages.page import Page, Problem, folder_of, parse, tag_of
from cachesync.sync.guard import Guard, Loss
from cachesync.sync.plan import Plan, Todo, page_change
from cachesync.sync.read import MAX_WAIT, Changing, Content, Unreadable, read, unsettled_seconds
from cachesync.sync.report import Report
from cachesync.sync.scan import Scan, Source, root_of, scan_at

_log = get_logger()


_Outcome = Literal["added", "updated", "deleted", "unchanged"]


class _Look(NamedTuple):
    """What looking at a page came to."""

    change: PageChange
    outcome: _Outcome
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
        found: Scan,
        plan: Plan,
        guard: Guard,
        phases: dict[str, float],
        earlier: Reader | None = None,
        *,
        patient: bool = True,
    ) -> None:
        """``index`` is the generation that the plan was made for; None: there is none yet.

        ``earlier`` is the generation that it is to replace: pages that can't be used or looked at now keep their
        documents of then.

        ``patient``: wait for a moment until the signatures of pages that were just written can be trusted. Else they
        are read at once, and again by the next pass that comes to them.
        """
        self.pages = len(plan.read) + len(plan.gone)
        """How many pages there are to look at."""
        self.report = Report(phases=phases, problems=list(plan.problems), before=plan.specs, again=plan.again)
        self.report.news = plan.news
        self.report.warnings = list(found.warnings)
        self.report.unsteady = [path for path, gone in found.unread.items() if gone]
        self.report.pages.unchanged = plan.unchanged
        self.report.pages.problems = len(plan.problems)
        self.written: dict[str, int] = {}
        """How many documents each page has whose change was yielded."""
        self._source = source
        self._index = index
        self._found = found
        self._plan = plan
        self._guard = guard
        self._earlier = earlier
        self._patient = patient
        self._remembered: dict[str, Remembered] = {}
        self._context = current()
        self._reading = self._context.awaiting(source.file_system)
        self._back: set[str] = set()
        self._outcomes: dict[str, _Outcome] = {}
        """How each page with documents to write is counted that is no problem."""
        self._synced = datetime.now(UTC).isoformat(timespec="seconds")

    def changes(self) -> Iterator[PageChange]:
        """Yield what changes, page by page.

        What takes specs away comes last and only if the guard lets it: so the loss is known before any of it happens,
        while everything else isn't held up.
        """
        loss = Loss(todo.record for todo in self._plan.gone if todo.record and todo.page not in self._plan.moved)
        shrunk: dict[str, int] = {}
        shrinking: list[Todo] = []
        for todo in self._looked_up(_fresh_last(self._plan.read) if self._patient else self._plan.read):
            look = self._look(todo)
            if look is None:
                continue
            if look.appeared:
                loss.appeared(look.appeared)
            if look.shrunk:
                loss.shrunk(look.shrunk)
                shrunk[todo.page] = look.shrunk
                shrinking.append(todo)
            elif self._counted(look):
                yield look.change
        yield from (look.change for look in self._out_of_sight() if self._counted(look))
        self.report.lost = loss.total()
        losing = [*shrinking, *self._plan.gone]
        if self._guard.refuses(self.report.lost, self._plan.specs):
            gone = {todo.page: todo.record.specs for todo in self._plan.gone if todo.record}
            self.report.withheld = {todo.page: shrunk.get(todo.page, gone.get(todo.page, 0)) for todo in losing}
        else:
            yield from self._let_through(losing, shrunk, loss)

    def _let_through(self, losing: list[Todo], shrunk: dict[str, int], loss: Loss) -> Iterator[PageChange]:
        """Yield what takes specs away, if each page is as the guard has let it through: it is looked at once more."""
        for todo in self._looked_up(losing):
            look = self._look(todo)
            if look is None or look.shrunk > shrunk.get(todo.page, 0):
                self._unsteady(todo.page)
                loss.averted(todo.record, shrunk.get(todo.page))
                self.report.lost = loss.total()
            elif self._counted(look):
                yield look.change

    def refused(self, written: Written) -> None:
        """Report that the index refused documents of a page, which is a problem now."""
        page = written.page
        reasons = {key_of(page, each.id): each.reason for each in written.refused}
        self.report.specs.added -= len(reasons)
        self.written[page] -= len(reasons)
        outcome = self._outcomes.pop(page, None)
        if outcome is None:  # it is a problem already
            return
        self._count(outcome, -1)
        self.report.pages.problems += 1
        self.report.problems.append(Problem(page, refusal(reasons)))

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
        self._back = self._not_gone([todo.page for todo in todos if todo.entry is None])
        return todos

    def _not_gone(self, pages: list[str]) -> set[str]:
        """Return those of some pages that are there again, or of which that can't be told any more."""
        if not pages:
            return set()
        now = scan_at(self._source, pages, root_of(self._source))
        return {page for page in pages if page in now.entries or not now.covers(page)}

    def _counted(self, look: _Look) -> bool:
        """Report what a look came to, and tell whether there is anything to write."""
        change = look.change
        if change.record and change.record.problem:
            self.report.pages.problems += 1
            self.report.problems.append(Problem(change.page, change.record.problem, change.record.line))
        else:
            self._count(look.outcome, 1)
            if change.puts:
                self._outcomes[change.page] = look.outcome
        self.report.records += (change.record is not None) - (change.before is not None)
        fresh = [put.fresh for put in change.puts].count(True)
        if change.record:
            self.written[change.page] = change.record.specs
        self.report.specs.added += fresh
        self.report.specs.updated += len(change.puts) - fresh
        self.report.specs.deleted += len(change.deletes)
        return look.writes

    def _count(self, outcome: _Outcome, number: int) -> None:
        setattr(self.report.pages, outcome, getattr(self.report.pages, outcome) + number)

    def _look(self, todo: Todo) -> _Look | None:
        """Read a page and compare it with what the index has; None: it is changing right now."""
        self._context.check()
        if todo.entry is None:
            if todo.page in self._back:
                return None
            before, strays = self._before(todo)
            return _Look(page_change(todo, {}, before, None, strays), "deleted")
        with self._reading:
            found = read(self._source, todo.entry)
        match found:
            case Content() as content:
                return self._content(todo, content)
            case Unreadable(message):
                return self._problem(todo, todo.entry.signature, Problem(todo.page, message))
            case Changing():
                self._unsteady(todo.page)
                return self._carried_over(todo, settled=False)

    def _unsteady(self, page: str) -> None:
        self.report.again = True
        self.report.unsteady.append(page)

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
        if self._index and self._index.outdated:
            rendered = {key: fitting(text, self._index.fields) for key, text in rendered.items()}
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
        before, strays = self._before(todo)
        change = page_change(todo, rendered, before, record, strays)
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
        changes: dict[str, Any] = {
            "signature": signature,
            "settled": settled,
            "digest": digest,
            "problem": problem.message,
            "line": problem.line,
        }
        carried = self._carried_over(todo, **changes)
        if carried:
            return carried
        record = todo.record or PageRecord(
            page=todo.page,
            signature=signature,
            settled=settled,
            package=folder_of(todo.page),
            tag=tag_of(todo.page),
            synced="",
        )
        return self._as_found(todo, record, **changes) if todo.damaged else self._record_only(todo, record, **changes)

    def _carried_over(self, todo: Todo, **changes: Any) -> _Look | None:
        """Take a page that can't be used now from the generation that is to be replaced, if it has documents there."""
        if self._earlier is None or todo.record or todo.damaged:
            return None
        known = self._earlier.remembered([todo.page]).get(todo.page)
        rendered = _left_of(self._earlier, todo.page) if known else {}
        if not (known and rendered):
            return None
        changes |= {"pending": False, "specs": len(rendered), "synced": self._synced}
        record = msgspec.structs.replace(known.record, **changes)
        return _Look(page_change(todo, rendered, {}, record), "unchanged", appeared=record.digest)

    def _out_of_sight(self) -> Iterator[_Look]:
        """Carry over the pages of which nothing is known, since a folder above them can't be looked at."""
        if self._earlier is None or not self._found.unread:
            return
        for record in self._earlier.records():
            unseen = record.page not in self._found.entries and not self._found.covers(record.page)
            if unseen and not (self._index and self._index.remembered([record.page])):
                look = self._carried_over(Todo(record.page, None, None))
                if look:
                    yield look

    def _record_only(self, todo: Todo, record: PageRecord, **changes: Any) -> _Look:
        """Keep a page's documents and change what the ledger says of it, if anything does change."""
        after = msgspec.structs.replace(record, **changes)
        writes = after != todo.record
        after.synced = self._synced
        before = self._before(todo)[0] if writes else {}
        return _Look(PageChange(todo.page, [], [], todo.record, after, before), "unchanged", writes=writes)

    def _as_found(self, todo: Todo, record: PageRecord, **changes: Any) -> _Look:
        """Keep the documents that a page really has, and let the ledger say which they are.

        Nobody can tell what they should be; when the page is mended it is compared with what they are.
        """
        documents, strays = self._there(todo)
        there = digests(documents)
        remembered = self._remembered.get(todo.page)
        after = msgspec.structs.replace(record, pending=False, specs=len(there), **changes)
        writes = after != todo.record or remembered is None or remembered.digests != there or bool(strays)
        after.synced = self._synced
        start = document_id(todo.page, "")
        under_way = self._under_way(todo)
        puts = [Put(start + key, source, fresh=False) for key, source in documents.items() if key in under_way]
        deletes = [*(start + key for key in under_way if key not in documents), *strays]
        return _Look(PageChange(todo.page, puts, deletes, todo.record, after, there), "unchanged", writes=writes)

    def _before(self, todo: Todo) -> tuple[Digests, list[str]]:
        """Return the digests of the documents that the index has, or may have in a moment, and strays."""
        remembered = self._remembered.get(todo.page)
        known = remembered.digests if remembered else {}
        if not todo.damaged:
            return known, []
        documents, strays = self._there(todo)
        return {**dict.fromkeys(known, b""), **digests(documents), **dict.fromkeys(self._under_way(todo), b"")}, strays

    def _under_way(self, todo: Todo) -> Digests:
        """Return the documents that a writer who died may have sent, and that may arrive only now.

        They are written again or deleted whatever is there: the newer version turns away the older one.
        """
        remembered = self._remembered.get(todo.page)
        return remembered.digests if remembered and remembered.record.pending else {}

    def _there(self, todo: Todo) -> tuple[Rendered, list[str]]:
        """Return the documents that are really there, whatever the ledger says, and strays."""
        return _stored(self._index, todo.page) if self._index else ({}, [])


def _stored(index: Reader, page: str) -> tuple[Rendered, list[str]]:
    """Return the documents of a page, and the ids of those that say they are of it though their ids say otherwise."""
    start = document_id(page, "")
    documents: Rendered = {}
    strays = []
    for each in index.documents(page):
        if each.id.startswith(start):
            documents[each.id[len(start) :]] = each.source
        else:
            strays.append(each.id)
    return documents, strays


def _left_of(index: Reader, page: str) -> Rendered:
    """Return the documents that a page has in a generation that is to be replaced; none if they are gone or damaged."""
    try:
        return _stored(index, page)[0]
    except IndexUnusableError as error:
        _log.warning("the documents of a page that can't be used now are lost", page=page, reason=str(error))
        return {}


_LOOKUP_PAGES: Final = 250
_LOOKUP_SPECS: Final = 20_000


def _fresh_last(todos: list[Todo]) -> Iterator[Todo]:
    """Leave pages that were just written to the end, and wait until their signatures can be trusted: 2 s at most."""
    now = time.time_ns()
    fresh = []
    for todo in todos:
        if todo.entry and unsettled_seconds(todo.entry.signature, now):
            fresh.append(todo)
        else:
            yield todo
    now = time.time_ns()
    current().wait(
        min(MAX_WAIT, max((unsettled_seconds(todo.entry.signature, now) for todo in fresh if todo.entry), default=0))
    )
    yield from fresh

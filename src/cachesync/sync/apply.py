"""Carry out a plan: read each page, turn it into documents, and yield what changes in the index."""

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


class _PageResult(NamedTuple):
    """The result of one page of the plan."""

    change: PageChange
    outcome: _Outcome
    """How the report counts the page, unless it is a problem."""
    shrunk: int = 0
    """How many specs fewer than before the page has."""
    new_digest: str | None = None
    """The digest of a page that wasn't in the ledger."""
    writes: bool = True
    """Whether the change has to be written to the index."""


class Apply:
    """Applies a plan once. Iterate over :meth:`changes` once; afterwards :attr:`report` is complete."""

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

        ``earlier`` is the generation that ``index`` is to replace: pages that can't be read or used now keep the
        documents that they have there.

        ``patient``: wait until the signatures of recently written pages can be trusted. Otherwise these pages are read
        at once, and again by the next pass that includes them.
        """
        self.pages = len(plan.read) + len(plan.gone)
        """How many pages the plan has."""
        self.report = Report(phases=phases, problems=list(plan.problems), before=plan.specs, again=plan.again)
        self.report.news = plan.news
        self.report.warnings = list(found.warnings)
        self.report.unsteady = [path for path, gone in found.unread.items() if gone]
        self.report.pages.unchanged = plan.unchanged
        self.report.pages.problems = len(plan.problems)
        self.written: dict[str, int] = {}
        """How many documents each page has, for pages whose change was yielded."""
        self._source = source
        self._index = index
        self._found = found
        self._plan = plan
        self._guard = guard
        self._earlier = earlier
        self._patient = patient
        self._known: dict[str, Remembered] = {}
        self._context = current()
        self._reading = self._context.awaiting(source.file_system)
        self._reappeared: set[str] = set()
        self._outcomes: dict[str, _Outcome] = {}
        """How the report counts each page that has documents to write and is not a problem."""
        self._synced = datetime.now(UTC).isoformat(timespec="seconds")

    def changes(self) -> Iterator[PageChange]:
        """Yield the changes, page by page.

        Changes that lose specs come last, and only if the guard allows them. So the whole loss is known before any of
        it happens, and all other changes are not delayed.
        """
        loss = Loss(todo.record for todo in self._plan.gone if todo.record and todo.page not in self._plan.moved)
        shrunk: dict[str, int] = {}
        shrinking: list[Todo] = []
        for todo in self._prefetched(_recent_last(self._plan.read) if self._patient else self._plan.read):
            result = self._process(todo)
            if result is None:
                continue
            if result.new_digest:
                loss.appeared(result.new_digest)
            if result.shrunk:
                loss.shrunk(result.shrunk)
                shrunk[todo.page] = result.shrunk
                shrinking.append(todo)
            elif self._record_result(result):
                yield result.change
        yield from (result.change for result in self._carry_over_unscanned() if self._record_result(result))
        self.report.lost = loss.total()
        losing = [*shrinking, *self._plan.gone]
        if self._guard.refuses(self.report.lost, self._plan.specs):
            gone = {todo.page: todo.record.specs for todo in self._plan.gone if todo.record}
            self.report.withheld = {todo.page: shrunk.get(todo.page, gone.get(todo.page, 0)) for todo in losing}
        else:
            yield from self._allowed_losses(losing, shrunk, loss)

    def _allowed_losses(self, losing: list[Todo], shrunk: dict[str, int], loss: Loss) -> Iterator[PageChange]:
        """Yield the changes that lose specs. Each page is checked again, and skipped if it would lose more by now."""
        for todo in self._prefetched(losing):
            result = self._process(todo)
            if result is None or result.shrunk > shrunk.get(todo.page, 0):
                self._mark_unsteady(todo.page)
                loss.averted(todo.record, shrunk.get(todo.page))
                self.report.lost = loss.total()
            elif self._record_result(result):
                yield result.change

    def refused(self, written: Written) -> None:
        """Report a page as a problem because the index refused some of its documents."""
        page = written.page
        reasons = {key_of(page, each.id): each.reason for each in written.refused}
        self.report.specs.added -= len(reasons)
        self.written[page] -= len(reasons)
        outcome = self._outcomes.pop(page, None)
        if outcome is None:  # it is already a problem
            return
        self._count(outcome, -1)
        self.report.pages.problems += 1
        self.report.problems.append(Problem(page, refusal(reasons)))

    def _prefetched(self, todos: Iterable[Todo]) -> Iterator[Todo]:
        """Yield the pages after fetching their ledger entries in chunks, which bound the memory."""
        chunk: list[Todo] = []
        specs = 0
        for todo in todos:
            chunk.append(todo)
            specs += todo.record.specs if todo.record else 0
            if len(chunk) >= _LOOKUP_PAGES or specs >= _LOOKUP_SPECS:
                yield from self._prefetch(chunk)
                chunk, specs = [], 0
        yield from self._prefetch(chunk)

    def _prefetch(self, todos: list[Todo]) -> list[Todo]:
        known = [todo.page for todo in todos if todo.record]
        self._known = self._index.remembered(known) if self._index and known else {}
        self._reappeared = self._find_reappeared([todo.page for todo in todos if todo.entry is None])
        return todos

    def _find_reappeared(self, pages: list[str]) -> set[str]:
        """Return those of ``pages`` that exist again, or of which it isn't known any more whether they do."""
        if not pages:
            return set()
        now = scan_at(self._source, pages, root_of(self._source))
        return {page for page in pages if page in now.entries or not now.covers(page)}

    def _record_result(self, result: _PageResult) -> bool:
        """Add a page's result to the report, and return whether there is anything to write."""
        change = result.change
        if change.record and change.record.problem:
            self.report.pages.problems += 1
            self.report.problems.append(Problem(change.page, change.record.problem, change.record.line))
        else:
            self._count(result.outcome, 1)
            if change.puts:
                self._outcomes[change.page] = result.outcome
        self.report.records += (change.record is not None) - (change.before is not None)
        added = [put.is_new for put in change.puts].count(True)
        if change.record:
            self.written[change.page] = change.record.specs
        self.report.specs.added += added
        self.report.specs.updated += len(change.puts) - added
        self.report.specs.deleted += len(change.deletes)
        return result.writes

    def _count(self, outcome: _Outcome, number: int) -> None:
        setattr(self.report.pages, outcome, getattr(self.report.pages, outcome) + number)

    def _process(self, todo: Todo) -> _PageResult | None:
        """Read a page and compare it with the index; return None if it is changing right now."""
        self._context.check()
        if todo.entry is None:
            if todo.page in self._reappeared:
                return None
            before, foreign_ids = self._current_digests(todo)
            return _PageResult(page_change(todo, {}, before, None, foreign_ids), "deleted")
        with self._reading:
            found = read(self._source, todo.entry)
        match found:
            case Content() as content:
                return self._content(todo, content)
            case Unreadable(message):
                return self._problem(todo, todo.entry.signature, Problem(todo.page, message))
            case Changing():
                self._mark_unsteady(todo.page)
                return self._carry_over(todo, settled=False)

    def _mark_unsteady(self, page: str) -> None:
        self.report.again = True
        self.report.unsteady.append(page)

    def _content(self, todo: Todo, content: Content) -> _PageResult:
        digest = content_digest(content.data)
        if todo.record and todo.record.digest == digest and not todo.check_documents:
            return self._unchanged_content(todo, todo.record, content)
        page = parse(todo.page, content.data)
        if isinstance(page, Problem):
            return self._problem(todo, content.signature, page, content.settled, digest)
        rendered = render(page)
        if isinstance(rendered, Problem):
            return self._problem(todo, content.signature, rendered, content.settled, digest)
        if self._index and self._index.outdated:
            rendered = {key: fitting(text, self._index.fields) for key, text in rendered.items()}
        return self._parsed(todo, page, rendered, content, digest)

    def _parsed(self, todo: Todo, page: Page, rendered: Rendered, content: Content, digest: str) -> _PageResult:
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
        before, foreign_ids = self._current_digests(todo)
        change = page_change(todo, rendered, before, record, foreign_ids)
        if todo.record is None:
            return _PageResult(change, "added", new_digest=digest)
        return _PageResult(change, "updated", shrunk=max(0, todo.record.specs - len(rendered)))

    def _unchanged_content(self, todo: Todo, record: PageRecord, content: Content) -> _PageResult:
        """Update only the signature: the file has a new one, or an old one that is trusted now, but the same bytes."""
        return self._update_record(todo, record, signature=content.signature, settled=content.settled)

    def _problem(
        self, todo: Todo, signature: Signature, problem: Problem, settled: bool = False, digest: str | None = None
    ) -> _PageResult:
        """Keep the earlier documents of a page that can't be used, and record why in the ledger."""
        changes: dict[str, Any] = {
            "signature": signature,
            "settled": settled,
            "digest": digest,
            "problem": problem.message,
            "line": problem.line,
        }
        carried = self._carry_over(todo, **changes)
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
        update = self._adopt_documents if todo.check_documents else self._update_record
        return update(todo, record, **changes)

    def _carry_over(self, todo: Todo, **changes: Any) -> _PageResult | None:
        """Copy the documents of a page that can't be used now from the earlier generation, if it has any there."""
        if self._earlier is None or todo.record or todo.check_documents:
            return None
        known = self._earlier.remembered([todo.page]).get(todo.page)
        rendered = _kept_documents(self._earlier, todo.page) if known else {}
        if not (known and rendered):
            return None
        changes |= {"pending": False, "specs": len(rendered), "synced": self._synced}
        record = msgspec.structs.replace(known.record, **changes)
        return _PageResult(page_change(todo, rendered, {}, record), "unchanged", new_digest=record.digest)

    def _carry_over_unscanned(self) -> Iterator[_PageResult]:
        """Carry over the pages below folders that can't be listed."""
        if self._earlier is None or not self._found.unread:
            return
        for record in self._earlier.records():
            unseen = record.page not in self._found.entries and not self._found.covers(record.page)
            if unseen and not (self._index and self._index.remembered([record.page])):
                result = self._carry_over(Todo(record.page, None, None))
                if result:
                    yield result

    def _update_record(self, todo: Todo, record: PageRecord, **changes: Any) -> _PageResult:
        """Keep a page's documents, and update its ledger record if that differs."""
        after = msgspec.structs.replace(record, **changes)
        writes = after != todo.record
        after.synced = self._synced
        before = self._current_digests(todo)[0] if writes else {}
        return _PageResult(PageChange(todo.page, [], [], todo.record, after, before), "unchanged", writes=writes)

    def _adopt_documents(self, todo: Todo, record: PageRecord, **changes: Any) -> _PageResult:
        """Keep the documents that the index really has of a page, and record these in the ledger.

        What they should be is not known while the page can't be used. Once it can, it is compared with this record.
        """
        documents, foreign_ids = self._stored_documents(todo)
        stored = digests(documents)
        known = self._known.get(todo.page)
        after = msgspec.structs.replace(record, pending=False, specs=len(stored), **changes)
        writes = after != todo.record or known is None or known.digests != stored or bool(foreign_ids)
        after.synced = self._synced
        start = document_id(todo.page, "")
        in_flight = self._possibly_in_flight(todo)
        puts = [Put(start + key, source, is_new=False) for key, source in documents.items() if key in in_flight]
        deletes = [*(start + key for key in in_flight if key not in documents), *foreign_ids]
        return _PageResult(PageChange(todo.page, puts, deletes, todo.record, after, stored), "unchanged", writes=writes)

    def _current_digests(self, todo: Todo) -> tuple[Digests, list[str]]:
        """Return the digests of the documents that the index has or is about to have, and foreign ids.

        An empty digest differs from any document's.
        """
        known = self._known.get(todo.page)
        recorded = known.digests if known else {}
        if not todo.check_documents:
            return recorded, []
        documents, foreign_ids = self._stored_documents(todo)
        in_flight = dict.fromkeys(self._possibly_in_flight(todo), b"")
        return {**dict.fromkeys(recorded, b""), **digests(documents), **in_flight}, foreign_ids

    def _possibly_in_flight(self, todo: Todo) -> Digests:
        """Return the documents that a writer that died may have sent, and that may arrive only now.

        They are always written again or deleted: an older version can't replace a newer one.
        """
        known = self._known.get(todo.page)
        return known.digests if known and known.record.pending else {}

    def _stored_documents(self, todo: Todo) -> tuple[Rendered, list[str]]:
        """Return the documents that the index really has of a page, and foreign ids."""
        return _documents_of(self._index, todo.page) if self._index else ({}, [])


def _documents_of(index: Reader, page: str) -> tuple[Rendered, list[str]]:
    """Return the documents of a page, and foreign ids: those of documents that name the page but have no id of it."""
    start = document_id(page, "")
    documents: Rendered = {}
    foreign_ids = []
    for each in index.documents(page):
        if each.id.startswith(start):
            documents[each.id[len(start) :]] = each.source
        else:
            foreign_ids.append(each.id)
    return documents, foreign_ids


def _kept_documents(index: Reader, page: str) -> Rendered:
    """Return the documents of a page in a generation that is to be replaced; none if these can't be read."""
    try:
        return _documents_of(index, page)[0]
    except IndexUnusableError as error:
        _log.warning(
            "the documents of a page that can't be used now are lost",
            action="page.documents_lost",
            page=page,
            reason=str(error),
        )
        return {}


_LOOKUP_PAGES: Final = 250
_LOOKUP_SPECS: Final = 20_000


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

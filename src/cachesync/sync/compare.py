"""Compare a page that was read with what the index holds of the page: page → :class:`PageResult`.

.. code-block:: text

    the page is gone ────────────────────────────────────► delete its documents and its record
    the bytes equal those in the ledger ─────────────────► update the signature in its record
    other bytes ─► parse ─► render ─┬─► documents ───────► write those that are new or differ, delete the others
    the page can't be read ─────────┴─► a problem ───────► keep its documents, note the problem in its record

The comparison takes the page's documents from the ledger, unless the plan doubts the ledger (``Todo.check_documents``);
then it searches the index for them. One reason for doubt is a crash: afterwards the page's record is still *pending*,
and names the documents that were about to change. Their writes may arrive even now, so each of these documents is
written again or deleted; an older version of a document can't replace a newer one.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from cachesync.documents import Rendered, document_id, fitting, render, summary
from cachesync.errors import IndexUnusableError
from cachesync.index.generation import PageChange, Reader, Remembered
from cachesync.ledger import Digests, PageRecord, content_digest, digests
from cachesync.log import get_logger
from cachesync.pages.page import Problem, folder_of, parse, tag_of
from cachesync.sync.plan import Todo, page_change
from cachesync.sync.read import Content, Unreadable
from cachesync.sync.results import PageResult

_log = get_logger()


class Comparer:
    """Compares pages with a generation."""

    def __init__(self, index: Reader | None, earlier: Reader | None) -> None:
        """``index`` and ``earlier`` are as for :class:`cachesync.sync.apply.Apply`."""
        self._index = index
        self._earlier = earlier
        self._synced = datetime.now(UTC).isoformat(timespec="seconds")

    def compare(self, todo: Todo, content: Content | Unreadable | None, known: Remembered | None) -> PageResult:
        """Compare a page's content (None: the page is gone) with what the index has of it, according to ``known``."""
        if content is None or todo.entry is None:
            return PageResult(self._change(todo, {}, known, None), "deleted")
        if isinstance(content, Unreadable):
            problem = Problem(todo.page, content.message)
            return self._problem(todo, problem, known, signature=todo.entry.signature, settled=False, digest=None)
        digest = content_digest(content.data)
        seen: dict[str, Any] = {"signature": content.signature, "settled": content.settled, "digest": digest}
        if todo.record and todo.record.digest == digest and not todo.check_documents:
            return self._kept(todo, todo.record, known, **seen)
        page = parse(todo.page, content.data)
        if isinstance(page, Problem):
            return self._problem(todo, page, known, **seen)
        rendered = render(page)
        if isinstance(rendered, Problem):
            return self._problem(todo, rendered, known, **seen)
        if self._index and self._index.outdated:
            rendered = {key: fitting(text, self._index.fields) for key, text in rendered.items()}
        record = PageRecord(
            page=todo.page,
            package=page.package,
            tag=page.tag,
            specs=len(rendered),
            synced=self._synced,
            **summary(page)._asdict(),
            **seen,
        )
        change = self._change(todo, rendered, known, record)
        if todo.record is None:
            return PageResult(change, "added", new_digest=digest)
        return PageResult(change, "updated", shrunk=max(0, todo.record.specs - len(rendered)))

    def carry_over(self, todo: Todo, **seen: Any) -> PageResult | None:
        """Copy the documents of a page that is currently unusable from the earlier generation, if it has any.

        ``seen`` are the fields of the ledger record that differ from the earlier generation's record.
        """
        if self._earlier is None or todo.record or todo.check_documents:
            return None
        known = self._earlier.remembered([todo.page]).get(todo.page)
        rendered = _kept_documents(self._earlier, todo.page) if known else {}
        if not (known and rendered):
            return None
        seen |= {"pending": False, "specs": len(rendered), "synced": self._synced}
        record = msgspec.structs.replace(known.record, **seen)
        return PageResult(page_change(todo, rendered, {}, record), "unchanged", new_digest=record.digest)

    def _problem(self, todo: Todo, problem: Problem, known: Remembered | None, **seen: Any) -> PageResult:
        """Keep the earlier documents of a page that is unusable, and record the problem in the ledger."""
        seen |= {"problem": problem.message, "line": problem.line}
        record = todo.record or PageRecord(
            page=todo.page, package=folder_of(todo.page), tag=tag_of(todo.page), synced="", **seen
        )
        keep = self._adopted if todo.check_documents else self._kept
        return self.carry_over(todo, **seen) or keep(todo, record, known, **seen)

    def _kept(self, todo: Todo, record: PageRecord, known: Remembered | None, **seen: Any) -> PageResult:
        """Keep a page's documents, and update its ledger record if the record differs."""
        after = msgspec.structs.replace(record, **seen)
        writes = after != todo.record
        after.synced = self._synced
        change = PageChange(todo.page, [], [], todo.record, after, _recorded(known))
        return PageResult(change, "unchanged", writes=writes)

    def _adopted(self, todo: Todo, record: PageRecord, known: Remembered | None, **seen: Any) -> PageResult:
        """Keep the documents that the index actually has of a page, and record them in the ledger.

        The right documents are unknown while the page is unusable. Once it is usable, it is compared with this record.
        """
        documents, foreign_ids = self._stored(todo)
        stored = digests(documents)
        after = msgspec.structs.replace(record, pending=False, specs=len(stored), **seen)
        writes = after != todo.record or known is None or known.digests != stored or bool(foreign_ids)
        after.synced = self._synced
        change = page_change(todo, documents, stored | _possibly_in_flight(known), after, foreign_ids)
        return PageResult(change, "unchanged", writes=writes)

    def _change(
        self, todo: Todo, rendered: Rendered, known: Remembered | None, record: PageRecord | None
    ) -> PageChange:
        """Compare documents with those that the index has or is about to have."""
        recorded = _recorded(known)
        if not todo.check_documents:
            return page_change(todo, rendered, recorded, record)
        documents, foreign_ids = self._stored(todo)
        before = _in_doubt(recorded) | digests(documents) | _possibly_in_flight(known)
        return page_change(todo, rendered, before, record, foreign_ids)

    def _stored(self, todo: Todo) -> tuple[Rendered, list[str]]:
        return _documents_of(self._index, todo.page) if self._index else ({}, [])


def _recorded(known: Remembered | None) -> Digests:
    return known.digests if known else {}


def _in_doubt(recorded: Digests) -> Digests:
    """Return empty digests, which differ from any document's digest."""
    return dict.fromkeys(recorded, b"")


def _possibly_in_flight(known: Remembered | None) -> Digests:
    """Return the documents that a crashed writer may have sent and that may arrive only now."""
    return _in_doubt(known.digests) if known and known.record.pending else {}


def _documents_of(index: Reader, page: str) -> tuple[Rendered, list[str]]:
    """Return a page's documents, and the ids of foreign documents, which name the page but don't have its ids."""
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
    """Return a page's documents in a generation that is to be replaced, or none if they can't be read."""
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

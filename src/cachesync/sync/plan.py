"""Plan what a pass has to do. All functions are pure: they compare a scan with the ledger."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cachesync.documents import Rendered, document_id
from cachesync.index.generation import PageChange, Put
from cachesync.ledger import Digests, PageRecord, digests
from cachesync.pages.page import PREFIX, SUFFIX, Problem, identity
from cachesync.pages.pattern import Pattern
from cachesync.sync.scan import Entry, Scan


class Todo(NamedTuple):
    """A page to read or to delete."""

    page: str
    entry: Entry | None
    """The page on disk; None: the page is gone, so its documents are to be deleted."""
    record: PageRecord | None
    """The page's record in the ledger; None: the ledger has no record of the page."""
    check_documents: bool = False
    """Whether to read the page's documents from the index, because they may differ from those in the ledger."""

    @property
    def is_news(self) -> bool:
        """Whether the page on disk differs from the ledger's record."""
        if self.entry is None or self.record is None:
            return bool(self.entry or self.record) and not (self.check_documents and self.record is None)
        return self.entry.signature != self.record.signature

    @property
    def is_retry(self) -> bool:
        """Whether the page couldn't be read before and hasn't changed since, so that the index needs no update."""
        same_file = self.entry and self.record and self.entry.signature == self.record.signature
        return bool(same_file) and not self.check_documents and _unread_before(self.record)


@dataclass
class Plan:
    """What a pass has to do, page by page. Unchanged pages are only counted."""

    found: Scan
    """The scan that the plan was made from."""
    read: list[Todo] = field(default_factory=list)
    gone: list[Todo] = field(default_factory=list)
    unchanged: int = 0
    """The number of unchanged pages without a problem."""
    problems: list[Problem] = field(default_factory=list)
    """Problems of unchanged pages, and problems that can't be in the ledger, see :class:`cachesync.sync.scan.Scan`."""
    specs: int = 0
    """How many specs the index has before the pass, according to its ledger. A loss is measured against this number."""
    moved: set[str] = field(default_factory=set)
    """Pages in ``gone`` whose ids another page on disk takes over in the next pass."""
    again: bool = False
    """Whether another pass is needed because pages changed during the scan or have to wait for this pass's deletes."""

    @property
    def news(self) -> list[str]:
        """The pages that differ on disk from the ledger's records."""
        return [todo.page for todo in (*self.read, *self.gone) if todo.is_news]


def plan(found: Scan, records: Iterable[PageRecord], counts: dict[str, int], suspects: Iterable[str] = ()) -> Plan:
    """Compare the pages on disk with the ledger, and the ledger with the number of documents of each page.

    ``suspects`` are pages whose documents are to be checked even if their number is right.
    """
    result = Plan(found, problems=list(found.problems), again=any(found.unread.values()))
    suspected = frozenset(suspects)
    unknown = dict(found.entries)
    orphans = dict(counts)
    owners = _Owners(found)
    for record in records:
        entry = unknown.pop(record.page, None)
        check_documents = orphans.pop(record.page, 0) != record.specs or record.pending or record.page in suspected
        result.specs += record.specs
        owners.add(record)
        if entry is None and found.covers(record.page):
            result.gone.append(Todo(record.page, None, record, check_documents))
        elif entry and (check_documents or not _same(entry, record)):
            result.read.append(Todo(record.page, entry, record, check_documents))
        elif record.problem:
            result.problems.append(Problem(record.page, record.problem, record.line))
        else:
            result.unchanged += 1
    result.read += [Todo(page, entry, None, page in orphans) for page, entry in unknown.items()]
    result.gone += [Todo(page, None, None, True) for page in orphans if page not in unknown and found.covers(page)]
    result.read.sort(key=lambda todo: todo.page)
    result.gone.sort(key=lambda todo: todo.page)
    owners.settle(result)
    return result


def _same(entry: Entry, record: PageRecord) -> bool:
    """Return whether a page needn't be read again. A page that couldn't be read has no digest: each pass retries it."""
    can_be_read = entry.fault is None and not _unread_before(record)
    return can_be_read and record.settled and record.signature == entry.signature


def _unread_before(record: PageRecord | None) -> bool:
    return record is not None and record.digest is None


def ids_are_unique(pattern: Pattern) -> bool:
    """Return whether a pattern, like the default one, gives the documents of every page distinct ids."""
    return pattern.is_fixed_to(PREFIX, SUFFIX.removeprefix("/"))


class _Owners:
    """Finds pages whose documents would have another page's ids: ``a/b/specs.md`` beside ``_cache/a/b/specs.md``.

    Only patterns other than the default allow such pages. The page that has documents owns the ids until it is deleted.
    """

    def __init__(self, found: Scan) -> None:
        self._entries = found.entries
        self._odd = {identity(path) for path in found.entries if _is_odd(path)}
        self._owners: dict[str, str] = {}

    def add(self, record: PageRecord) -> None:
        """Record the owner of ids that another page's documents may have."""
        key = identity(record.page)
        if (key in self._odd or _is_odd(record.page)) and (record.digest or record.specs):
            self._owners[key] = record.page

    def settle(self, result: Plan) -> None:
        """Give pages whose ids have another owner a fault, or postpone them if the owner is about to be deleted."""
        if not (self._odd or self._owners):
            return
        read, result.read = result.read, []
        for todo in read:
            owner = self._owners.setdefault(identity(todo.page), todo.page)
            if owner == todo.page or todo.entry is None:
                result.read.append(todo)
            elif owner in self._entries:
                fault = f"its documents would have the ids of those of {owner}: expected one of the two"
                result.read.append(todo._replace(entry=todo.entry._replace(fault=fault)))
            else:
                result.moved.add(owner)
                result.again = True


def _is_odd(path: str) -> bool:
    """Return whether another path can have the same identity."""
    return path != f"{PREFIX}{identity(path)}{SUFFIX}"


def page_change(
    todo: Todo, rendered: Rendered, before: Digests, record: PageRecord | None, foreign_ids: Sequence[str] = ()
) -> PageChange:
    """Compare a page's documents with those in the index: write those that are new or differ, and delete the others.

    ``foreign_ids`` are those of documents that name the page but don't have ids of that page; they are deleted as well.
    """
    after = digests(rendered)
    start = document_id(todo.page, "")
    puts = [
        Put(start + key, source, is_new=key not in before)
        for key, source in rendered.items()
        if before.get(key) != after[key]
    ]
    deletes = [*(start + key for key in before if key not in after), *foreign_ids]
    return PageChange(todo.page, puts, deletes, todo.record, record, after)

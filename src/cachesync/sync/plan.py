"""What to do: pure functions of what is on disk and what the ledger says."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cachesync.documents import Rendered, document_id
from cachesync.index.base import PageChange, Put
from cachesync.ledger import Digests, PageRecord, digests
from cachesync.pages.page import PREFIX, SUFFIX, Problem, identity
from cachesync.pages.pattern import Pattern
from cachesync.sync.scan import Entry, Scan


class Todo(NamedTuple):
    """A page to look at."""

    page: str
    entry: Entry | None
    """What is on disk; None: nothing, so its documents go."""
    record: PageRecord | None
    """What the ledger says; None: it doesn't know the page."""
    damaged: bool = False
    """The index may hold other documents of it than the ledger says: look at the documents themselves."""

    @property
    def is_news(self) -> bool:
        """It isn't on disk as the ledger knows it."""
        if self.entry is None or self.record is None:
            return bool(self.entry or self.record) and not (self.damaged and self.record is None)
        return self.entry.signature != self.record.signature

    @property
    def is_retry(self) -> bool:
        """It couldn't be read before, and nothing has changed since: the index is as good as it can be."""
        same_file = self.entry and self.record and self.entry.signature == self.record.signature
        return bool(same_file) and not self.damaged and _unread_before(self.record)


@dataclass
class Plan:
    """What a pass has to do, by page. Of pages that are as they were, only the number is kept."""

    read: list[Todo] = field(default_factory=list)
    gone: list[Todo] = field(default_factory=list)
    unchanged: int = 0
    """Pages that are as they were, but for those that were problems."""
    problems: list[Problem] = field(default_factory=list)
    """Of pages that are as they were, and of what can't be in the ledger, see :class:`cachesync.sync.scan.Scan`."""
    specs: int = 0
    """How many specs the index has before the pass, by its ledger: what a loss is measured against."""
    moved: set[str] = field(default_factory=set)
    """Pages in ``gone`` that are found again where their documents will have the same ids."""
    again: bool = False
    """What was on disk changed while it was listed, or waits for what this pass does: another pass is needed."""

    @property
    def news(self) -> list[str]:
        """The pages that aren't on disk as the ledger knows them."""
        return [todo.page for todo in (*self.read, *self.gone) if todo.is_news]


def plan(found: Scan, records: Iterable[PageRecord], counts: dict[str, int], suspects: Iterable[str] = ()) -> Plan:
    """Compare the pages on disk with the ledger, and the ledger with the documents that are really there.

    ``suspects`` are pages whose documents are to be looked at though their number is right.
    """
    result = Plan(problems=list(found.problems), again=any(found.unread.values()))
    suspected = frozenset(suspects)
    unknown = dict(found.entries)
    orphans = dict(counts)
    owners = _Owners(found)
    for record in records:
        entry = unknown.pop(record.page, None)
        damaged = orphans.pop(record.page, 0) != record.specs or record.pending or record.page in suspected
        result.specs += record.specs
        owners.add(record)
        if entry is None and found.covers(record.page):
            result.gone.append(Todo(record.page, None, record, damaged))
        elif entry and (damaged or not _same(entry, record)):
            result.read.append(Todo(record.page, entry, record, damaged))
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
    """Tell whether a page needn't be read again. What couldn't be read has no digest, and is tried at every pass."""
    can_be_read = entry.fault is None and not _unread_before(record)
    return can_be_read and record.settled and record.signature == entry.signature


def _unread_before(record: PageRecord | None) -> bool:
    return record is not None and record.digest is None


def ids_are_unique(pattern: Pattern) -> bool:
    """Tell whether no two pages of a pattern can have documents with the same ids, as with the default one."""
    return pattern.is_fixed_to(PREFIX, SUFFIX.removeprefix("/"))


class _Owners:
    """Finds pages whose documents would have another page's ids: ``a/b/specs.md`` beside ``_cache/a/b/specs.md``.

    Only patterns other than the default let that happen. The page that has documents keeps its ids until it is gone.
    """

    def __init__(self, found: Scan) -> None:
        self._entries = found.entries
        self._odd = {identity(path) for path in found.entries if _is_odd(path)}
        self._owners: dict[str, str] = {}

    def add(self, record: PageRecord) -> None:
        """Remember a page that has ids which another may want."""
        key = identity(record.page)
        if (key in self._odd or _is_odd(record.page)) and (record.digest or record.specs):
            self._owners[key] = record.page

    def settle(self, result: Plan) -> None:
        """Give the pages that want another's ids a fault, or put them off until that page's documents are deleted."""
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
    """Tell whether another path can have the same identity."""
    return path != f"{PREFIX}{identity(path)}{SUFFIX}"


def page_change(
    todo: Todo, rendered: Rendered, before: Digests, record: PageRecord | None, strays: Sequence[str] = ()
) -> PageChange:
    """Compare a page's documents with those that the index has: write what is new or differs, delete what is gone.

    ``strays`` are ids that the index has beside them, and that no document of the page can have.
    """
    after = digests(rendered)
    start = document_id(todo.page, "")
    if before:
        puts = [
            Put(start + key, source, key not in before)
            for key, source in rendered.items()
            if before.get(key) != after[key]
        ]
    else:
        puts = [Put(start + key, source, True) for key, source in rendered.items()]
    deletes = [*(start + key for key in before if key not in after), *strays]
    return PageChange(todo.page, puts, deletes, todo.record, record, after)

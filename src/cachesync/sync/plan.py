"""What to do: pure functions of what is on disk and what the ledger says."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from cachesync.documents import Rendered, document_id
from cachesync.index.base import PageChange, Put
from cachesync.ledger import Digests, PageRecord, digests
from cachesync.pages.page import Problem
from cachesync.sync.scan import Entry, Scan


class Todo(NamedTuple):
    """A page to look at."""

    page: str
    entry: Entry | None
    """What is on disk; None: nothing, so its documents go."""
    record: PageRecord | None
    """What the ledger says; None: it doesn't know the page."""
    damaged: bool = False
    """The index doesn't hold as many documents of it as the ledger says."""


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
    """How many specs the ledger counts before the pass: what a loss is measured against."""


def plan(found: Scan, records: Iterable[PageRecord], counts: dict[str, int]) -> Plan:
    """Compare the pages on disk with the ledger, and the ledger with the documents that are really there."""
    result = Plan(problems=list(found.problems))
    unknown = dict(found.entries)
    orphans = dict(counts)
    for record in records:
        entry = unknown.pop(record.page, None)
        damaged = orphans.pop(record.page, 0) != record.specs
        result.specs += record.specs
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
    return result


def _same(entry: Entry, record: PageRecord) -> bool:
    """Tell whether a page needn't be read again. What couldn't be read has no digest, and is tried at every pass."""
    read_whole = record.digest is not None and entry.fault is None
    return read_whole and record.settled and record.signature == entry.signature


def page_change(todo: Todo, rendered: list[Rendered], before: Digests, record: PageRecord | None) -> PageChange:
    """Compare a page's documents with those that the index has: write what is new or differs, delete what is gone."""
    after = digests(rendered)
    puts = [
        Put(document_id(todo.page, key), source, fresh=key not in before)
        for key, source in rendered
        if before.get(key) != after[key]
    ]
    deletes = [document_id(todo.page, key) for key in before if key not in after]
    return PageChange(todo.page, puts, deletes, record, after, known=todo.record is not None)


class Loss:
    """Counts the specs that a pass would lose, so that an emptied or unmounted root doesn't empty the index.

    Lost is, summed over the pages, how many specs fewer a page has than before. A page that is found again under
    another name (the same bytes elsewhere) isn't lost.
    """

    def __init__(self, gone: Iterable[Todo]) -> None:
        self._gone: dict[str, list[int]] = {}
        self._moved: Counter[str] = Counter()
        self._shrunk = 0
        for todo in gone:
            if todo.record:
                self._gone.setdefault(todo.record.digest or "", []).append(todo.record.specs)

    def shrunk(self, by: int) -> None:
        """A page has ``by`` specs fewer than before."""
        self._shrunk += by

    def appeared(self, digest: str) -> None:
        """A page that the ledger didn't know has this content."""
        self._moved[digest] += 1

    def total(self) -> int:
        """Return how many specs are lost as far as the pass has seen."""
        moved = self._moved
        return self._shrunk + sum(sum(specs[moved[digest] :]) for digest, specs in self._gone.items())

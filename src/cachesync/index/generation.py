"""The interface of one generation of an index: its documents, and the ledger that describes them.

Because one generation contains both, documents and ledger are always swapped, deleted and found together.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from cachesync.ledger import Digests, PageRecord
from cachesync.search.query import Query
from cachesync.search.request import Found, Hit, Part, Request


class Put(msgspec.Struct, frozen=True, gc=False):
    """A document to store."""

    id: str
    source: bytes
    """The document's fields as one JSON object, ready to be sent."""
    is_new: bool
    """Whether the document is new, that is, the index holds no document with this id."""


class PageChange(NamedTuple):
    """All changes to one page. The changes are atomic: after a crash they are either done or recognised as not done."""

    page: str
    puts: list[Put]
    deletes: list[str]
    before: PageRecord | None
    """The page's ledger record before the change; None if there was no record."""
    record: PageRecord | None
    """The page's ledger record after the change; None if the page is gone."""
    digests: Digests
    """The digests of the page's documents after the change."""


class RejectedDocument(NamedTuple):
    """A document that the index rejects, however often it is sent."""

    id: str
    reason: str


class Written(NamedTuple):
    """An acknowledged change of a page, which no crash can undo."""

    page: str
    refused: list[RejectedDocument]


class Remembered(NamedTuple):
    """Everything that the ledger stores for a page."""

    record: PageRecord
    digests: Digests


class Stored(NamedTuple):
    """A document that is in the index."""

    page: str
    id: str
    source: bytes
    """The document's fields as JSON, as they were rendered."""


# Many methods: one for each question that a command, a pass or a search asks of an index.
class Reader(Protocol):
    """One generation, as it was when it was opened.

    Every method may raise IndexUnavailableError, or IndexUnusableError if the generation is corrupt or gone.
    """

    @property
    def generation(self) -> str:
        """The generation's name."""

    @property
    def outdated(self) -> bool:
        """Whether a version with other fields or documents made the generation.

        An outdated generation works, but its documents have only the fields in ``fields`` until the next reindex.
        """

    @property
    def fields(self) -> Collection[str]:
        """The fields that the generation's documents may have."""

    def state(self) -> str:
        """Return a string that changes whenever searches may find something else. The call costs a small search."""

    def records(self, below: Sequence[str] = ()) -> Iterator[PageRecord]:
        """Yield the ledger's records, in any order.

        If ``below`` names folders, yield only the records of pages below them. There may be at most a few hundred
        folders, each with a trailing slash.
        """

    def remembered(self, pages: Sequence[str]) -> dict[str, Remembered]:
        """Look up pages in the ledger. The result leaves out pages that the ledger doesn't have."""

    def counts(self) -> dict[str, int]:
        """Count the documents that are actually in the index, by page."""

    def documents(self, page: str | None = None) -> Iterator[Stored]:
        """Yield the documents of a page, or of all pages in the order of their paths."""

    def search(self, request: Request) -> Found:
        """Run a search."""

    def walk(self, request: Request) -> Iterator[Part]:
        """Yield all documents that match a request, as they are now and in the request's order, in parts.

        The request's limit is ignored, facets and binaries aren't counted, and each document is a hit. The cost is
        proportional to the number of documents; memory use doesn't depend on that number.
        """

    def count(self, queries: Sequence[Query]) -> list[int]:
        """Count the documents that match each of the queries (a few dozen at most)."""

    def vocabulary(self, field: str, start: str = "") -> list[str]:
        """Return the sorted values of a keyword field that begin with ``start``.

        The call is cheap because nothing is counted, so values that only deleted documents had may be included.
        """

    def vocabularies(self, fields: Sequence[str]) -> dict[str, list[str]]:
        """Return the values of several keyword fields, in less time than listing one field after another would take."""

    def packages(self) -> dict[str, int]:
        """Return all packages with the approximate number of documents of each. The call costs less than a facet."""

    def get(self, id: str) -> Hit | None:
        """Return one document, or None if it doesn't exist."""

    def size(self) -> tuple[int, int]:
        """Count spec documents and pages."""


class Generation(Reader, Protocol):
    """A generation open for writing."""

    def write(self, changes: Iterable[PageChange], *, refresh: bool = True) -> Iterator[Written]:
        """Carry out changes, at most one for each page, and yield each page as its change is acknowledged.

        Changes are consumed as fast as the engine can send them, and batched by size: only a few batches are in memory
        at a time. A page that was yielded is safe. Other pages may be lost in a crash and must then be written again.
        If ``refresh``, then once the iteration has finished, searches find everything that was written. Without
        changes, nothing is written.

        If ``changes`` raises, or the caller stops iterating, batches that are already being sent get a few seconds to
        complete, and all other batches are dropped.

        Two threads may write to two generations of one writer at the same time.

        A document that the index rejects becomes its page's problem, see :func:`cachesync.ledger.without`.

        Raises:
            OvertakenError: another writer has written since this generation was opened; pages that weren't yielded
                aren't written.
            IndexUnavailableError: the index stayed unreachable. Pages that weren't yielded must be written again.
        """

    def refresh(self) -> None:
        """Make everything that was written visible to searches."""

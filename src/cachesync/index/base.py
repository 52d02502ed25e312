"""The interface of an index. Engines keep it, one contract suite tests them all.

An index is a row of *generations*; one of them is live, the others are being built or kept. Each generation holds
spec documents and, beside them, the ledger that describes them, so both are always swapped, deleted and found
together.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from cachesync.ledger import Digests, PageRecord
from cachesync.search.request import Answer, Hit, Request


class Put(NamedTuple):
    """A document to store."""

    id: str
    source: bytes
    """Its fields as one JSON object, ready to be sent."""
    fresh: bool
    """The index holds no document of this id."""


class PageChange(NamedTuple):
    """All that changes for one page. It happens as a whole: after a crash it is either done or seen as not done."""

    page: str
    puts: list[Put]
    deletes: list[str]
    record: PageRecord | None
    """What the ledger says afterwards; None: the page is gone."""
    digests: Digests
    known: bool
    """The ledger has a record of this page already."""


class Refusal(NamedTuple):
    """A document that the index won't take, whatever is tried."""

    id: str
    reason: str


class Written(NamedTuple):
    """A page's change is acknowledged: from now on no crash undoes it."""

    page: str
    refused: list[Refusal]


class Reader(Protocol):
    """One generation, as it was when it was opened.

    Every method may raise IndexUnusableError.
    """

    @property
    def generation(self) -> str:
        """Its name."""

    def records(self) -> Iterator[PageRecord]:
        """Walk the ledger, in any order."""

    def digests(self, page: str) -> Digests:
        """Return the digests of a page's specs; none for a page that the ledger doesn't know."""

    def counts(self) -> dict[str, int]:
        """Count the documents that are really there, by page."""

    def ids(self, page: str) -> list[str]:
        """Return the ids of the documents of a page that are really there."""

    def search(self, request: Request) -> Answer:
        """Answer a search."""

    def get(self, id: str) -> Hit | None:
        """Return one document."""

    def size(self) -> tuple[int, int]:
        """Count spec documents and pages."""


class Generation(Reader, Protocol):
    """A generation open for writing."""

    def write(self, changes: Iterable[PageChange]) -> Iterator[Written]:
        """Carry out changes, each page at most once, and yield every page as it is acknowledged.

        Changes are taken as fast as the engine can send them and batched by their bytes: no more than a few batches
        are in memory. What was yielded stays; the rest may be lost in a crash and is then still to do. At the end
        everything that was written can be found.

        Raises:
            IndexUnavailableError: the index stayed out of reach. What was not yielded is still to do.
        """


class Writer(Protocol):
    """The one writer of an index."""

    def live(self) -> Generation | None:
        """Open the live generation; None where there is none to use: none yet, damaged, or made by other code."""

    def replaced(self) -> Reader | None:
        """Open the generation that ``live`` wouldn't, as far as it can be read; None where there is none."""

    def build(self) -> Generation:
        """Start a new, empty generation beside the live one. Nobody finds it before it is promoted."""

    def promote(self, generation: Generation) -> None:
        """Make a generation the live one in one step, and remove those that aren't kept."""


class Index(Protocol):
    """An index at a URL; making one touches nothing."""

    engine: str
    url: str

    def exists(self) -> bool:
        """Tell whether there is a live generation, whatever its state."""

    def reader(self) -> Reader:
        """Open the live generation for reading.

        Raises:
            IndexUnavailableError: there is none, or it can't be used.
        """

    def writer(self, wait: float) -> AbstractContextManager[Writer]:
        """Become the one writer, waiting up to ``wait`` seconds for another to end. It writes nothing by itself.

        Raises:
            IndexUnavailableError: there is another writer still.
        """

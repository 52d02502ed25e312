"""The interface of an index. Engines keep it, one contract suite tests them all.

An index is a row of *generations*; one of them is live, the others are being built or kept. Each generation holds
spec documents and, beside them, the ledger that describes them, so both are always swapped, deleted and found
together.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Final, NamedTuple, Protocol

import msgspec

from cachesync.ledger import Digests, PageRecord
from cachesync.search.query import Query
from cachesync.search.request import Found, Hit, Part, Request


class Put(msgspec.Struct, frozen=True, gc=False):
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
    before: PageRecord | None
    """What the ledger says now; None: it doesn't know the page."""
    record: PageRecord | None
    """What the ledger says afterwards; None: the page is gone."""
    digests: Digests
    """Of the page's documents afterwards."""


class RejectedDocument(NamedTuple):
    """A document that the index won't take, whatever is tried."""

    id: str
    reason: str


class Written(NamedTuple):
    """A page's change is acknowledged: from now on no crash undoes it."""

    page: str
    refused: list[RejectedDocument]


class Remembered(NamedTuple):
    """All that the ledger has of a page."""

    record: PageRecord
    digests: Digests


class Stored(NamedTuple):
    """A document that is in the index."""

    page: str
    id: str
    source: bytes
    """Its fields as JSON, in the words in which they are rendered."""


class Status(NamedTuple):
    """What an index says of itself as a whole."""

    holder: str | None
    """The process that writes."""
    pinned: bool
    """A rollback has gone back to the live generation; syncs are held until a reindex."""
    kept: list[str]
    """Generations that a rollback can go back to, the latest first."""
    service: bool
    """The holder is a service: it stays, and does what commands request of it."""
    sign: str | None
    """What the holder changes every few seconds while it lives; None: there is no holder, or it is known to live."""


class Reader(Protocol):
    """One generation, as it was when it was opened.

    Every method may raise IndexUnavailableError, or IndexUnusableError where the generation is damaged or gone.
    """

    @property
    def generation(self) -> str:
        """Its name."""

    @property
    def outdated(self) -> bool:
        """It was made by a version with other fields or documents. It works, and a reindex brings it up to date.

        Until then its documents have no other fields than ``fields``.
        """

    @property
    def fields(self) -> Collection[str]:
        """The fields that its documents may have."""

    def state(self) -> str:
        """Return what is another string once searches may find something else. It costs as much as a small search."""

    def records(self, below: Sequence[str] = ()) -> Iterator[PageRecord]:
        """Walk the ledger, in any order.

        If folders are named (a few hundred at most, each with a slash at its end), only the pages below any of them.
        """

    def remembered(self, pages: Sequence[str]) -> dict[str, Remembered]:
        """Look pages up in the ledger; those that it doesn't know are left out."""

    def counts(self) -> dict[str, int]:
        """Count the documents that are really there, by page."""

    def documents(self, page: str | None = None) -> Iterator[Stored]:
        """Walk the documents of a page, or all of them, page after page in the order of their paths."""

    def search(self, request: Request) -> Found:
        """Answer a search."""

    def walk(self, request: Request) -> Iterator[Part]:
        """Yield all documents of a request in its order, as they are now, some at a time.

        Its limit doesn't count, facets and binaries aren't counted, and each document is a hit. It costs as much as
        there are documents, and takes no more memory however many they are.
        """

    def count(self, queries: Sequence[Query]) -> list[int]:
        """Count the documents that match each of some queries, which are a few dozen at most."""

    def vocabulary(self, field: str, start: str = "") -> list[str]:
        """Return the values of a keyword field that begin so, in their order.

        It costs little: nothing is counted, and there may be some that only deleted documents had.
        """

    def vocabularies(self, fields: Sequence[str]) -> dict[str, list[str]]:
        """Return the values of several keyword fields, which takes less time than one after another."""

    def packages(self) -> dict[str, int]:
        """Return all packages, and about how many documents each has. It costs less than a facet."""

    def get(self, id: str) -> Hit | None:
        """Return one document."""

    def size(self) -> tuple[int, int]:
        """Count spec documents and pages."""


class Generation(Reader, Protocol):
    """A generation open for writing."""

    def write(self, changes: Iterable[PageChange], *, refresh: bool = True) -> Iterator[Written]:
        """Carry out changes, each page at most once, and yield every page as it is acknowledged.

        Changes are taken as fast as the engine can send them and batched by their bytes: no more than a few batches
        are in memory. What was yielded stays; the rest may be lost in a crash and is then still to do. If ``refresh``,
        everything that was written can be found at the end. Without a change nothing is written at all.

        Where ``changes`` raises, or who asked for them stops asking, the batches that are on their way get a few
        seconds to be carried out as a whole; what wasn't on its way is left.

        Two generations of one writer may be written at the same time by two threads.

        A document that the index refuses becomes the problem of its page, see :func:`cachesync.ledger.without`.

        Raises:
            OvertakenError: another writer has written since this one began; nothing of what wasn't yielded is done.
            IndexUnavailableError: the index stayed out of reach. What was not yielded is still to do.
        """

    def refresh(self) -> None:
        """Make sure that everything that was written is found from now on."""


class Writer(Protocol):
    """The one writer of an index.

    It may build a generation in one thread and write to the live one in another. Going live, back, and discarding are
    the business of one thread at a time.
    """

    def live(self) -> Generation | None:
        """Open the live generation; None where there is none to use: none yet, or damaged.

        What earlier writers have left is removed; what this one is building is left alone.
        """

    def intact(self) -> bool:
        """Tell whether the generation that was live when this writer last looked is still what everybody finds.

        It costs next to nothing. False: look again by :meth:`live`.

        Raises:
            OvertakenError: another has become the writer.
            IndexUnavailableError: that can't be told now.
        """

    def replaced(self) -> Reader | None:
        """Open what a new generation would take the place of: the live one, or what is left where none is.

        Its ledger can be read, its documents perhaps not. None: there is nothing.

        Raises:
            IndexUnusableError: there is something, and its ledger can't be read.
        """

    def pinned(self) -> bool:
        """Tell whether a rollback has gone back to the live generation, which stays as it is until a reindex."""

    def build(self) -> Generation:
        """Start a new, empty generation beside the live one. Nobody finds it before it is promoted.

        What earlier builds have left unfinished is removed, so one is built at a time. It may take half a minute.

        Raises:
            IndexUnavailableError: there is no room for it, or it can't be made.
        """

    def discard(self, generation: Generation) -> None:
        """Remove a generation that was built, unless it has become the live one."""

    def settle(self, generation: Generation) -> None:
        """Make a generation that was filled as safe as it is going to be. It may take a minute.

        Raises:
            IndexUnavailableError: a part of it isn't available, so it can't go live.
        """

    def promote(self, generation: Generation) -> None:
        """Make a generation the live one in one step, keep the one before for a rollback, and remove older ones.

        It was settled before. What rollbacks have gone back from is removed first: a writer that dies in between leaves
        nothing that could be taken for the one before. What else can't be removed is left for the next writer: once it
        is live, nothing is raised any more.
        """

    def rollback(self, to: str | None = None) -> str:
        """Go back to the generation before the live one, hold it, and return its name.

        Where ``to`` is live and held already there is nothing to do: an earlier try of the same rollback has done it.

        Raises:
            UsageError: none is kept.
        """

    def signals(self) -> int:
        """Return a number that is another one whenever :meth:`Index.signal` was called. It costs next to nothing."""


class Notes(Protocol):
    """What processes tell each other beside the index. It outlives generations.

    Keys consist of ``a-z``, ``0-9`` and ``-``. Every method may raise IndexUnavailableError.
    """

    def get(self, key: str) -> bytes | None:
        """Return a note; None where there is none.

        Raises:
            ForbiddenError: who asks may not read it.
        """

    def put(self, key: str, text: bytes) -> None:
        """Write a note, which is UTF-8, in place of an earlier one. Readers find the one or the other, whole."""

    def remove(self, key: str) -> None:
        """Remove a note, if it is there."""

    def list_keys(self) -> list[str]:
        """Return the keys of all notes, in any order. It takes longer than looking a note up."""


OnWait = Callable[[str], None]
"""Is told every second or more often which process is waited for."""


def nobody(_holder: str) -> None:
    """Tell nobody who is waited for."""


class Index(Protocol):
    """An index at a URL; making one touches nothing."""

    engine: str
    url: str

    def exists(self) -> bool:
        """Tell whether there is a live generation, whatever its state."""

    def reader(self, *, fresh: bool = False) -> Reader:
        """Open the live generation for reading; if ``fresh``, with all that was written until now.

        Raises:
            NoIndexError: there is none yet.
            IndexUnavailableError: it can't be used.
        """

    def made(self, generation: str) -> datetime | None:
        """Return when a generation was begun; None where that can't be told, as of one that isn't there."""

    def status(self) -> Status:
        """Tell who writes, and what else is known of the index as a whole."""

    def require_rights(self) -> None:
        """Make sure that we are allowed to write, as far as that can be told without writing.

        Raises:
            IndexUnavailableError: we aren't; the text names what is missing.
        """

    def writer(self, wait: float, *, serving: bool = False, on_wait: OnWait = nobody) -> AbstractContextManager[Writer]:
        """Become the one writer, waiting up to ``wait`` seconds for another to end. It writes nothing by itself.

        Args:
            wait: may be ``math.inf``.
            serving: the writer is a service. It waits at leisure, holds the index from the beginning, and
                :meth:`status` tells of it.
            on_wait: is told who is waited for.

        Raises:
            IndexUnavailableError: there is another writer still, or we aren't allowed to write.
        """

    def close(self) -> None:
        """Close what is open. The index can be used again, which opens it anew."""

    def notes(self) -> Notes:
        """Open what processes tell each other beside the index."""

    def signal(self) -> None:
        """Ask the writer, if it is a service, to look for requests: within a few seconds it does."""


def note_key(key: str) -> str:
    """Return a key of notes, if it can be one.

    Raises:
        ValueError: it can't.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key: expected a-z, 0-9 and -")
    return key


_KEY: Final = re.compile("[a-z0-9-]+")

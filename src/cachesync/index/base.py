"""The interface of an index. Each engine implements it, and one contract test suite covers them all.

An index is a series of *generations*: one is live, the others are being built or kept for a rollback. Each generation
holds spec documents and the ledger that describes them, so the two are always swapped, deleted and found together.
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
    is_new: bool
    """Whether the document is new: the index holds none with this id."""


class PageChange(NamedTuple):
    """All changes for one page. They are atomic: after a crash they are either done, or recognised as not done."""

    page: str
    puts: list[Put]
    deletes: list[str]
    before: PageRecord | None
    """The page's ledger record before the change; None if there is none."""
    record: PageRecord | None
    """The page's ledger record after the change; None if the page is gone."""
    digests: Digests
    """The digests of the page's documents after the change."""


class RejectedDocument(NamedTuple):
    """A document that the index refuses, however often it is retried."""

    id: str
    reason: str


class Written(NamedTuple):
    """An acknowledged change of a page: no crash can undo it."""

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
    """Its fields as JSON, as they were rendered."""


class Status(NamedTuple):
    """The state of an index as a whole."""

    holder: str | None
    """The process that is the writer."""
    pinned: bool
    """Whether a rollback made the live generation live; nothing is synced until a reindex."""
    kept: list[str]
    """Generations that a rollback can go back to, the latest first."""
    service: bool
    """Whether the holder is a service, which keeps running and carries out the requests of commands."""
    sign: str | None
    """A value that a live holder changes every few seconds; None if there is no holder, or it is known to be alive."""


# Many methods: one for each question that somebody asks of a generation, and every engine has to answer them all.
class Reader(Protocol):
    """One generation, as it was when it was opened.

    Every method may raise IndexUnavailableError, or IndexUnusableError if the generation is damaged or gone.
    """

    @property
    def generation(self) -> str:
        """The generation's name."""

    @property
    def outdated(self) -> bool:
        """Whether a version with other fields or documents made it. It works, and a reindex brings it up to date.

        Until then its documents have only the fields in ``fields``.
        """

    @property
    def fields(self) -> Collection[str]:
        """The fields that its documents may have."""

    def state(self) -> str:
        """Return a string that changes whenever searches may find something else. It costs a small search."""

    def records(self, below: Sequence[str] = ()) -> Iterator[PageRecord]:
        """Yield the ledger's records, in any order.

        ``below`` limits them to pages below any of these folders (at most a few hundred, each with a trailing slash).
        """

    def remembered(self, pages: Sequence[str]) -> dict[str, Remembered]:
        """Look up pages in the ledger; pages that it doesn't have are left out."""

    def counts(self) -> dict[str, int]:
        """Count the documents that are really in the index, by page."""

    def documents(self, page: str | None = None) -> Iterator[Stored]:
        """Yield the documents of a page, or of all pages in the order of their paths."""

    def search(self, request: Request) -> Found:
        """Run a search."""

    def walk(self, request: Request) -> Iterator[Part]:
        """Yield all documents that match a request, as they are now and in its order, in parts.

        The request's limit is ignored, facets and binaries aren't counted, and each document is a hit. The cost is
        proportional to the number of documents; memory use doesn't depend on it.
        """

    def count(self, queries: Sequence[Query]) -> list[int]:
        """Count the documents that match each of the queries (a few dozen at most)."""

    def vocabulary(self, field: str, start: str = "") -> list[str]:
        """Return the sorted values of a keyword field that begin with ``start``.

        It is cheap, since nothing is counted; so values that only deleted documents had may be among them.
        """

    def vocabularies(self, fields: Sequence[str]) -> dict[str, list[str]]:
        """Return the values of several keyword fields, in less time than one field after another would take."""

    def packages(self) -> dict[str, int]:
        """Return all packages with the approximate number of documents of each. It costs less than a facet."""

    def get(self, id: str) -> Hit | None:
        """Return one document."""

    def size(self) -> tuple[int, int]:
        """Count spec documents and pages."""


class Generation(Reader, Protocol):
    """A generation open for writing."""

    def write(self, changes: Iterable[PageChange], *, refresh: bool = True) -> Iterator[Written]:
        """Carry out changes, at most one for each page, and yield every page as it is acknowledged.

        Changes are consumed as fast as the engine can send them, and batched by size: only a few batches are in memory
        at a time. A page that was yielded is safe; the others may be lost in a crash and must then be written again. If
        ``refresh``, searches find everything that was written at the end. Without changes nothing is written.

        If ``changes`` raises, or the caller stops iterating, batches that are already being sent get a few seconds to
        complete; the others are dropped.

        Two threads may write to two generations of one writer at the same time.

        A document that the index refuses becomes the problem of its page, see :func:`cachesync.ledger.without`.

        Raises:
            OvertakenError: another writer has written since this one began; pages that weren't yielded aren't written.
            IndexUnavailableError: the index stayed out of reach. Pages that weren't yielded must be written again.
        """

    def refresh(self) -> None:
        """Make everything that was written visible to searches."""


class Writer(Protocol):
    """The one writer of an index.

    One thread may build a generation while another writes to the live one. Only one thread at a time may promote,
    roll back or discard a generation.
    """

    def live(self) -> Generation | None:
        """Open the live generation; None if there isn't one yet, or if it is damaged.

        Leftovers of earlier writers are removed; a generation that this writer is building is not.
        """

    def intact(self) -> bool:
        """Whether readers still find the generation that was live when this writer last opened or changed it.

        It is cheap. If it is False, open the generation again with :meth:`live`.

        Raises:
            OvertakenError: another process has become the writer.
            IndexUnavailableError: this can't be determined now.
        """

    def replaced(self) -> Reader | None:
        """Open the generation that a new one would replace: the live one or, without one, what is left of the index.

        Its ledger can be read, its documents perhaps not. None if there is no generation.

        Raises:
            IndexUnusableError: there is a generation, but its ledger can't be read.
        """

    def pinned(self) -> bool:
        """Whether a rollback made the live generation live, so that it is left unchanged until a reindex."""

    def build(self) -> Generation:
        """Create a new, empty generation beside the live one. Readers don't find it before it is promoted.

        Generations left unfinished by earlier builds are removed, so there is one at a time. It may take half a minute.

        Raises:
            IndexUnavailableError: there is no room for it, or it can't be created.
        """

    def discard(self, generation: Generation) -> None:
        """Remove a generation that was built, unless it has become the live one."""

    def settle(self, generation: Generation) -> None:
        """Make a generation that has been filled durable, with its replicas if possible. It may take a minute.

        Raises:
            IndexUnavailableError: a part of it isn't available, so it can't go live.
        """

    def promote(self, generation: Generation) -> None:
        """Make a settled generation live in one step, keep the one before for a rollback, and remove older ones.

        Generations that were rolled back from are removed first: if the writer dies in between, none is left that could
        be mistaken for the one before. Others that can't be removed are left for the next writer: nothing is raised
        once the generation is live.
        """

    def rollback(self, to: str | None = None) -> str:
        """Go back to the generation before the live one, pin it, and return its name.

        If ``to`` is already live and pinned, do nothing: an earlier attempt at the same rollback has succeeded.

        Raises:
            UsageError: no generation is kept.
        """

    def signals(self) -> int:
        """Return a number that changes whenever :meth:`Index.signal` is called. It is cheap."""


class Notes(Protocol):
    """Small messages between processes, stored beside the index. They outlive generations.

    Keys consist of ``a-z``, ``0-9`` and ``-``. Every method may raise IndexUnavailableError.
    """

    def get(self, key: str) -> bytes | None:
        """Return a note; None if there is none.

        Raises:
            ForbiddenError: the credentials don't allow reading it.
        """

    def put(self, key: str, text: bytes) -> None:
        """Write a note (UTF-8), replacing an earlier one atomically: readers never see a partial note."""

    def remove(self, key: str) -> None:
        """Remove a note, if it exists."""

    def list_keys(self) -> list[str]:
        """Return the keys of all notes, in any order. It takes longer than reading one note."""


OnWait = Callable[[str], None]
"""Called at least every second, while waiting for another writer, with that process's description."""


def ignore(_holder: str) -> None:
    """Ignore which process is being waited for."""


class Index(Protocol):
    """An index at a URL. Creating the object accesses nothing."""

    engine: str
    url: str

    def exists(self) -> bool:
        """Whether there is a live generation, whatever its state."""

    def reader(self, *, refresh: bool = False) -> Reader:
        """Open the live generation for reading; if ``refresh``, with everything written so far.

        Raises:
            NoIndexError: there is none yet.
            IndexUnavailableError: it can't be used.
        """

    def made(self, generation: str) -> datetime | None:
        """Return when a generation was created; None if that is unknown, or the generation doesn't exist."""

    def status(self) -> Status:
        """Return which process is the writer, and the rest of the index's state."""

    def require_rights(self) -> None:
        """Make sure that we are allowed to write, as far as that can be checked without writing.

        Raises:
            IndexUnavailableError: we aren't; the message names what is missing.
        """

    def writer(self, wait: float, *, serving: bool = False, on_wait: OnWait = ignore) -> AbstractContextManager[Writer]:
        """Become the one writer, waiting up to ``wait`` seconds for another to end. This alone writes no document.

        Args:
            wait: may be ``math.inf``.
            serving: the writer is a service. It polls less often, owns the index from the beginning, and
                :meth:`status` reports it.
            on_wait: called with the process that is being waited for.

        Raises:
            IndexUnavailableError: there is still another writer, or we aren't allowed to write.
        """

    def close(self) -> None:
        """Close connections. Using the index again opens new ones."""

    def notes(self) -> Notes:
        """Open the notes stored beside the index."""

    def signal(self) -> None:
        """Ask the writer, if it is a service, to check for requests, which it does within a few seconds."""


def note_key(key: str) -> str:
    """Return the key of a note if it is valid.

    Raises:
        ValueError: it is not.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not a valid key: expected a-z, 0-9 and -")
    return key


_KEY: Final = re.compile("[a-z0-9-]+")

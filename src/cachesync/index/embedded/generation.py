"""One generation of an embedded index: a tantivy index in a folder of its own."""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import tantivy
import xxhash

from cachesync.documents import FIELDS, encoded
from cachesync.errors import IndexUnavailableError, IndexUnusableError
from cachesync.index.base import PageChange, Remembered, Stored, Written
from cachesync.index.embedded import schema as layout
from cachesync.index.embedded.queries import QueryRunner
from cachesync.index.embedded.walk import walk
from cachesync.ledger import PageRecord
from cachesync.search.query import All, Exists, Or, Prefix, Query, Term
from cachesync.search.request import Found, Hit, Part, Request

COMMIT_BYTES: Final = 32_000_000
"""The size of documents that are committed together: large enough to be fast, with little to redo after a crash."""

_READ_LOCK: Final = ".tantivy-meta.lock"

_UNFINISHED: Final = ".tmp*"
"""The names of tantivy's temporary files, which it renames when they are complete."""

HEAP_BYTES: Final = 64_000_000
THREADS: Final = 1
"""A second thread would add a segment to each commit, and merging many segments takes more memory than all else."""


def _umask() -> int:
    """Return the umask, which can't be read without changing it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


_UMASK: Final = _umask()
"""Read once, since reading it changes it for all threads for a moment."""


@contextlib.contextmanager
def tantivy_errors(folder: Path) -> Iterator[None]:
    """Translate tantivy's errors and panics into ours.

    Errors of the system (rights, space, open files) are temporary and do no harm; any other means a damaged index.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, msgspec.MsgspecError) as error:
        raise _translated(folder, error) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # a panic in Rust; its class can't be imported
            raise
        raise _translated(folder, error) from error


def _translated(folder: Path, error: BaseException) -> IndexUnavailableError:
    system = _SYSTEM_ERROR.search(str(error))  # in tantivy's messages, system errors have Rust's debug format
    number = error.errno if isinstance(error, OSError) else int(system[1]) if system else None
    if number is not None and number not in _DAMAGE:
        return IndexUnavailableError(f"cannot use the index in {folder}: {os.strerror(number)}")
    return IndexUnusableError(
        f"the index in {folder} is damaged: {error}\n"
        "Run `cachesync sync`, which rebuilds it. If that finds nothing to do, remove this folder first"
    )


_SYSTEM_ERROR: Final = re.compile(r"Os \{ code: (\d+)")
_DAMAGE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL})


class EmbeddedGeneration:
    """A generation, opened for reading and, if its folder is the writer's, for writing."""

    def __init__(self, folder: Path, fields: Collection[str] = FIELDS.keys(), *, outdated: bool = False) -> None:
        """Open the index in ``folder``, whose documents have these ``fields``.

        Raises:
            IndexUnusableError: there is none, or it can't be read.
        """
        self._folder = folder
        self._fields = frozenset(fields)
        self._outdated = outdated
        with tantivy_errors(folder):
            self._index = tantivy.Index.open(str(folder))
            self._index.config_reader("manual")  # by default, a thread checks for commits twice a second
            layout.register_analyzers(self._index)
        self.refresh()

    @property
    def generation(self) -> str:
        """The folder's name."""
        return self._folder.name

    @property
    def outdated(self) -> bool:
        """Whether a version with other fields or documents made it."""
        return self._outdated

    @property
    def fields(self) -> frozenset[str]:
        """The fields that its documents may have."""
        return self._fields

    def state(self) -> str:
        """Return the generation, and a digest of tantivy's metadata for the commit that is open."""
        return f"{self.generation} {self._commit_digest}"

    def records(self, below: Sequence[str] = ()) -> Iterator[PageRecord]:
        """Yield the ledger's records."""
        chosen = Or(tuple(Prefix(layout.PAGE, folder) for folder in below)) if below else Exists(layout.PAGE)
        with tantivy_errors(self._folder):
            pages = self._search.tantivy_query(chosen)
            # Tantivy allocates memory for as many hits as are asked for.
            number = self._searcher.search(pages, 1, count=True).count or 0  # type: ignore[attr-defined]
            for _, address in self._searcher.search(pages, max(1, number), count=False).hits:
                yield layout.record(self._searcher.doc(address))

    def remembered(self, pages: Sequence[str]) -> dict[str, Remembered]:
        """Look up pages in the ledger."""
        found = {}
        with tantivy_errors(self._folder):
            for page in pages:
                query = self._search.tantivy_query(Term(layout.PAGE, page))
                for _, address in self._searcher.search(query, 1, count=False).hits:
                    found[page] = layout.remembered(self._searcher.doc(address))
        return found

    def counts(self) -> dict[str, int]:
        """Count the documents that are really in the index, by page."""
        with tantivy_errors(self._folder):
            counts = dict(self._search.values("page", All()))
            specs = self._search.count(All())
        if sum(counts.values()) != specs:  # every document is of one page
            raise IndexUnusableError(f"the index in {self._folder} is damaged: its pages don't add up to its documents")
        return counts

    def documents(self, page: str | None = None) -> Iterator[Stored]:
        """Yield the documents of a page, or of all pages."""
        for each in sorted(self.counts()) if page is None else [page]:
            request = Request(Term("page", each), order=(), limit=self._searcher.num_docs)
            for hit in self.search(request).hits:
                id = hit.pop(layout.ID)
                yield Stored(each, id, encoded(hit))

    def search(self, request: Request) -> Found:
        """Run a search."""
        with tantivy_errors(self._folder):
            return self._search.answer(request)

    def walk(self, request: Request) -> Iterator[Part]:
        """Yield all documents that match a request, in its order, without anything that is written meanwhile."""
        parts = walk(self._search, request)
        while True:
            with tantivy_errors(self._folder):
                part = next(parts, None)
            if part is None:
                return
            yield part

    def count(self, queries: Sequence[Query]) -> list[int]:
        """Count the documents that match each of the queries."""
        with tantivy_errors(self._folder):
            return [self._search.count(each) for each in queries]

    def vocabulary(self, field: str, start: str = "") -> list[str]:
        """Return the values of a keyword field that begin with ``start``."""
        with tantivy_errors(self._folder):
            return self._search.vocabulary(field, start)

    def vocabularies(self, fields: Sequence[str]) -> dict[str, list[str]]:
        """Return the values of several keyword fields."""
        return {field: self.vocabulary(field) for field in fields}

    def packages(self) -> dict[str, int]:
        """Return all packages with the approximate number of documents of each."""
        with tantivy_errors(self._folder):
            return dict(self._searcher.terms_with_prefix("package", "", None))

    def get(self, id: str) -> Hit | None:
        """Return one document."""
        found = self.search(Request(Term(layout.ID, id), limit=1)).hits
        return found[0] if found else None

    def size(self) -> tuple[int, int]:
        """Count spec documents and pages."""
        with tantivy_errors(self._folder):
            specs = self._search.count(All())
            return specs, self._searcher.num_docs - specs

    def write(self, changes: Iterable[PageChange], *, refresh: bool = True) -> Iterator[Written]:  # noqa: ARG002  costs nothing
        """Carry out changes. The documents and ledger records of a batch of pages are one commit."""
        writer: tantivy.IndexWriter | None = None
        batch: list[Written] = []
        size = 0
        try:
            for change in changes:
                with tantivy_errors(self._folder):
                    writer = writer or self._writer()  # only now, since a pass without changes writes nothing
                    size += self._add(writer, change)
                    batch.append(Written(change.page, []))
                    if size < COMMIT_BYTES:
                        continue
                    self._commit(writer)
                yield from batch
                batch, size = [], 0
            if writer:
                with tantivy_errors(self._folder):
                    self._commit(writer)
                yield from batch
                with tantivy_errors(self._folder):
                    writer.wait_merging_threads()
                    self._share()
        finally:
            del writer  # releases tantivy's lock, and discards what isn't committed
        self.refresh()

    def tidy(self) -> None:
        """Repair what a killed writer has left: files that other users can't read, and unfinished files."""
        with tantivy_errors(self._folder):
            self._share()
            for unfinished in self._folder.glob(_UNFINISHED):
                unfinished.unlink(missing_ok=True)

    def refresh(self) -> None:
        """Open the last commit."""
        with tantivy_errors(self._folder):
            # Read the digest first: if a commit comes in between, it is the older one, so `state` changes once more.
            self._commit_digest = xxhash.xxh3_64_hexdigest((self._folder / "meta.json").read_bytes())
            self._index.reload()
            self._searcher = self._index.searcher()
            self._search = QueryRunner(self._index, self._searcher, self._fields)

    def _writer(self) -> tantivy.IndexWriter:
        writer = self._index.writer(HEAP_BYTES, THREADS)
        # A crash may leave a file whose name the next commit needs; tantivy doesn't overwrite it.
        writer.garbage_collect_files()
        # The first operation of a writer has the number of the last commit [tantivy 0.27]. A merge that is repeated
        # after a crash takes a deletion with that number as done, and loses it; so the first one deletes nothing.
        writer.delete_documents_by_term(layout.ID, "")
        return writer

    def _commit(self, writer: tantivy.IndexWriter) -> None:
        writer.commit()
        self._share()

    def _share(self) -> None:
        """Grant other users the access that the umask allows: tantivy makes some files readable by their owner only.

        Readers lock a file, for which they must open it for writing; it is empty, and stays so.
        """
        shared = 0o666 & ~_UMASK
        for name, wanted in (("meta.json", shared), (".managed.json", shared), (_READ_LOCK, 0o666)):
            with contextlib.suppress(FileNotFoundError):
                mode = stat.S_IMODE((self._folder / name).stat().st_mode)
                if wanted & ~mode:
                    (self._folder / name).chmod(mode | wanted)

    def _add(self, writer: tantivy.IndexWriter, change: PageChange) -> int:
        """Add a page's change to tantivy's writer, and return its approximate size in bytes."""
        for id in change.deletes:
            writer.delete_documents_by_term(layout.ID, id)
        for put in change.puts:
            if not put.is_new:
                writer.delete_documents_by_term(layout.ID, put.id)
        size = sum(map(len, change.deletes))
        for document in layout.spec_documents(change):
            writer.add_json(document)
            size += len(document)
        if change.before:
            writer.delete_documents_by_term(layout.PAGE, change.page)
        if change.record:
            record = layout.encoded_record(change)
            writer.add_document(tantivy.Document.from_dict(record, self._index.schema))
            size += sum(map(len, record.values()))
        return size

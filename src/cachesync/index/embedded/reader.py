"""One generation of an embedded index, opened for reading: a tantivy index in a folder of its own."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

import tantivy
import xxhash

from cachesync.documents import FIELDS, encoded
from cachesync.errors import IndexUnusableError
from cachesync.index.embedded import ledger
from cachesync.index.embedded.errors import tantivy_errors
from cachesync.index.embedded.schema import ID, register_analyzers
from cachesync.index.embedded.search import search
from cachesync.index.embedded.searcher import CommitSearcher
from cachesync.index.embedded.walk import walk
from cachesync.index.generation import Remembered, Stored
from cachesync.ledger import PageRecord
from cachesync.search.query import All, Query, Term
from cachesync.search.request import Found, Hit, Part, Request


class EmbeddedReader:
    """A generation, opened for reading."""

    def __init__(self, folder: Path, fields: Collection[str] = FIELDS.keys(), *, outdated: bool = False) -> None:
        """Open the index in ``folder``, whose documents have these ``fields``.

        Raises:
            IndexUnusableError: the index doesn't exist, or is corrupt.
        """
        self._folder = folder
        self.generation: Final = folder.name
        self.fields: Final = frozenset(fields)
        self.outdated: Final = outdated
        with tantivy_errors(folder):
            self._index = tantivy.Index.open(str(folder))
            self._index.config_reader("manual")  # by default, a thread checks for commits twice a second
            register_analyzers(self._index)
        self.refresh()

    def refresh(self) -> None:
        """Open the last commit."""
        with tantivy_errors(self._folder):
            # Read the digest first: if a commit comes in between, the digest is too old, so `state` changes once more.
            self._commit_digest = xxhash.xxh3_64_hexdigest((self._folder / "meta.json").read_bytes())
            self._index.reload()
            self._searcher = CommitSearcher(self._index, self.fields)

    def state(self) -> str:
        """Return the generation, and a digest of tantivy's metadata for the commit that was opened."""
        return f"{self.generation} {self._commit_digest}"

    def records(self, below: Sequence[str] = ()) -> Iterator[PageRecord]:
        """Yield the ledger's records."""
        with tantivy_errors(self._folder):
            yield from ledger.records(self._searcher, below)

    def remembered(self, pages: Sequence[str]) -> dict[str, Remembered]:
        """Look up pages in the ledger."""
        with tantivy_errors(self._folder):
            return ledger.remembered(self._searcher, pages)

    def counts(self) -> dict[str, int]:
        """Count the documents that are actually in the index, by page."""
        with tantivy_errors(self._folder):
            counts = dict(self._searcher.values("page", All()))
            specs, _ = self._searcher.sizes()
        if sum(counts.values()) != specs:  # every document belongs to one page
            raise IndexUnusableError(f"the index in {self._folder} is damaged: its pages don't add up to its documents")
        return counts

    def documents(self, page: str | None = None) -> Iterator[Stored]:
        """Yield the documents of a page, or of all pages."""
        everything = sum(self.size())
        for each in sorted(self.counts()) if page is None else [page]:
            for hit in self.search(Request(Term("page", each), order=(), limit=everything)).hits:
                id = hit.pop(ID)
                yield Stored(each, id, encoded(hit))

    def search(self, request: Request) -> Found:
        """Run a search."""
        with tantivy_errors(self._folder):
            return search(self._searcher, request)

    def walk(self, request: Request) -> Iterator[Part]:
        """Yield all documents that match a request, in the request's order, ignoring writes during the walk."""
        with tantivy_errors(self._folder):
            yield from walk(self._searcher, request)

    def count(self, queries: Sequence[Query]) -> list[int]:
        """Count the documents that match each of the queries."""
        with tantivy_errors(self._folder):
            return list(map(self._searcher.count, queries))

    def vocabulary(self, field: str, start: str = "") -> list[str]:
        """Return the values of a keyword field that begin with ``start``."""
        with tantivy_errors(self._folder):
            return self._searcher.vocabulary(field, start)

    def vocabularies(self, fields: Sequence[str]) -> dict[str, list[str]]:
        """Return the values of several keyword fields."""
        return {field: self.vocabulary(field) for field in fields}

    def packages(self) -> dict[str, int]:
        """Return all packages with the approximate number of documents of each."""
        with tantivy_errors(self._folder):
            return dict(self._searcher.values("package"))

    def get(self, id: str) -> Hit | None:
        """Return one document."""
        return next(iter(self.search(Request(Term(ID, id), limit=1)).hits), None)

    def size(self) -> tuple[int, int]:
        """Count spec documents and pages."""
        with tantivy_errors(self._folder):
            return self._searcher.sizes()

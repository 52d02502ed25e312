"""One generation of an embedded index, opened for writing."""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import tantivy

from cachesync.index.embedded import schema as layout
from cachesync.index.embedded.errors import tantivy_errors
from cachesync.index.embedded.ledger import page_document
from cachesync.index.embedded.reader import EmbeddedReader
from cachesync.index.generation import PageChange, Written

COMMIT_BYTES: Final = 32_000_000
"""The size of documents that are committed together: large to be fast, but with little to redo after a crash."""

_READ_LOCK: Final = ".tantivy-meta.lock"

_UNFINISHED: Final = ".tmp*"
"""The names of tantivy's temporary files, which it renames when they are complete."""

HEAP_BYTES: Final = 64_000_000
THREADS: Final = 1
"""A second thread would add a segment to each commit, and merging many segments takes more memory than the rest."""


def _umask() -> int:
    """Return the umask, which can't be read without changing it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


_UMASK: Final = _umask()
"""The umask is read only once, because reading it changes it for all threads for a moment."""


class EmbeddedGeneration(EmbeddedReader):
    """A generation, opened for reading and, by the writer, for writing."""

    def write(self, changes: Iterable[PageChange], *, refresh: bool = True) -> Iterator[Written]:  # noqa: ARG002  costs nothing
        """Carry out changes. The documents and ledger records of a batch of pages are committed together."""
        writer: PageWriter | None = None
        batch: list[Written] = []
        size = 0
        try:
            for change in changes:
                with tantivy_errors(self._folder):
                    if writer is None:  # only now, because a pass without changes writes nothing
                        writer = PageWriter(self._folder, self._index)
                    size += writer.add(change)
                    batch.append(Written(change.page, []))
                    if size < COMMIT_BYTES:
                        continue
                    writer.commit()
                yield from batch
                batch, size = [], 0
            if writer:
                with tantivy_errors(self._folder):
                    writer.commit()
                yield from batch
                with tantivy_errors(self._folder):
                    writer.finish()
        finally:
            del writer
        self.refresh()

    def tidy(self) -> None:
        """Repair what a killed writer has left behind: files that other users can't read, and unfinished files."""
        with tantivy_errors(self._folder):
            share(self._folder)
            for unfinished in self._folder.glob(_UNFINISHED):
                unfinished.unlink(missing_ok=True)


class PageWriter:
    """Adds changes of pages to an index. Dropping the object releases tantivy's lock and loses uncommitted changes."""

    def __init__(self, folder: Path, index: tantivy.Index) -> None:
        self._folder = folder
        self._schema = index.schema
        self._tantivy = index.writer(HEAP_BYTES, THREADS)
        # A crash may leave a file whose name the next commit needs, and tantivy doesn't overwrite files.
        self._tantivy.garbage_collect_files()
        # A writer's first operation has the number of the last commit [tantivy 0.27]. If that operation is a deletion,
        # a merge repeated after a crash considers it done and loses it. So the first operation deletes nothing.
        self._tantivy.delete_documents_by_term(layout.ID, "")

    def add(self, change: PageChange) -> int:
        """Add a page's change, and return its approximate size in bytes."""
        for id in change.deletes:
            self._tantivy.delete_documents_by_term(layout.ID, id)
        size = sum(map(len, change.deletes))
        for put in change.puts:
            if not put.is_new:
                self._tantivy.delete_documents_by_term(layout.ID, put.id)
            document = layout.spec_json(put)
            self._tantivy.add_json(document)
            size += len(document)
        if change.before:
            self._tantivy.delete_documents_by_term(layout.PAGE, change.page)
        if change.record:
            record = page_document(change)
            self._tantivy.add_document(tantivy.Document.from_dict(record, self._schema))
            size += sum(map(len, record.values()))
        return size

    def commit(self) -> None:
        """Make everything that was added durable, in one step."""
        self._tantivy.commit()
        share(self._folder)

    def finish(self) -> None:
        """Wait until tantivy has merged its segments. Nothing can be added after that."""
        self._tantivy.wait_merging_threads()
        share(self._folder)


def share(folder: Path) -> None:
    """Grant others the access that the umask allows, because tantivy makes some files readable only by their owner.

    Readers must open one file for writing in order to lock it. That file is empty, and stays empty.
    """
    shared = 0o666 & ~_UMASK
    for name, wanted in (("meta.json", shared), (".managed.json", shared), (_READ_LOCK, 0o666)):
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE((folder / name).stat().st_mode)
            if wanted & ~mode:
                (folder / name).chmod(mode | wanted)

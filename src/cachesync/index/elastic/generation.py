"""One generation, opened for writing.

A page's change is written in an order that makes a crash harmless. First, the page's ledger entry is marked *pending*,
with the keys of all documents that are about to change. Then the documents are changed. Last, the ledger entry records
what the index now holds. If a page is still pending, a later writer checks the documents themselves. In a generation
that is being built, the first step is left out: if the build doesn't finish, the whole generation is removed.
"""

import contextvars
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Final

import msgspec

from cachesync.context import Context, current, running
from cachesync.documents import document_id, key_of
from cachesync.errors import IndexUnavailableError, IndexUnusableError
from cachesync.index.elastic import bulk, ledger
from cachesync.index.elastic.bulk import Bulk
from cachesync.index.elastic.connection import Connection
from cachesync.index.elastic.lease import Lease
from cachesync.index.elastic.pace import MAX_IN_FLIGHT
from cachesync.index.elastic.reader import ElasticReader, IndexNames
from cachesync.index.generation import PageChange, RejectedDocument, Written
from cachesync.ledger import Digests, PageRecord, without

_WAIT_SECONDS: Final = 1.0
"""How long to wait for a batch before checking whether to stop."""

_DRAIN_SECONDS: Final = 5.0
"""How long batches in flight may take to complete when writing is aborted."""

_RECORD_BYTES: Final = 500
_DIGEST_BYTES: Final = 60
"""The approximate size of a page's record, and the size that each spec adds to the record."""


class _Batch:
    """The encoded changes of several pages."""

    def __init__(self) -> None:
        self.pending: list[bytes] = []
        self.puts: list[bytes] = []
        self.deletes: list[bytes] = []
        self.pages: list[tuple[PageChange, int]] = []
        """Each page's change without its new documents, and the version of its record."""
        self.bytes = 0

    def add(self, change: PageChange, version: int, *, building: bool) -> None:
        """Encode a page's change. The page's record gets a version one higher than ``version``, the documents' own."""
        page, puts, deletes, before, record, digests = change
        operations = bulk.puts(puts, version)
        self.puts += operations
        self.bytes += sum(map(len, operations))
        if deletes:
            self.deletes += [bulk.delete(id, version) for id in deletes]
            self.bytes += sum(map(len, deletes))
        about = before or record
        if about and (puts or deletes) and not building:
            pending = bulk.put(page, version, _pending(change, about))
            self.pending.append(pending)
            self.bytes += len(pending)
        self.bytes += _RECORD_BYTES + _DIGEST_BYTES * len(digests)
        replaced = [each for each in puts if not each.is_new]
        self.pages.append((PageChange(page, replaced, deletes, before, record, digests), version + 1))


def _pending(change: PageChange, record: PageRecord) -> bytes:
    specs = change.before.specs if change.before else 0
    ids = [*(each.id for each in change.puts), *change.deletes]
    changing: Digests = {key_of(change.page, id): b"" for id in ids}
    return ledger.page_document(msgspec.structs.replace(record, pending=True, specs=specs), changing)


class ElasticGeneration(ElasticReader):
    """A generation, opened for writing."""

    def __init__(
        self, connection: Connection, names: IndexNames, found: dict[str, Any], lease: Lease, *, building: bool = False
    ) -> None:
        """``found`` is the mapping of the index of specs."""
        super().__init__(connection, names, found)
        self._lease = lease
        self._losses = lease.losses
        self._building = building

    def write(self, changes: Iterable[PageChange], *, refresh: bool = True) -> Iterator[Written]:
        """Carry out changes, with several batches of pages in flight."""
        sender = Bulk(self._connection)
        batch = _Batch()
        in_flight: set[Future[list[Written]]] = set()
        threads = ThreadPoolExecutor(MAX_IN_FLIGHT, thread_name_prefix="bulk")
        wrote = False

        def send() -> Future[list[Written]]:
            variables = contextvars.copy_context()  # so that log lines keep the fields of their pass
            return threads.submit(variables.run, self._write_batch, sender, batch, current().branch())

        def finished(*, all_of_them: bool) -> Iterator[Written]:
            nonlocal in_flight
            while in_flight and (all_of_them or len(in_flight) >= sender.pace.in_flight):
                done, in_flight = wait(in_flight, _WAIT_SECONDS, FIRST_COMPLETED)
                current().check()
                for future in done:
                    yield from future.result()

        try:
            for change in changes:
                if not wrote:
                    self._lease.claim(self._losses)
                    wrote = True
                batch.add(change, self._lease.next_version(), building=self._building)
                if batch.bytes >= sender.pace.bytes:
                    in_flight.add(send())
                    batch = _Batch()
                    yield from finished(all_of_them=False)
            if batch.pages:
                in_flight.add(send())
            yield from finished(all_of_them=True)
        finally:
            try:
                wait(in_flight, _DRAIN_SECONDS)
            finally:
                sender.stop.set()
                threads.shutdown(wait=True, cancel_futures=True)
        if wrote and refresh:
            self.refresh()

    def _write_batch(self, sender: Bulk, batch: _Batch, context: Context) -> list[Written]:
        """Write a batch in three steps, in a worker thread: pending records, documents, final records."""
        specs, pages = self.names.aliases(building=self._building)
        with running(context):
            self._send_records(sender, pages, batch.pending)
            refused = self._send(sender, specs, batch.puts + batch.deletes, batch.bytes)
            by_id = {each.id: each for each in refused}
            done = [final_record(change, version, by_id) for change, version in batch.pages]
            for deleted in (False, True):  # puts must come before deletions
                self._send_records(sender, pages, [each for each, _ in done if bulk.is_delete(each) is deleted])
        return [written for _, written in done]

    def _send_records(self, sender: Bulk, alias: str, operations: Sequence[bytes]) -> None:
        for refusal in self._send(sender, alias, operations, sum(map(len, operations))):
            raise IndexUnavailableError(f"Elasticsearch refuses the page document {refusal.id}: {refusal.reason}")

    def _send(self, sender: Bulk, alias: str, operations: Sequence[bytes], weight: int) -> Sequence[RejectedDocument]:
        self._lease.check(self._losses)
        sent = sender.send(alias, operations, weight)
        if sent.stale:  # the index has newer versions: another writer took over, or else the index is unusable
            self._lease.confirm()
            self._lease.check(self._losses)
            raise IndexUnusableError(f"{self.generation} has newer documents, though no other writer held the lease")
        return sent.refused


def final_record(change: PageChange, version: int, refused: Mapping[str, RejectedDocument]) -> tuple[bytes, Written]:
    """Return the operation that writes a page's final record, and the acknowledgement. ``refused`` is keyed by id."""
    if change.record is None:
        return bulk.delete(change.page, version), Written(change.page, [])
    record, digests = change.record, change.digests
    start = document_id(change.page, "")
    ours = [refused[start + key] for key in digests if start + key in refused] if refused else []
    if ours:
        replaced = {key_of(change.page, put.id) for put in change.puts}
        reasons = {key_of(change.page, each.id): each.reason for each in ours}
        record, digests = without(record, digests, reasons, replaced)
    return bulk.put(change.page, version, ledger.page_document(record, digests)), Written(change.page, ours)

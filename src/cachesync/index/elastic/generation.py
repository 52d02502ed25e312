"""One generation: an index of specs and one of pages, which is the ledger.

A page's change is written in an order that makes a crash harmless. First its page document says that the change is
*pending* and names every document that is about to change. Then the documents change. Last, the page document says
what is there now. Whoever finds a page pending looks at the documents themselves. In a generation that is being built
the first step falls away: if it isn't finished, it is removed as a whole.
"""

import contextvars
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
from elasticsearch import BadRequestError

from cachesync.context import Context, current, running
from cachesync.documents import document_id, key_of
from cachesync.errors import IndexUnavailableError, IndexUnusableError, UsageError
from cachesync.index.base import PageChange, Refusal, Remembered, Stored, Written
from cachesync.index.elastic import bulk, mapping, searching
from cachesync.index.elastic.bulk import Bulk
from cachesync.index.elastic.connection import Connection
from cachesync.index.elastic.lease import Lease
from cachesync.index.elastic.pace import MAX_IN_FLIGHT
from cachesync.ledger import Digests, PageRecord, without
from cachesync.search.query import All, Or, Prefix, Query, Term
from cachesync.search.request import Answer, FacetCount, Hit, Request

_WALK_SIZE: Final = 5_000
_COUNT_SIZE: Final = 20_000
_KEEP_ALIVE: Final = "2m"
"""How long the server keeps a state of the index for who is walking it, from one request to the next."""

_MAX_WINDOW: Final = 10_000
"""How many hits Elasticsearch gives at once (``index.max_result_window``)."""


class Names(NamedTuple):
    """What a generation's two indices, and the aliases that they are written through, are called.

    A generation is written through aliases of its own, so a late request reaches no other one, whatever the public
    aliases point to by then; and ``require_alias`` keeps it from creating an index.
    """

    name: str
    number: int

    @property
    def specs(self) -> str:
        """The index of specs; the generation is called like this too."""
        return f"{self.name}-{self.number}"

    @property
    def pages(self) -> str:
        """The index of pages."""
        return f"{self.name}-pages-{self.number}"

    def aliases(self, *, building: bool) -> tuple[str, str]:
        """Return the aliases to write specs and pages through."""
        suffix = "building" if building else "writing"
        return f"{self.specs}-{suffix}", f"{self.pages}-{suffix}"


_WAIT_SECONDS: Final = 1.0
"""How long to wait for a batch at a time."""

_LANDING_SECONDS: Final = 5.0
"""How long batches that are on their way may take to be carried out whole when no more are wanted."""

_RECORD_BYTES: Final = 500
_DIGEST_BYTES: Final = 60
"""About what a page's record weighs, and what each of its specs adds to that."""


class _Batch:
    """Changes of some pages, ready to be sent."""

    def __init__(self) -> None:
        self.pending: list[bytes] = []
        self.puts: list[bytes] = []
        self.deletes: list[bytes] = []
        self.pages: list[tuple[PageChange, int]] = []
        """Each page's change without its documents, and the version of its record."""
        self.bytes = 0

    def add(self, change: PageChange, version: int, *, building: bool) -> None:
        """Encode a page's change. Its record is one version younger than its documents."""
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
        replaced = [each for each in puts if not each.fresh]
        self.pages.append((PageChange(page, replaced, deletes, before, record, digests), version + 1))


def _pending(change: PageChange, record: PageRecord) -> bytes:
    specs = change.before.specs if change.before else 0
    ids = [*(each.id for each in change.puts), *change.deletes]
    changing: Digests = {key_of(change.page, id): b"" for id in ids}
    return mapping.record_source(msgspec.structs.replace(record, pending=True, specs=specs), changing)


class ElasticGeneration:
    """A generation, opened for reading and, with a lease, for writing."""

    def __init__(
        self,
        connection: Connection,
        names: Names,
        found: dict[str, Any],
        lease: Lease | None,
        *,
        building: bool = False,
    ) -> None:
        """``found`` is the mapping of its specs."""
        self._connection = connection
        self.names = names
        self._fields = frozenset(found["properties"])
        self._outdated = mapping.is_outdated(found)
        self._lease = lease
        self._losses = lease.losses if lease else 0
        self._building = building

    @property
    def generation(self) -> str:
        """The name of its index of specs."""
        return self.names.specs

    @property
    def outdated(self) -> bool:
        """It was made by a version with other fields or documents."""
        return self._outdated

    @property
    def fields(self) -> frozenset[str]:
        """The fields that its documents may have."""
        return self._fields

    # --- reading ------------------------------------------------------------------------------------------------------

    def records(self, below: Sequence[str] = ()) -> Iterator[PageRecord]:
        """Walk the ledger."""
        chosen: Query = Or(tuple(Prefix("page", folder) for folder in below)) if below else All()
        body = {"_source": {"excludes": [mapping.DIGESTS]}, "query": searching.query(chosen)}
        for hit in self._walk(self.names.pages, body, [{"_shard_doc": "asc"}]):
            yield mapping.record(hit["_source"])

    def remembered(self, pages: Sequence[str]) -> dict[str, Remembered]:
        """Look pages up in the ledger, in its last state."""
        if not pages:
            return {}
        answer = self._connection.call(lambda client: client.mget(index=self.names.pages, ids=list(pages)))
        for each in answer["docs"]:
            if "error" in each:
                raise IndexUnusableError(f"cannot read {self.names.pages}: {each['error'].get('reason', '')}")
        return {each["_id"]: mapping.remembered(each["_source"]) for each in answer["docs"] if each["found"]}

    def counts(self) -> dict[str, int]:
        """Count the documents that are really there, by page."""
        counts: dict[str, int] = {}
        sources = [{"page": {"terms": {"field": "page", "missing_bucket": True}}}]
        after: dict[str, Any] = {}
        while True:
            pages = {"composite": {"size": _COUNT_SIZE, "sources": sources, **after}}
            found = self._search(self.names.specs, {"size": 0, "aggs": {"pages": pages}})["aggregations"]["pages"]
            counts |= {each["key"]["page"]: each["doc_count"] for each in found["buckets"]}
            if None in counts:
                raise self._of_no_page()
            if "after_key" not in found:
                return counts
            after = {"after": found["after_key"]}

    def documents(self, page: str | None = None) -> Iterator[Stored]:
        """Walk the documents of a page, or all of them."""
        chosen: Query = All() if page is None else Term("page", page)
        sort = [{"page": "asc"}, {"_shard_doc": "asc"}]
        for hit in self._walk(self.names.specs, {"query": searching.query(chosen)}, sort):
            of = hit["sort"][0]
            if of is None:
                raise self._of_no_page()
            yield Stored(of, hit["_id"], msgspec.json.encode(hit["_source"]))

    def search(self, request: Request) -> Answer:
        """Answer a search."""
        body = searching.body(request)
        within = request.limit <= _MAX_WINDOW
        found = self._search(self.names.specs, {**body, "size": request.limit if within else 0})
        hits = found["hits"]["hits"] if within else islice(self._all_hits(body), request.limit)
        facets = found.get("aggregations", {})
        counts = {facet.field: facets[facet.field]["values"] for facet in request.facets}
        return Answer(
            found["hits"]["total"]["value"],
            [_hit(hit) for hit in hits],
            {
                field: [FacetCount(_facet_value(each), each["doc_count"]) for each in values["buckets"]]
                for field, values in counts.items()
            },
            tuple(field for field, values in counts.items() if values["doc_count_error_upper_bound"]),
        )

    def get(self, id: str) -> Hit | None:
        """Return one document, in its last state."""
        answer = self._connection.call(lambda client: client.mget(index=self.names.specs, ids=[id]))
        found = answer["docs"][0]
        return _hit(found) if found.get("found") else None

    def size(self) -> tuple[int, int]:
        """Count spec documents and pages."""
        specs, pages = (
            self._search(index, {"size": 0, "track_total_hits": True})["hits"]["total"]["value"]
            for index in (self.names.specs, self.names.pages)
        )
        return specs, pages

    def _of_no_page(self) -> IndexUnusableError:
        return IndexUnusableError(
            f"{self.names.specs} holds documents that are of no page; `cachesync sync` builds the index anew"
        )

    def _all_hits(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        wanted = {name: value for name, value in body.items() if name not in ("aggs", "sort", "track_total_hits")}
        return self._walk(self.names.specs, wanted, body["sort"])

    def _walk(self, index: str, body: dict[str, Any], sort: list[Any]) -> Iterator[dict[str, Any]]:
        """Yield all hits, as they are now, however many they are."""
        opened = self._connection.call(lambda client: client.open_point_in_time(index=index, keep_alive=_KEEP_ALIVE))
        pit = {"id": opened["id"], "keep_alive": _KEEP_ALIVE}
        after: dict[str, Any] = {}
        while True:
            found = self._search(None, {**body, **after, "pit": pit, "sort": sort, "size": _WALK_SIZE})
            pit["id"] = found["pit_id"]
            hits = found["hits"]["hits"]
            yield from hits
            if len(hits) < _WALK_SIZE:
                break
            after = {"search_after": hits[-1]["sort"]}
        # Who doesn't walk to the end leaves it to the server to forget about it.
        self._connection.attempt(lambda client: client.close_point_in_time(id=pit["id"]))

    def _search(self, index: str | None, body: dict[str, Any]) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._connection.call(
                lambda client: client.search(index=index, allow_partial_search_results=False, **_as_arguments(body)),
                (BadRequestError,),
            )
        except BadRequestError as error:
            if re.search("too_many_(nested_)?clauses", str(error.body)):
                raise UsageError("too many words begin with what was typed: type more of it") from None
            raise self._connection.explained(error) from error
        return found

    # --- writing ------------------------------------------------------------------------------------------------------

    def write(self, changes: Iterable[PageChange], *, refresh: bool = True) -> Iterator[Written]:
        """Carry out changes; several batches of pages are in flight."""
        assert self._lease
        sender = Bulk(self._connection)
        batch = _Batch()
        flying: set[Future[list[Written]]] = set()
        threads = ThreadPoolExecutor(MAX_IN_FLIGHT, thread_name_prefix="bulk")
        wrote = False

        def send() -> Future[list[Written]]:
            logged = contextvars.copy_context()  # so that log lines tell of what they belong to
            return threads.submit(logged.run, self._carry_out, sender, batch, current().branch())

        try:
            for change in changes:
                if not wrote:
                    self._lease.claim(self._losses)
                    wrote = True
                batch.add(change, self._lease.next_version(), building=self._building)
                if batch.bytes >= sender.pace.bytes:
                    flying.add(send())
                    batch = _Batch()
                    while len(flying) >= sender.pace.in_flight:
                        done, flying = self._landed(flying)
                        yield from (each for future in done for each in future.result())
            if batch.pages:
                flying.add(send())
            while flying:
                done, flying = self._landed(flying)
                yield from (each for future in done for each in future.result())
        finally:
            try:
                wait(flying, _LANDING_SECONDS)
            finally:
                sender.stop.set()
                threads.shutdown(wait=True, cancel_futures=True)
        if wrote and refresh:
            self.refresh()

    def _landed(
        self, flying: set[Future[list[Written]]]
    ) -> tuple[set[Future[list[Written]]], set[Future[list[Written]]]]:
        """Wait until at least one batch is done, and return those that are and those that aren't."""
        while True:
            done, still = wait(flying, _WAIT_SECONDS, FIRST_COMPLETED)
            current().check()
            if done:
                return done, still

    def refresh(self) -> None:
        """Make sure that all that was written is found."""
        self._connection.call(lambda client: client.indices.refresh(index=[self.names.specs, self.names.pages]))

    def _carry_out(self, sender: Bulk, batch: _Batch, context: Context) -> list[Written]:
        """Write a batch in a thread of its own."""
        with running(context):
            return self._written(sender, batch)

    def _written(self, sender: Bulk, batch: _Batch) -> list[Written]:
        """Write a batch: that it is pending, its documents, that it is done."""
        specs, pages = self.names.aliases(building=self._building)
        self._send_records(sender, pages, batch.pending)
        refused = self._send(sender, specs, batch.puts + batch.deletes, batch.bytes)
        by_id = {each.id: each for each in refused}
        done = [_done(change, version, by_id) for change, version in batch.pages]
        gone = [change.record is None for change, _ in batch.pages]
        for deleted in (False, True):  # a request has its puts first
            records = [operation for (operation, _), is_gone in zip(done, gone, strict=True) if is_gone is deleted]
            self._send_records(sender, pages, records)
        return [written for _, written in done]

    def _send_records(self, sender: Bulk, alias: str, operations: Sequence[bytes]) -> None:
        for refusal in self._send(sender, alias, operations, sum(map(len, operations))):
            raise IndexUnavailableError(f"Elasticsearch refuses the page document {refusal.id}: {refusal.reason}")

    def _send(self, sender: Bulk, alias: str, operations: Sequence[bytes], weight: int) -> Sequence[Refusal]:
        assert self._lease
        self._lease.check(self._losses)
        sent = sender.send(alias, operations, weight)
        if sent.stale:  # something newer is there: from who has taken over, or else from nobody that we know of
            self._lease.confirm()
            self._lease.check(self._losses)
            raise IndexUnusableError(f"{self.generation} holds what a later writer wrote, and nobody knows of one")
        return sent.refused


def _done(change: PageChange, version: int, refused: Mapping[str, Refusal]) -> tuple[bytes, Written]:
    """Return how to write that a page is done, and the acknowledgement. ``refused`` are documents, by their ids."""
    if change.record is None:
        return bulk.delete(change.page, version), Written(change.page, [])
    record, digests = change.record, change.digests
    start = document_id(change.page, "")
    ours = [refused[start + key] for key in digests if start + key in refused] if refused else []
    if ours:
        replaced = {key_of(change.page, put.id) for put in change.puts}
        reasons = {key_of(change.page, each.id): each.reason for each in ours}
        record, digests = without(record, digests, reasons, replaced)
    return bulk.put(change.page, version, mapping.record_source(record, digests)), Written(change.page, ours)


def _facet_value(bucket: dict[str, Any]) -> str:
    """Return the value that a bucket counts as documents have it: of a date the key itself is a number."""
    value: str = bucket.get("key_as_string", bucket["key"])
    return value


def _hit(found: dict[str, Any]) -> Hit:
    return {"_id": found["_id"], **found["_source"]}


def _as_arguments(body: dict[str, Any]) -> dict[str, Any]:
    """The client calls ``_source`` ``source``."""
    return {name.removeprefix("_"): value for name, value in body.items()}

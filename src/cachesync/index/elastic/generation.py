"""One generation: an index of specs and one of pages, which is the ledger.

A page's change is written in an order that makes a crash harmless. First its page document says that the change is
*pending* and names every document that is about to change. Then the documents change. Last, the page document says
what is there now. Whoever finds a page pending looks at the documents themselves. In a generation that is being built
the first step falls away: if it isn't finished, it is removed as a whole.
"""

import contextvars
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cache, partial
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
from elasticsearch import ApiError, BadRequestError, Elasticsearch, NotFoundError

from cachesync.context import Context, current, running
from cachesync.documents import document_id, key_of
from cachesync.errors import IndexUnavailableError, IndexUnusableError, UsageError
from cachesync.index.base import PageChange, Refusal, Remembered, Stored, Written
from cachesync.index.elastic import bulk, mapping, searching
from cachesync.index.elastic.bulk import Bulk
from cachesync.index.elastic.connection import Connection, unreadable
from cachesync.index.elastic.lease import Lease
from cachesync.index.elastic.limits import EXPENSIVE, LimitError, Limits
from cachesync.index.elastic.pace import MAX_IN_FLIGHT
from cachesync.ledger import Digests, PageRecord, without
from cachesync.search.query import All, Or, Prefix, Query, Term
from cachesync.search.request import BINARIES, EXACT_BINARIES, TIEBREAK, Answer, FacetCount, Hit, Request

_WALK_SIZE: Final = 5_000
_COUNT_SIZE: Final = 20_000
_BUCKETS: Final = "buckets"
_ENUM_SIZE: Final = 10_000

_MAX_VALUES: Final = 65_536
"""How many values are named in place of their common beginning, to a server that runs no queries for that."""

_NAMES_BYTES: Final = 10_000
"""How many bytes of names go into one request: with what stands between them less than small proxies let through."""

_ENUM_TIMEOUT: Final = "20s"


Body = Callable[[Limits], dict[str, Any]]
"""Makes the body of a search that keeps within limits."""


Send = Callable[[Elasticsearch], Any]
"""Sends a request by a client."""


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
        if not below:
            yield from self._records(All())
        for folders in _parts(_outermost(below)):
            yield from self._records(Or(tuple(Prefix("page", folder) for folder in folders)))

    def _records(self, chosen: Query) -> Iterator[PageRecord]:
        by_values = self._values_of(self.names.pages, None)

        def body(limits: Limits) -> dict[str, Any]:
            query = searching.query(chosen, by_values(limits))
            return {"_source": {"excludes": [mapping.DIGESTS]}, "query": query}

        seen: set[str] = set()
        for hit in self._walk(self.names.pages, body, []):
            if hit["_id"] not in seen:
                seen.add(hit["_id"])
                yield mapping.record(hit["_source"])

    def remembered(self, pages: Sequence[str]) -> dict[str, Remembered]:
        """Look pages up in the ledger, in its last state."""
        found = [each for part in _parts(pages) for each in self._got(self.names.pages, part)]
        return {each["_id"]: mapping.remembered(each["_source"]) for each in found if each["found"]}

    def _got(self, index: str, ids: list[str]) -> list[dict[str, Any]]:
        """Return documents by their ids, in their last state."""
        found: list[dict[str, Any]] = self._connection.call(lambda client: client.mget(index=index, ids=ids))["docs"]
        for each in found:
            if "error" in each:
                raise unreadable(index, each["error"], self._connection.server.url)
        return found

    def counts(self) -> dict[str, int]:
        """Count the documents that are really there, by page."""
        by_page = {"page": {"terms": {"field": "page", "missing_bucket": True}}}
        counts = {each["key"]["page"]: each["doc_count"] for each in self._buckets(self.names.specs, by_page, {})}
        if None in counts:
            raise self._of_no_page()
        return counts

    def _buckets(self, index: str, source: dict[str, Any], more: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield all buckets of a source, however many they are, each with ``more`` aggregations of what is in it."""
        after: dict[str, Any] = {}
        while True:
            found = self._search(index, partial(_some_buckets, source, more, after))["aggregations"][_BUCKETS]
            yield from found["buckets"]
            if "after_key" not in found:
                return
            after = {"after": found["after_key"]}

    def documents(self, page: str | None = None) -> Iterator[Stored]:
        """Walk the documents of a page, or all of them."""
        chosen: Query = All() if page is None else Term("page", page)
        body = {"query": searching.query(chosen)}
        for hit in self._walk(self.names.specs, lambda _limits: body, searching.ordered(TIEBREAK)):
            of = hit["sort"][0]
            if of is None:
                raise self._of_no_page()
            yield Stored(of, hit["_id"], msgspec.json.encode(hit["_source"]))

    def search(self, request: Request) -> Answer:
        """Answer a search."""
        by_values = self._values_of(self.names.specs, _MAX_VALUES)

        def body(limits: Limits) -> dict[str, Any]:
            size = request.limit if request.limit <= limits.window else 0
            return {**searching.body(request, by_values(limits)), "size": size}

        found = self._search(self.names.specs, body)
        total = found["hits"]["total"]["value"]
        within = request.limit <= self._connection.limits.window
        hits = found["hits"]["hits"] if within else islice(self._all_hits(body, request), request.limit)
        counts = {facet.field: searching.aggregated(found, facet.field) for facet in request.facets}
        approximate = [field for field, values in counts.items() if values["doc_count_error_upper_bound"]]
        count = None
        if request.binaries:
            count, is_estimate = self._binaries(request, found, total)
            approximate += [BINARIES] if is_estimate else []
        return Answer(
            total,
            [_hit(hit) for hit in hits],
            {
                field: [FacetCount(_facet_value(each), each["doc_count"]) for each in values["buckets"]]
                for field, values in counts.items()
            },
            count,
            tuple(approximate),
        )

    def _binaries(self, request: Request, found: dict[str, Any], total: int) -> tuple[int, bool]:
        """Count the binaries of an answer: those of few documents one by one. Tell whether that is an estimate."""
        if total <= EXACT_BINARIES:
            by_values = self._values_of(self.names.specs, _MAX_VALUES)

            def body(limits: Limits) -> dict[str, Any]:
                return searching.binaries(request, limits.buckets, by_values(limits))

            listed = searching.aggregated(self._search(self.names.specs, body), BINARIES)
            if not listed["sum_other_doc_count"]:
                return len(listed["buckets"]), False
        return searching.aggregated(found, BINARIES)["value"], True

    def count(self, queries: Sequence[Query]) -> list[int]:
        """Count the documents that match each of some queries."""
        if not queries:
            return []
        by_values = self._values_of(self.names.specs, _MAX_VALUES)
        found = self._search(self.names.specs, lambda limits: searching.counting(queries, by_values(limits)))
        return [each["doc_count"] for each in searching.aggregated(found, searching.COUNTS)["buckets"]]

    def vocabulary(self, field: str) -> list[str]:
        """Return the values of a keyword field."""
        return self._starting(self.names.specs, None, field, "") if field in self._fields else []

    def packages(self) -> dict[str, int]:
        """Return all packages, and about how many documents each has, by the ledger: its documents are far fewer."""
        counts: Counter[str] = Counter()
        by_package = {"package": {"terms": {"field": "package"}}}
        for each in self._buckets(self.names.pages, by_package, {"specs": {"sum": {"field": "specs"}}}):
            counts[each["key"]["package"].lower()] += round(each["specs"]["value"])
        return {package: specs for package, specs in counts.items() if specs}

    def get(self, id: str) -> Hit | None:
        """Return one document, in its last state."""
        (found,) = self._got(self.names.specs, [id])
        return _hit(found) if found["found"] else None

    def size(self) -> tuple[int, int]:
        """Count spec documents and pages."""
        specs, pages = (
            self._search(index, lambda _limits: {"size": 0, "track_total_hits": True})["hits"]["total"]["value"]
            for index in (self.names.specs, self.names.pages)
        )
        return specs, pages

    def _of_no_page(self) -> IndexUnusableError:
        return IndexUnusableError(
            f"{self.names.specs} holds documents that are of no page; `cachesync sync` builds the index anew"
        )

    def _all_hits(self, body: Body, request: Request) -> Iterator[dict[str, Any]]:
        """Yield hits however many they are; distinct ones are told apart here, since no server collapses a walk."""
        left_out = ("aggs", "collapse", "track_total_hits")

        def wanted(limits: Limits) -> dict[str, Any]:
            return {name: value for name, value in body(limits).items() if name not in left_out}

        seen: set[str] = set()
        for hit in self._walk(self.names.specs, wanted, wanted(self._connection.limits)["sort"]):
            binary = hit["_source"]["binary"] if request.distinct else hit["_id"]
            if binary not in seen:
                seen.add(binary)
                yield hit

    def _walk(self, index: str, body: Body, sort: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield all hits, as they are now, however many they are.

        The server may forget the state of the index that is walked, since a node was restarted or whoever takes the
        hits is slow. Then the walk goes on in the state of then: in ``sort`` each hit has a place of its own. Without
        one the hits come in the server's own order, which costs least, and the walk begins anew: hits come twice.
        """
        pit = self._opened(index)
        last: list[Any] = []
        forgotten = 0
        while forgotten < _MAX_FORGOTTEN:
            try:
                found = self._search(None, partial(_step, body, pit, sort, last))
            except NotFoundError as error:
                if not _is_forgotten(error):
                    raise self._connection.explained(error) from error
                forgotten += 1
                pit, last = self._opened(index), last[: len(sort)]  # behind them is a key that only that state had
                continue
            forgotten = 0
            pit = found["pit_id"]
            hits = found["hits"]["hits"]
            yield from hits
            if len(hits) < min(_WALK_SIZE, self._connection.limits.window):
                self._close(pit)
                return
            last = hits[-1]["sort"]
        raise IndexUnavailableError(f"{index} can't be walked: the server forgets at once where it was")

    def _close(self, pit: str) -> None:
        """Let the server forget a state of the index. Who doesn't walk to the end leaves that to the server."""
        self._connection.attempt(lambda client: client.close_point_in_time(id=pit))

    def _opened(self, index: str) -> str:
        """Keep the state of an index that is now, and return its id."""

        def opening(limits: Limits) -> Send:
            return lambda client: client.open_point_in_time(index=index, keep_alive=limits.keep_alive)

        return str(self._asked(opening)["id"])

    def _search(self, index: str | None, body: Body) -> dict[str, Any]:
        def search(limits: Limits) -> Send:
            asked = _as_arguments(body(limits))
            return lambda client: client.search(index=index, allow_partial_search_results=False, **asked)

        try:
            found: dict[str, Any] = self._asked(search, (BadRequestError, *([] if index else [NotFoundError])))
        except BadRequestError as error:
            if re.search("too_many_(nested_)?clauses", str(error.body)):
                raise UsageError("too many words begin with what was typed: type more of it") from None
            if "search.max_buckets" in str(error.body):
                raise UsageError(
                    f"the facets have more values than {self._connection.server.url} counts in one search "
                    f"(search.max_buckets is {self._connection.limits.buckets:,}): ask for fewer, as in --facet os:10"
                ) from None
            raise self._connection.explained(error) from error
        return found

    def _asked(self, request: Callable[[Limits], Send], expected: tuple[type[ApiError], ...] = ()) -> dict[str, Any]:
        """Send a request, and one that asks for less where the server refuses so much."""
        while True:
            limits = self._connection.limits
            try:
                answer: dict[str, Any] = self._connection.call(partial(_sent, request(limits), limits), expected)
            except LimitError as error:
                self._connection.limits = error.limits
            else:
                return answer

    def _values_of(self, index: str, at_most: int | None) -> Callable[[Limits], searching.ByValues | None]:
        """Return what tells how one search asks for beginnings and ranges, within limits. Values are listed once."""
        starting = cache(partial(self._starting, index, at_most))
        return lambda limits: None if limits.prefixes else searching.ByValues(starting, limits.terms)

    def _starting(self, index: str, at_most: int | None, field: str, start: str) -> list[str]:
        """Return the values of a field that start like this.

        Raises:
            UsageError: they are more than ``at_most``.
        """
        values: list[str] = []
        while at_most is None or len(values) <= at_most:
            more = self._listed(index, field, start, values[-1] if values else None)
            values += more
            if len(more) < _ENUM_SIZE:
                return values
        self._connection.limits = self._connection.limits._replace(prefixes=True)  # which may have changed by next time
        raise UsageError(
            f"too many values of {field} begin with {start!r:.80}: type more of it, "
            f"or set {EXPENSIVE} to true at {self._connection.server.url}"
        )

    def _listed(self, index: str, field: str, start: str, after: str | None) -> list[str]:
        """Return the next values of a field that start like this, in their order."""
        found = self._connection.call(
            lambda client: client.terms_enum(
                index=index, field=field, string=start, size=_ENUM_SIZE, timeout=_ENUM_TIMEOUT, search_after=after
            )
        )
        if not found["complete"]:
            raise IndexUnavailableError(f"{index} could not list the values of {field} within {_ENUM_TIMEOUT}")
        values: list[str] = found["terms"]
        return values

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


_MAX_FORGOTTEN: Final = 5
"""How often in a row a server may have forgotten what it was just asked to keep."""


def _is_forgotten(error: ApiError) -> bool:
    return "search_context_missing_exception" in str(error.body)


def _sent(send: Send, limits: Limits, client: Elasticsearch) -> Any:
    """Send a request that keeps within limits.

    Raises:
        LimitError: the server allows less.
    """
    try:
        return send(client)
    except ApiError as error:
        if less := limits.after(error):
            raise LimitError(less) from None
        raise


def _some_buckets(
    source: dict[str, Any], more: dict[str, Any], after: dict[str, Any], limits: Limits
) -> dict[str, Any]:
    """Ask for the buckets of a source behind the last one, as many as one request may ask for."""
    composite = {"size": min(_COUNT_SIZE, limits.buckets), "sources": [source], **after}
    return {"size": 0, "aggs": {_BUCKETS: {"composite": composite, "aggs": more}}}


def _step(body: Body, pit: str, sort: list[dict[str, Any]], last: list[Any], limits: Limits) -> dict[str, Any]:
    """Ask for the hits of a walk behind the last one, of which this is the place."""
    return {
        **body(limits),
        "sort": sort or [{"_shard_doc": "asc"}],
        **({"search_after": last} if last else {}),
        "pit": {"id": pit, "keep_alive": limits.keep_alive},
        "size": min(_WALK_SIZE, limits.window),
    }


def _outermost(folders: Sequence[str]) -> list[str]:
    """Leave out folders that are below others of them."""
    outermost: list[str] = []
    for folder in sorted(folders):
        if not outermost or not folder.startswith(outermost[-1]):
            outermost.append(folder)
    return outermost


def _parts(names: Sequence[str]) -> Iterator[list[str]]:
    """Cut names into as many as go into one request."""
    part: list[str] = []
    size = 0
    for name in names:
        size += len(name.encode())
        if part and size > _NAMES_BYTES:
            yield part
            part, size = [], len(name.encode())
        part.append(name)
    if part:
        yield part


def _facet_value(bucket: dict[str, Any]) -> str:
    """Return the value that a bucket counts as documents have it: of a date the key itself is a number."""
    value: str = bucket.get("key_as_string", bucket["key"])
    return value


def _hit(found: dict[str, Any]) -> Hit:
    return {"_id": found["_id"], **found["_source"]}


def _as_arguments(body: dict[str, Any]) -> dict[str, Any]:
    """The client calls ``_source`` ``source``."""
    return {name.removeprefix("_"): value for name, value in body.items()}

"""One generation, opened for reading: an index of specs, and an index of pages, which is the ledger."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
from elasticsearch import ApiError, BadRequestError, Elasticsearch, NotFoundError

from cachesync.context import Context, current, running
from cachesync.errors import ExcessiveError, IndexUnavailableError, IndexUnusableError
from cachesync.index.base import Remembered, Stored
from cachesync.index.elastic import mapping, query_dsl
from cachesync.index.elastic.connection import Connection, unreadable
from cachesync.index.elastic.limits import EXPENSIVE, LimitError, Limits
from cachesync.ledger import PageRecord
from cachesync.search.query import All, Or, Prefix, Query, Term
from cachesync.search.request import BINARIES, EXACT_BINARIES, TIEBREAK, FacetCount, Found, Hit, Part, Request

WALK_SIZE: Final = 5_000
_PART_SIZE: Final = 2_000
"""How many documents of a walk are returned as one part."""

_NOT_WALKED: Final = ("aggs", "collapse", "track_total_hits")
"""The parts of a search body that a walk leaves out."""

_COUNT_SIZE: Final = 20_000
_BUCKETS: Final = "buckets"
_ENUM_SIZE: Final = 10_000

_MAX_VALUES: Final = 65_536
"""How many values may stand in for their common prefix, on a server that doesn't allow prefix queries."""

_NAMES_BYTES: Final = 10_000
"""How many bytes of names go into one request: with their separators, less than small proxies let through."""

_ENUM_TIMEOUT: Final = "20s"

_MAX_ENUM_THREADS: Final = 4
"""How many requests list values at the same time."""

Body = Callable[[Limits], dict[str, Any]]
"""Makes the body of a search that stays within limits."""

Send = Callable[[Elasticsearch], Any]
"""Sends a request with a client."""


class IndexNames(NamedTuple):
    """The names of a generation's two indices, and of the aliases through which they are written.

    Each generation is written through its own aliases, so a late request can't reach another one, whatever the public
    aliases point to by then; ``require_alias`` keeps it from creating an index.
    """

    name: str
    number: int

    @classmethod
    def of(cls, name: str, generation: str) -> "IndexNames":
        """Return the names of a generation of the index ``name``, by the generation's own."""
        return cls(name, int(generation.removeprefix(f"{name}-")))

    @property
    def specs(self) -> str:
        """The index of specs; its name is the generation's name too."""
        return f"{self.name}-{self.number}"

    @property
    def pages(self) -> str:
        """The index of pages."""
        return f"{self.name}-pages-{self.number}"

    def aliases(self, *, building: bool) -> tuple[str, str]:
        """Return the aliases to write specs and pages through."""
        suffix = "building" if building else "writing"
        return f"{self.specs}-{suffix}", f"{self.pages}-{suffix}"


class ElasticReader:
    """A generation, opened for reading."""

    def __init__(self, connection: Connection, names: IndexNames, found: dict[str, Any]) -> None:
        """``found`` is the mapping of the index of specs."""
        self._connection = connection
        self.names = names
        self._fields = frozenset(found["properties"])
        self._outdated = mapping.is_outdated(found)

    @property
    def generation(self) -> str:
        """The name of its index of specs."""
        return self.names.specs

    @property
    def outdated(self) -> bool:
        """Whether a version with other fields or documents made it."""
        return self._outdated

    @property
    def fields(self) -> frozenset[str]:
        """The fields that its documents may have."""
        return self._fields

    def state(self) -> str:
        """Return the generation, its number of documents, and their highest sequence number.

        A write raises the sequence number, and a delete lowers the number of documents. Each shard has sequence numbers
        of its own, so with several shards some writes go unnoticed until the next one.
        """
        last = {"last": {"max": {"field": "_seq_no"}}}
        found = self._search(self.names.specs, lambda _limits: {"size": 0, "track_total_hits": True, "aggs": last})
        return f"{self.generation} {found['hits']['total']['value']} {found['aggregations']['last']['value']}"

    def records(self, below: Sequence[str] = ()) -> Iterator[PageRecord]:
        """Yield the ledger's records."""
        if not below:
            yield from self._records(All())
        for folders in _batches(_outermost(below)):
            yield from self._records(Or(tuple(Prefix("page", folder) for folder in folders)))

    def _records(self, chosen: Query) -> Iterator[PageRecord]:
        by_values = self._values_of(self.names.pages, None)

        def body(limits: Limits) -> dict[str, Any]:
            query = query_dsl.query(chosen, by_values(limits))
            return {"_source": {"excludes": [mapping.DIGESTS]}, "query": query}

        seen: set[str] = set()
        for hit in self._walk(self.names.pages, body, []):
            if hit["_id"] not in seen:
                seen.add(hit["_id"])
                yield mapping.record(hit["_source"])

    def remembered(self, pages: Sequence[str]) -> dict[str, Remembered]:
        """Look up pages in the ledger, including what isn't refreshed yet."""
        found = [each for part in _batches(pages) for each in self._get(self.names.pages, part)]
        return {each["_id"]: mapping.remembered(each["_source"]) for each in found if each["found"]}

    def _get(self, index: str, ids: list[str]) -> list[dict[str, Any]]:
        """Return documents by their ids, including what isn't refreshed yet."""
        found: list[dict[str, Any]] = self._connection.call(lambda client: client.mget(index=index, ids=ids))["docs"]
        for each in found:
            if "error" in each:
                raise unreadable(index, each["error"], self._connection.server.url)
        return found

    def counts(self) -> dict[str, int]:
        """Count the documents that are really in the index, by page."""
        by_page = {"page": {"terms": {"field": "page", "missing_bucket": True}}}
        counts = {each["key"]["page"]: each["doc_count"] for each in self._buckets(self.names.specs, by_page, {})}
        if None in counts:
            raise self._of_no_page()
        return counts

    def _buckets(self, index: str, source: dict[str, Any], more: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield all buckets of a source, however many there are, each with ``more`` aggregations of its documents."""
        after: dict[str, Any] = {}
        while True:
            found = self._search(index, partial(_some_buckets, source, more, after))["aggregations"][_BUCKETS]
            yield from found["buckets"]
            if "after_key" not in found:
                return
            after = {"after": found["after_key"]}

    def documents(self, page: str | None = None) -> Iterator[Stored]:
        """Yield the documents of a page, or of all pages."""
        chosen: Query = All() if page is None else Term("page", page)
        body = {"query": query_dsl.query(chosen)}
        for hit in self._walk(self.names.specs, lambda _limits: body, query_dsl.ordered(TIEBREAK)):
            of = hit["sort"][0]
            if of is None:
                raise self._of_no_page()
            yield Stored(of, hit["_id"], msgspec.json.encode(hit["_source"]))

    def search(self, request: Request) -> Found:
        """Run a search."""
        by_values = self._values_of(self.names.specs, _MAX_VALUES)

        def body(limits: Limits) -> dict[str, Any]:
            size = request.limit if request.limit <= limits.window else 0
            return {**query_dsl.body(request, by_values(limits)), "size": size}

        found = self._search(self.names.specs, body)
        total = found["hits"]["total"]["value"]
        within = request.limit <= self._connection.limits.window
        hits = found["hits"]["hits"] if within else islice(self._all_hits(body, request), request.limit)
        counts = {facet.field: query_dsl.aggregated(found, facet.field) for facet in request.facets}
        approximate = [field for field, values in counts.items() if values["doc_count_error_upper_bound"]]
        count = None
        if request.binaries:
            count, is_estimate = self._binaries(request, found, total)
            approximate += [BINARIES] if is_estimate else []
        return Found(
            total,
            [_hit(hit) for hit in hits],
            {
                field: [FacetCount(_facet_value(each), each["doc_count"]) for each in values["buckets"]]
                for field, values in counts.items()
            },
            count,
            tuple(approximate),
        )

    def walk(self, request: Request) -> Iterator[Part]:
        """Yield all documents that match a request, as they are now and in its order; see :meth:`_walk`."""
        by_values = self._values_of(self.names.specs, _MAX_VALUES)

        found = self._walk_specs(lambda limits: query_dsl.body(request, by_values(limits)))
        while some := list(islice(found, _PART_SIZE)):
            rank = len(request.ranks) - round(some[-1]["sort"][0]) if request.ranks else 0
            yield Part([_hit(each) for each in some], rank)

    def _binaries(self, request: Request, found: dict[str, Any], total: int) -> tuple[int, bool]:
        """Count the binaries of a response, exactly if there are few; return whether the number is an estimate, too."""
        if total <= EXACT_BINARIES:
            by_values = self._values_of(self.names.specs, _MAX_VALUES)

            def body(limits: Limits) -> dict[str, Any]:
                return query_dsl.binaries(request, limits.buckets, by_values(limits))

            listed = query_dsl.aggregated(self._search(self.names.specs, body), BINARIES)
            if not listed["sum_other_doc_count"]:
                return len(listed["buckets"]), False
        return min(total, query_dsl.aggregated(found, BINARIES)["value"]), True

    def count(self, queries: Sequence[Query]) -> list[int]:
        """Count the documents that match each of the queries."""
        if not queries:
            return []
        by_values = self._values_of(self.names.specs, _MAX_VALUES)
        found = self._search(self.names.specs, lambda limits: query_dsl.counting(queries, by_values(limits)))
        return [each["doc_count"] for each in query_dsl.aggregated(found, query_dsl.COUNTS)["buckets"]]

    def vocabulary(self, field: str, start: str = "") -> list[str]:
        """Return the values of a keyword field that begin with ``start``."""
        return self._values_with_prefix(self.names.specs, None, field, start) if field in self._fields else []

    def vocabularies(self, fields: Sequence[str]) -> dict[str, list[str]]:
        """Return the values of several keyword fields."""
        if len(fields) == 1:
            return {fields[0]: self.vocabulary(fields[0])}
        context = current().branch()
        with ThreadPoolExecutor(_MAX_ENUM_THREADS) as threads:
            return dict(zip(fields, threads.map(partial(self._vocabulary_within, context), fields), strict=True))

    def _vocabulary_within(self, context: Context, field: str) -> list[str]:
        with running(context):
            return self.vocabulary(field)

    def packages(self) -> dict[str, int]:
        """Return the approximate number of documents by package, from the ledger, which has far fewer documents."""
        counts: Counter[str] = Counter()
        by_package = {"package": {"terms": {"field": "package"}}}
        for each in self._buckets(self.names.pages, by_package, {"specs": {"sum": {"field": "specs"}}}):
            counts[each["key"]["package"].lower()] += round(each["specs"]["value"])
        return {package: specs for package, specs in counts.items() if specs}

    def get(self, id: str) -> Hit | None:
        """Return one document, even if it isn't refreshed yet."""
        (found,) = self._get(self.names.specs, [id])
        return _hit(found) if found["found"] else None

    def size(self) -> tuple[int, int]:
        """Count spec documents and pages."""
        specs, pages = (
            self._search(index, lambda _limits: {"size": 0, "track_total_hits": True})["hits"]["total"]["value"]
            for index in (self.names.specs, self.names.pages)
        )
        return specs, pages

    def refresh(self) -> None:
        """Make everything that was written visible to searches."""
        self._connection.call(lambda client: client.indices.refresh(index=[self.names.specs, self.names.pages]))

    def _of_no_page(self) -> IndexUnusableError:
        return IndexUnusableError(
            f"{self.names.specs} has documents that belong to no page; `cachesync sync` rebuilds the index"
        )

    def _all_hits(self, body: Body, request: Request) -> Iterator[dict[str, Any]]:
        """Yield all hits, however many there are. Duplicates are dropped here, since servers don't collapse a walk."""
        seen: set[str] = set()
        for hit in self._walk_specs(body):
            binary = hit["_source"]["binary"] if request.distinct else hit["_id"]
            if binary not in seen:
                seen.add(binary)
                yield hit

    def _walk_specs(self, body: Body) -> Iterator[dict[str, Any]]:
        """Yield all hits of a search for specs, in its order; see :meth:`_walk`."""

        def wanted(limits: Limits) -> dict[str, Any]:
            return {name: value for name, value in body(limits).items() if name not in _NOT_WALKED}

        return self._walk(self.names.specs, wanted, wanted(self._connection.limits)["sort"])

    def _walk(self, index: str, body: Body, sort: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield all hits, as they are now, however many there are.

        The server may lose the point in time, because a node was restarted or the caller consumes the hits slowly. The
        walk then continues in a new one, behind the last hit, whose position in ``sort`` must be unique. An empty
        ``sort`` means the server's own order, which is cheapest; then the walk starts again, and yields hits twice.
        """
        pit = self._open_pit(index)
        last: list[Any] = []
        lost = 0
        while lost < _MAX_LOST_PITS:
            try:
                found = self._search(None, partial(_step, body, pit, sort, last))
            except NotFoundError as error:
                if not _is_pit_lost(error):
                    raise self._connection.explained(error) from error
                lost += 1
                pit, last = self._open_pit(index), last[: len(sort)]  # drop the tiebreaker, valid only in the lost one
                continue
            lost = 0
            pit = found["pit_id"]
            hits = found["hits"]["hits"]
            yield from hits
            if len(hits) < min(WALK_SIZE, self._connection.limits.window):
                self._close_pit(pit)
                return
            last = hits[-1]["sort"]
        raise IndexUnavailableError(f"{index} can't be walked: the server keeps losing the point in time")

    def _close_pit(self, pit: str) -> None:
        """Close a point in time. A walk that isn't finished leaves its own to expire."""
        self._connection.attempt(lambda client: client.close_point_in_time(id=pit))

    def _open_pit(self, index: str) -> str:
        """Open a point in time of an index, and return its id."""

        def opening(limits: Limits) -> Send:
            return lambda client: client.open_point_in_time(index=index, keep_alive=limits.keep_alive)

        return str(self._request(opening)["id"])

    def _search(self, index: str | None, body: Body) -> dict[str, Any]:
        def search(limits: Limits) -> Send:
            arguments = _as_arguments(body(limits))
            return lambda client: client.search(index=index, allow_partial_search_results=False, **arguments)

        try:
            found: dict[str, Any] = self._request(search, (BadRequestError, *([] if index else [NotFoundError])))
        except BadRequestError as error:
            if "search.max_buckets" in str(error.body):
                raise ExcessiveError(
                    f"the facets have more values than {self._connection.server.url} counts in one search "
                    f"(search.max_buckets is {self._connection.limits.buckets:,}): ask for fewer, as in --facet os:10"
                ) from None
            raise self._connection.explained(error) from error
        return found

    def _request(self, request: Callable[[Limits], Send], expected: tuple[type[ApiError], ...] = ()) -> dict[str, Any]:
        """Send a request; if the server refuses it for one of its limits, send one that asks for less."""
        while True:
            limits = self._connection.limits
            try:
                answer: dict[str, Any] = self._connection.call(partial(_sent, request(limits), limits), expected)
            except LimitError as error:
                self._connection.limits = error.limits
            else:
                return answer

    def _values_of(self, index: str, at_most: int | None) -> Callable[[Limits], query_dsl.ByValues | None]:
        """Return a function from limits to how one search asks for prefixes and ranges. It lists values only once."""
        starting = cache(partial(self._values_with_prefix, index, at_most))
        return lambda limits: None if limits.prefixes else query_dsl.ByValues(starting, limits.terms)

    def _values_with_prefix(self, index: str, at_most: int | None, field: str, start: str) -> list[str]:
        """Return the values of a field that begin with ``start``.

        Raises:
            ExcessiveError: there are more than ``at_most``.
        """
        values: list[str] = []
        while at_most is None or len(values) <= at_most:
            more = self._list_values(index, field, start, values[-1] if values else None)
            values += more
            if len(more) < _ENUM_SIZE:
                return values
        self._connection.limits = self._connection.limits._replace(prefixes=True)  # the setting may change meanwhile
        raise ExcessiveError(
            f"too many values of {field} begin with {start!r:.80}: type more of it, "
            f"or set {EXPENSIVE} to true at {self._connection.server.url}"
        )

    def _list_values(self, index: str, field: str, start: str, after: str | None) -> list[str]:
        """Return the next sorted values of a field that begin with ``start``."""
        found = self._connection.call(
            lambda client: client.terms_enum(
                index=index, field=field, string=start, size=_ENUM_SIZE, timeout=_ENUM_TIMEOUT, search_after=after
            )
        )
        if not found["complete"]:
            raise IndexUnavailableError(f"{index} could not list the values of {field} within {_ENUM_TIMEOUT}")
        values: list[str] = found["terms"]
        return values


_MAX_LOST_PITS: Final = 5
"""How often in a row a server may lose a point in time that it has just opened."""


def _is_pit_lost(error: ApiError) -> bool:
    return "search_context_missing_exception" in str(error.body)


def _sent(send: Send, limits: Limits, client: Elasticsearch) -> Any:
    """Send a request that stays within limits.

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
    """Return the search for the buckets of a source after the last one, as many as one request may ask for."""
    composite = {"size": min(_COUNT_SIZE, limits.buckets), "sources": [source], **after}
    return {"size": 0, "aggs": {_BUCKETS: {"composite": composite, "aggs": more}}}


def _step(body: Body, pit: str, sort: list[dict[str, Any]], last: list[Any], limits: Limits) -> dict[str, Any]:
    """Return the search for the next hits of a walk, after the sort values ``last``."""
    return {
        **body(limits),
        "sort": sort or [{"_shard_doc": "asc"}],
        **({"search_after": last} if last else {}),
        "pit": {"id": pit, "keep_alive": limits.keep_alive},
        "size": min(WALK_SIZE, limits.window),
    }


def _outermost(folders: Sequence[str]) -> list[str]:
    """Leave out folders that are below another of them."""
    outermost: list[str] = []
    for folder in sorted(folders):
        if not outermost or not folder.startswith(outermost[-1]):
            outermost.append(folder)
    return outermost


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    """Divide names into batches that each fit into one request."""
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
    """Return a bucket's value as it is in the documents: the key of a date's bucket is a number."""
    value: str = bucket.get("key_as_string", bucket["key"])
    return value


def _hit(found: dict[str, Any]) -> Hit:
    return {"_id": found["_id"], **found["_source"]}


def _as_arguments(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body as keyword arguments of the client, which names ``_source`` ``source``."""
    return {name.removeprefix("_"): value for name, value in body.items()}

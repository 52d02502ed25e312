"""One generation, opened for reading: an index of specs, and an index of pages that is the ledger."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from cachesync.context import Context, current, running
from cachesync.errors import IndexUnusableError
from cachesync.index.elastic import ledger, mapping, query_dsl
from cachesync.index.elastic.connection import Connection
from cachesync.index.elastic.search import count, search
from cachesync.index.elastic.searcher import IndexSearcher
from cachesync.index.elastic.walk import walk, walk_hits
from cachesync.index.generation import Remembered, Stored
from cachesync.ledger import PageRecord
from cachesync.search.query import All, Query, Term
from cachesync.search.request import TIEBREAK, Found, Hit, Part, Request

_LISTING_THREADS: Final = 4
"""How many requests may list values at the same time."""


class IndexNames(NamedTuple):
    """The names of a generation's two indices, and of the aliases through which they are written.

    Each generation is written through its own aliases, so a late request can't reach another generation, whatever the
    public aliases point to by then. ``require_alias`` prevents a late request from creating an index.
    """

    name: str
    number: int

    @classmethod
    def of(cls, name: str, generation: str) -> "IndexNames":
        """Return the names for a generation of the index ``name``, given the generation's name."""
        return cls(name, int(generation.removeprefix(f"{name}-")))

    @property
    def specs(self) -> str:
        """The name of the index of specs, which is also the generation's name."""
        return f"{self.name}-{self.number}"

    @property
    def pages(self) -> str:
        """The name of the index of pages."""
        return f"{self.name}-pages-{self.number}"

    @property
    def indices(self) -> tuple[str, str]:
        """The names of the indices of specs and of pages."""
        return self.specs, self.pages

    @property
    def public(self) -> tuple[str, str]:
        """The aliases by which clients find the specs and pages of the live generation."""
        return self.name, f"{self.name}-pages"

    def aliases(self, *, building: bool) -> tuple[str, str]:
        """Return the aliases through which specs and pages are written."""
        suffix = "building" if building else "writing"
        return f"{self.specs}-{suffix}", f"{self.pages}-{suffix}"


class ElasticReader:
    """A generation, opened for reading."""

    def __init__(self, connection: Connection, names: IndexNames, found: dict[str, Any]) -> None:
        """``found`` is the mapping of the index of specs."""
        self._connection = connection
        self._specs = IndexSearcher(connection, names.specs)
        self._pages = IndexSearcher(connection, names.pages)
        self.names = names
        self.generation: Final = names.specs
        self.outdated: Final = mapping.is_outdated(found)
        self.fields: Final = frozenset[str](found["properties"])

    def state(self) -> str:
        """Return the generation, its number of documents, and their highest sequence number.

        A write raises the sequence number, and a delete lowers the number of documents. Each shard has sequence numbers
        of its own, so with several shards some writes go unnoticed until a later write.
        """
        body = {"size": 0, "track_total_hits": True, "aggs": {"last": {"max": {"field": "_seq_no"}}}}
        found = self._specs.search(lambda _limits: body)
        return f"{self.generation} {found['hits']['total']['value']} {found['aggregations']['last']['value']}"

    def records(self, below: Sequence[str] = ()) -> Iterator[PageRecord]:
        """Yield the ledger's records."""
        return ledger.records(self._pages, below)

    def remembered(self, pages: Sequence[str]) -> dict[str, Remembered]:
        """Look up pages in the ledger, including records that haven't been refreshed yet."""
        return ledger.remembered(self._pages, pages)

    def counts(self) -> dict[str, int]:
        """Count the documents that are actually in the index, by page."""
        by_page = {"page": {"terms": {"field": "page", "missing_bucket": True}}}
        found = self._specs.buckets(by_page, {})
        counts = {each["key"]["page"]: each["doc_count"] for each in found}
        if None in counts:
            raise _of_no_page(self.generation)
        return counts

    def documents(self, page: str | None = None) -> Iterator[Stored]:
        """Yield the documents of a page, or of all pages."""
        body = {"query": query_dsl.query(All() if page is None else Term("page", page))}
        order = query_dsl.ordered(TIEBREAK)
        for hit in walk_hits(self._specs, lambda _limits: body, order):
            of = hit["sort"][0]
            if of is None:
                raise _of_no_page(self.generation)
            yield Stored(of, hit["_id"], msgspec.json.encode(hit["_source"]))

    def search(self, request: Request) -> Found:
        """Run a search."""
        return search(self._specs, request)

    def walk(self, request: Request) -> Iterator[Part]:
        """Yield all documents that match a request, as they are now and in the request's order."""
        return walk(self._specs, request)

    def count(self, queries: Sequence[Query]) -> list[int]:
        """Count the documents that match each of the queries."""
        return count(self._specs, queries)

    def vocabulary(self, field: str, start: str = "") -> list[str]:
        """Return the values of a keyword field that begin with ``start``."""
        return self._specs.vocabulary(field, start) if field in self.fields else []

    def vocabularies(self, fields: Sequence[str]) -> dict[str, list[str]]:
        """Return the values of several keyword fields."""
        if len(fields) == 1:
            return {fields[0]: self.vocabulary(fields[0])}

        def listed(context: Context, field: str) -> list[str]:
            with running(context):
                return self.vocabulary(field)

        with ThreadPoolExecutor(_LISTING_THREADS) as threads:
            return dict(zip(fields, threads.map(partial(listed, current().branch()), fields), strict=True))

    def packages(self) -> dict[str, int]:
        """Return the approximate number of documents by package, from the ledger."""
        return ledger.packages(self._pages)

    def get(self, id: str) -> Hit | None:
        """Return one document, even if it hasn't been refreshed yet."""
        found = next(self._specs.get([id]), None)
        return query_dsl.hit(found) if found else None

    def size(self) -> tuple[int, int]:
        """Count spec documents and pages."""
        return self._specs.total(), self._pages.total()

    def refresh(self) -> None:
        """Make everything that was written visible to searches."""
        self._connection.call(lambda client: client.indices.refresh(index=self.names.indices))


def _of_no_page(generation: str) -> IndexUnusableError:
    return IndexUnusableError(f"{generation} has documents that belong to no page; `cachesync sync` rebuilds the index")

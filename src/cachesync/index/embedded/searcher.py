"""The elementary searches of one commit, of which all other searches consist."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

import tantivy

from cachesync.index.embedded import schema as layout
from cachesync.index.embedded.queries import Translator
from cachesync.search.query import All, And, Exists, Query
from cachesync.search.request import Hit, SortKey

MOST_VALUES: Final = 65_000
"""If a field has more values than this, tantivy counts only an arbitrary part of them."""


class CommitSearcher:
    """Searches the last commit of an index. All methods but :meth:`records` find only spec documents."""

    def __init__(self, index: tantivy.Index, fields: Collection[str]) -> None:
        """``fields`` are the fields of this index's documents; an older index lacks some."""
        self.fields: Final = frozenset({*fields, layout.ID})
        self._tantivy: Final = index.searcher()
        self._translator: Final = Translator(index, {*self.fields, layout.PAGE}, self.vocabulary)

    def records(self, query: Query, number: int | None = None) -> Iterator[tantivy.Document]:
        """Yield the ledger's records that match. ``number`` is how many records match, if that is known."""
        pages = self._translator.translated(query)
        if number is None:  # tantivy allocates memory for as many hits as are asked for
            number = max(1, self._tantivy.search(pages, 1, count=True).count or 0)  # type: ignore[attr-defined]
        for _, address in self._tantivy.search(pages, number, count=False).hits:
            yield self._tantivy.doc(address)

    def sizes(self) -> tuple[int, int]:
        """Count all spec documents and all ledger records."""
        specs = self.count(All())
        return specs, self._tantivy.num_docs - specs

    def count(self, query: Query) -> int:
        """Count the documents that match."""
        return self.some(query, 1)[1]

    def some(self, query: Query, number: int) -> tuple[list[tantivy.DocAddress], int]:
        """Return the addresses of at most ``number`` matching documents, in any order, and how many match in all."""
        found = self._tantivy.search(self._specs(query), number, count=True)
        return [address for _, address in found.hits], found.count or 0  # type: ignore[attr-defined]

    def first(self, query: Query, key: SortKey, number: int) -> list[tuple[Any, tantivy.DocAddress]]:
        """Return the values and addresses of the first matching documents that have a value, in the order of a key."""
        order = tantivy.Order.Desc if key.descending else tantivy.Order.Asc
        present = self._specs(And((query, Exists(key.field))))
        return self._tantivy.search(present, number, count=False, order_by_field=key.field, order=order).hits

    def hits(self, addresses: Iterable[tantivy.DocAddress]) -> list[Hit]:
        """Read documents."""
        return [layout.hit(self._tantivy.doc(address)) for address in addresses]

    def values(self, field: str, query: Query | None = None, start: str = "") -> list[tuple[str, int]]:
        """Count the matching documents by all those values of a keyword field that begin with ``start``.

        Without a query, deleted documents are counted as well, and no search is needed.
        """
        chosen = self._specs(query) if query else None
        return self._tantivy.terms_with_prefix(field, start, chosen) if field in self.fields else []

    def vocabulary(self, field: str, start: str = "") -> list[str]:
        """Return the sorted values of a keyword field that begin with ``start``."""
        return sorted(value for value, _ in self.values(field, start=start))

    def cardinality(self, field: str, query: Query) -> float:
        """Estimate how many values of a field the matching documents have."""
        return self._tantivy.cardinality(self._specs(query), field)

    def aggregate(self, query: Query, aggregations: dict[str, Any]) -> dict[str, Any]:
        """Return tantivy's aggregations of the matching documents."""
        return self._tantivy.aggregate(self._specs(query), aggregations)

    def _specs(self, query: Query) -> tantivy.Query:
        return self._translator.translated(And((Exists(layout.ID), query)))

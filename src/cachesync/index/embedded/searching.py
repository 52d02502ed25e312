"""The search tree and the request's order, in tantivy's terms."""

from collections.abc import Collection
from typing import Any, Final

import tantivy
from tantivy import Occur

from cachesync.documents import BINARY_NUMBER, FIELDS
from cachesync.index.embedded import schema as layout
from cachesync.search.query import All, And, Condition, Exists, In, Not, Or, Prefix, Query, Range, Term
from cachesync.search.request import (
    BINARIES,
    EXACT_BINARIES,
    TIEBREAK,
    Answer,
    Facet,
    FacetCount,
    Hit,
    Request,
    SortKey,
)

_MORE: Final = 4
"""How many times more documents to look at where too many were of the same binaries."""

_ID_KEY: Final = SortKey(layout.ID)


class Search:
    """One request against one state of the index."""

    def __init__(self, searcher: tantivy.Searcher, schema: tantivy.Schema, fields: Collection[str]) -> None:
        """``fields`` are those that documents have here: an older index lacks some."""
        self._searcher = searcher
        self._schema = schema
        self._fields = {*fields, layout.ID, layout.PAGE}

    def answer(self, request: Request) -> Answer:
        """Find, count and order."""
        matching = request.matching()
        total = self.count(matching)
        facets = {facet.field: self._facet(request.matching(facet.field), facet) for facet in request.facets}
        hits = self._hits(matching, request, total)
        if not request.binaries:
            return Answer(total, hits, facets)
        is_estimate = total > EXACT_BINARIES
        return Answer(total, hits, facets, self._binaries(matching, total), (BINARIES,) if is_estimate else ())

    def _binaries(self, matching: Query, total: int) -> int:
        """Count binaries: those of few documents one by one."""
        if total <= EXACT_BINARIES:
            return len(self.values("binary", matching))
        return round(self._searcher.cardinality(self._specs(matching), BINARY_NUMBER))

    def count(self, query: Query) -> int:
        """Count the spec documents that match."""
        found: int | None = self._searcher.search(self._specs(query), limit=1, count=True).count  # type: ignore[attr-defined]
        return found or 0

    def _hits(self, matching: Query, request: Request, total: int) -> list[Hit]:
        """Go through the ranks until there are enough hits; what an earlier rank found, a later one leaves out.

        Each search costs as much as its words are many, so none is made that can't find anything.
        """
        keys = tuple(key for key in (*request.order, *TIEBREAK, _ID_KEY) if key.field in self._fields)
        chosen = _Chosen(request)
        earlier: tuple[Query, ...] = ()
        passed = 0
        for rank in (*request.ranks, All()):
            if chosen.is_full or passed == total:
                break
            part = And((matching, rank, Not(Or(earlier))))
            whole = total - passed if isinstance(rank, All) else self.count(part)
            self._choose(chosen, part, keys, whole)
            passed += whole
            earlier += (rank,)
        return chosen.hits

    def _choose(self, chosen: "_Chosen", query: Query, keys: tuple[SortKey, ...], whole: int) -> None:
        """Choose among all that match a query, whose number is ``whole``: among more of them, until there are enough.

        Tantivy reserves memory for as many as it is asked for.
        """
        number = seen = 0
        while number < whole and not chosen.is_full:
            number = min(whole, chosen.missing if not number else number * _MORE)
            for hit in _sorted(self._first(query, keys, number, whole), keys)[seen:]:
                chosen.add(hit)
            seen = number

    def _first(self, query: Query, keys: tuple[SortKey, ...], limit: int, whole: int | None = None) -> list[Hit]:
        """Return the first ``limit`` documents in the order of ``keys``, not yet ordered; ``whole`` is all that match.

        Tantivy sorts by one field. So those with the last value that still fits are asked for once more, by the next
        keys; and those without a value fill up what is left.
        """
        if limit <= 0:
            return []
        key, *others = keys
        rest = tuple(others)
        order = tantivy.Order.Desc if key.descending else tantivy.Order.Asc
        present = self._specs(And((query, Exists(key.field))))
        found = self._searcher.search(present, limit, count=False, order_by_field=key.field, order=order).hits
        if not rest or len(found) == whole:
            return [self._hit(address) for _, address in found]
        if len(found) < limit:
            hits = [self._hit(address) for _, address in found]
            others_whole = None if whole is None else whole - len(hits)
            return hits + self._first(And((query, Not(Exists(key.field)))), rest, limit - len(hits), others_whole)
        last = found[-1][0]
        hits = [self._hit(address) for value, address in found if value != last]
        return hits + self._first(And((query, Term(key.field, last))), rest, limit - len(hits))

    def _hit(self, address: tantivy.DocAddress) -> Hit:
        return layout.hit(self._searcher.doc(address))

    def values(self, field: str, query: Query) -> list[tuple[str, int]]:
        """Count the spec documents that match by each value of a keyword field.

        Not by tantivy's terms aggregation: that gives up at 65,000 values, and cuts and breaks ties as it likes.
        """
        return self._searcher.terms_with_prefix(field, "", self._specs(query)) if field in self._fields else []

    def vocabulary(self, field: str, start: str = "") -> list[str]:
        """Return the values of a keyword field that begin so, in their order."""
        found = self._searcher.terms_with_prefix(field, start, None) if field in self._fields else []
        return sorted(value for value, _ in found)

    def _facet(self, matching: Query, facet: Facet) -> list[FacetCount]:
        counts = [FacetCount(value, documents) for value, documents in self.values(facet.field, matching)]
        counts.sort(key=lambda each: (-each.documents, each.value))
        return counts[: facet.size]

    def _specs(self, query: Query) -> tantivy.Query:
        """Leave out the ledger."""
        return self.tantivy_query(And((Exists(layout.ID), query)))

    def tantivy_query(self, query: Query) -> tantivy.Query:
        """Turn the tree into tantivy's."""
        match query:
            case All():
                return tantivy.Query.all_query()
            case Not(part):
                return tantivy.Query.boolean_query(
                    [(Occur.Must, tantivy.Query.all_query()), (Occur.MustNot, self.tantivy_query(part))]
                )
            case And(parts):
                return self._joined(Occur.Must, parts) if parts else tantivy.Query.all_query()
            case Or(parts):
                return self._joined(Occur.Should, parts) if parts else tantivy.Query.empty_query()
            case _:
                known = query.field in self._fields  # an older index lacks some
                return self._condition(query) if known else tantivy.Query.empty_query()

    def _condition(self, query: Condition) -> tantivy.Query:
        match query:
            case Term(field, value):
                return tantivy.Query.term_query(self._schema, field, _folded(field, value), "basic")
            case In(field, values):
                return tantivy.Query.term_set_query(self._schema, field, [_folded(field, each) for each in values])
            case Range(field):  # tantivy has none of texts
                return self.tantivy_query(In(field, tuple(query.among(self.vocabulary(field)))))
            case Prefix(field, start):
                prefix = _folded(field, start)
                return tantivy.Query.fuzzy_term_query(self._schema, field, prefix, distance=0, prefix=True)
            case Exists(field):
                return tantivy.Query.exists_query(field)

    def _joined(self, occur: Occur, parts: tuple[Query, ...]) -> tantivy.Query:
        return tantivy.Query.boolean_query([(occur, self.tantivy_query(part)) for part in parts])


class _Chosen:
    """The hits of a search, as far as they have been found."""

    def __init__(self, request: Request) -> None:
        self.hits: list[Hit] = []
        self._request = request
        self._binaries: set[str] = set()

    @property
    def missing(self) -> int:
        """How many there are still to be."""
        return self._request.limit - len(self.hits)

    @property
    def is_full(self) -> bool:
        """There are as many as were asked for."""
        return self.missing <= 0

    def add(self, hit: Hit) -> None:
        """Take the next document, unless there are enough, or its binary was to be taken but once."""
        if self.is_full or (self._request.distinct and hit["binary"] in self._binaries):
            return
        if self._request.distinct:
            self._binaries.add(hit["binary"])
        fields = self._request.fields
        self.hits.append({name: hit[name] for name in (layout.ID, *fields) if name in hit} if fields else hit)


def _folded(field: str, value: Any) -> Any:
    """Return a value as the index has it."""
    is_folded = field in FIELDS and FIELDS[field].any_case and isinstance(value, str)
    return value.lower() if is_folded else value


def _sorted(hits: list[Hit], keys: tuple[SortKey, ...]) -> list[Hit]:
    for key in reversed(keys):
        with_value = [hit for hit in hits if key.field in hit]
        without = [hit for hit in hits if key.field not in hit]
        with_value.sort(key=lambda hit, field=key.field: _folded(field, hit[field]), reverse=key.descending)  # type: ignore[misc]
        hits = with_value + without
    return hits

"""Translates the query tree and the order of a request into tantivy's queries, and runs them."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

import tantivy
from tantivy import Occur

from cachesync.documents import BINARY_NUMBER, FIELDS
from cachesync.index.embedded import schema as layout
from cachesync.search.query import All, And, Condition, Exists, In, Not, Or, Prefix, Query, Range, Term
from cachesync.search.request import (
    BINARIES,
    EXACT_BINARIES,
    TIEBREAK,
    Facet,
    FacetCount,
    Found,
    Hit,
    Request,
    SortKey,
)

_MORE: Final = 4
"""By what factor to read more documents if too many were of the same binaries."""

_FEW: Final = 64
"""Up to this many documents are sorted here, which takes less time than another search."""

_MOST_VALUES: Final = 65_000
"""If a field has more values, tantivy counts only an arbitrary part of them."""

_TOTAL: Final = "total"

_BOUND: Final = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_./@+-]*")
"""The bounds of a range that tantivy's query language accepts without quoting."""

_ID_KEY: Final = SortKey(layout.ID)


class _Totals(NamedTuple):
    """The counts of the documents that match."""

    total: int
    binaries: int
    """An estimate."""
    facets: dict[str, list[FacetCount]]
    """All values of each field."""


class QueryRunner:
    """Runs requests on one commit of the index."""

    def __init__(self, index: tantivy.Index, searcher: tantivy.Searcher, fields: Collection[str]) -> None:
        """``fields`` are those that this index's documents have: an older index lacks some."""
        self._index = index
        self._searcher = searcher
        self._schema = index.schema
        self._fields = {*fields, layout.ID, layout.PAGE}
        self._vocabularies: dict[str, list[str]] = {}

    def answer(self, request: Request) -> Found:
        """Return the hits of a request, in its order, with all counts."""
        whole = request.matching()
        by_query: dict[Query, list[Facet]] = {whole: []}
        for facet in request.facets:
            by_query.setdefault(request.matching(facet.field), []).append(facet)
        found = self._counted(whole, by_query.pop(whole), binaries=request.binaries)
        others = [self._counted(query, facets, binaries=False) for query, facets in by_query.items()]
        of_each = {field: counts for each in (found, *others) for field, counts in each.facets.items()}
        facets = {facet.field: of_each[facet.field][: facet.size] for facet in request.facets}
        total = found.total
        hits = self._hits(whole, request, total)
        if not request.binaries:
            return Found(total, hits, facets)
        if total > EXACT_BINARIES:
            return Found(total, hits, facets, min(total, found.binaries), (BINARIES,))
        return Found(total, hits, facets, self._binaries(whole))

    def _counted(self, query: Query, facets: Sequence[Facet], *, binaries: bool) -> _Totals:
        """Count documents, binaries and values in one search, since finding the documents takes most of the time."""
        fields = [facet.field for facet in facets if facet.field in self._fields]
        aggregations: dict[str, Any] = {field: _values_of(field, _MOST_VALUES) for field in fields}
        if binaries and BINARY_NUMBER in self._fields:
            aggregations[BINARIES] = {"cardinality": {"field": BINARY_NUMBER}}
        aggregations[_TOTAL] = {"value_count": {"field": layout.ID}}
        try:
            found = self._searcher.aggregate(self._specs(query), aggregations)
        except ValueError:  # perhaps the fields have more values together than tantivy counts in one search
            if len(fields) < 2:
                raise
            return self._counted_by_parts(query, facets, binaries=binaries)
        counts: dict[str, list[FacetCount]] = {facet.field: [] for facet in facets}
        for field in fields:
            values = _pairs(found[field])
            is_whole = len(values) < _MOST_VALUES and not found[field]["sum_other_doc_count"]
            counts[field] = _in_order(values if is_whole else self.values(field, query))
        return _Totals(round(found[_TOTAL]["value"]), round(found.get(BINARIES, {"value": 0})["value"]), counts)

    def _counted_by_parts(self, query: Query, facets: Sequence[Facet], *, binaries: bool) -> _Totals:
        """Count the values of each field in a search of its own."""
        first, *others = (self._counted(query, [each], binaries=binaries and each is facets[0]) for each in facets)
        return first._replace(facets={field: each.facets[field] for each in (first, *others) for field in each.facets})

    def _binaries(self, matching: Query) -> int:
        """Count the binaries of few documents exactly."""
        if BINARY_NUMBER not in self._fields:
            return len(self.values("binary", matching))
        found = self._searcher.aggregate(self._specs(matching), {BINARIES: _values_of(BINARY_NUMBER, EXACT_BINARIES)})
        return len(found[BINARIES]["buckets"])

    def count(self, query: Query) -> int:
        """Count the spec documents that match."""
        found: int | None = self._searcher.search(self._specs(query), limit=1, count=True).count  # type: ignore[attr-defined]
        return found or 0

    def keys(self, request: Request) -> tuple[SortKey, ...]:
        """Return all sort keys of a request; the last one is unique."""
        return tuple(key for key in (*request.order, *TIEBREAK, _ID_KEY) if key.field in self._fields)

    def documents(self, query: Query, number: int) -> list[Hit]:
        """Return all documents that match, in no particular order. Their number must be known."""
        found = self._searcher.search(self._specs(query), max(1, number), count=False)
        return [self._hit(address) for _, address in found.hits]

    def first_values(self, query: Query, key: SortKey, number: int) -> list[str | int]:
        """Return the first values of a field among the documents that match, one for each document."""
        order = tantivy.Order.Desc if key.descending else tantivy.Order.Asc
        present = self._specs(And((query, Exists(key.field))))
        found = self._searcher.search(present, number, count=False, order_by_field=key.field, order=order).hits
        return [value for value, _ in found]

    def has_many_values(self, field: str, query: Query) -> bool:
        """Whether the documents that match have too many values of a field to list them."""
        return FIELDS[field].kind == "long" or self._searcher.cardinality(self._specs(query), field) > _MOST_VALUES

    def _hits(self, matching: Query, request: Request, total: int) -> list[Hit]:
        """Return the hits, rank by rank until there are enough; a rank leaves out the hits of earlier ones.

        A search takes longer the more words it has, so those that can't find anything are skipped.
        """
        keys = self.keys(request)
        chosen = _Collected(request)
        earlier: tuple[Query, ...] = ()
        passed = 0
        for rank in (*request.ranks, All()):
            if chosen.is_full or passed == total:
                break
            part = And((matching, rank, Not(Or(earlier)))) if earlier else And((matching, rank))
            whole = total - passed if isinstance(rank, All) else self.count(part)
            self._choose(chosen, part, keys, whole)
            passed += whole
            earlier += (rank,)
        return chosen.hits

    def _choose(self, chosen: "_Collected", query: Query, keys: tuple[SortKey, ...], whole: int) -> None:
        """Choose hits among the ``whole`` documents that match a query, reading more of them until there are enough.

        Not all are read at once, since tantivy allocates memory for as many as are asked for.
        """
        number = seen = 0
        while number < whole and not chosen.is_full:
            number = min(whole, number * _MORE or chosen.wanted)
            for hit in sorted_by(self._first(query, keys, number, whole), keys)[seen:]:
                chosen.add(hit)
            seen = number

    def _first(self, query: Query, keys: tuple[SortKey, ...], limit: int, whole: int | None = None) -> list[Hit]:
        """Return the first ``limit`` documents in the order of ``keys``, perhaps a few more, not yet sorted.

        Tantivy sorts by one field only. So the documents with the last value that is reached are searched for again, by
        the next keys, and documents without a value follow. If there are few, all are returned. ``whole`` is the number
        of documents that match, if known.
        """
        if limit <= 0:
            return []
        if whole is None or whole <= _FEW:
            few = self._searcher.search(self._specs(query), _FEW, count=True)
            whole = few.count or 0  # type: ignore[attr-defined]
            if whole <= _FEW:
                return [self._hit(address) for _, address in few.hits]
        key, *others = keys
        rest = tuple(others)
        order = tantivy.Order.Desc if key.descending else tantivy.Order.Asc
        present = self._specs(And((query, Exists(key.field))))
        found = self._searcher.search(present, limit, count=False, order_by_field=key.field, order=order).hits
        if not rest or len(found) == whole:
            return [self._hit(address) for _, address in found]
        if len(found) < limit:
            hits = [self._hit(address) for _, address in found]
            return hits + self._first(And((query, Not(Exists(key.field)))), rest, limit - len(hits), whole - len(hits))
        last = found[-1][0]
        hits = [self._hit(address) for value, address in found if value != last]
        same = And((query, Term(key.field, last)))
        return hits + self._first(same, rest, limit - len(hits))

    def _hit(self, address: tantivy.DocAddress) -> Hit:
        return layout.hit(self._searcher.doc(address))

    def values(self, field: str, query: Query) -> list[tuple[str, int]]:
        """Count the spec documents that match for each value of a keyword field, however many values there are."""
        return self._searcher.terms_with_prefix(field, "", self._specs(query)) if field in self._fields else []

    def vocabulary(self, field: str, start: str = "") -> list[str]:
        """Return the sorted values of a keyword field that begin with ``start``."""
        found = self._searcher.terms_with_prefix(field, start, None) if field in self._fields else []
        return sorted(value for value, _ in found)

    def _all_values(self, field: str) -> list[str]:
        if field not in self._vocabularies:
            self._vocabularies[field] = self.vocabulary(field)
        return self._vocabularies[field]

    def _specs(self, query: Query) -> tantivy.Query:
        """Return a query that leaves out the ledger."""
        return self.tantivy_query(And((Exists(layout.ID), query)))

    def tantivy_query(self, query: Query) -> tantivy.Query:
        """Translate a query tree into a tantivy query."""
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
            case Range():
                return self._range(query)
            case Prefix(field, start):
                prefix = _folded(field, start)
                return tantivy.Query.fuzzy_term_query(self._schema, field, prefix, distance=0, prefix=True)
            case Exists(field):
                return tantivy.Query.exists_query(field)

    def _range(self, query: Range) -> tantivy.Query:
        """Query a range of strings with tantivy's query language or, if it can't express a bound, by listing values."""
        low, high = query.at_least, query.below
        if low is None and high is None:
            return tantivy.Query.exists_query(query.field)
        if isinstance(low, int) or isinstance(high, int):
            kind = tantivy.FieldType.Integer
            return tantivy.Query.range_query(self._schema, query.field, kind, low, high, include_upper=high is None)
        if all(bound is None or _BOUND.fullmatch(bound) for bound in (low, high)):
            return self._index.parse_query(f"{query.field}:[{low or '*'} TO {high or '*'}}}")
        return self._condition(In(query.field, tuple(query.among(self._all_values(query.field)))))

    def _joined(self, occur: Occur, parts: tuple[Query, ...]) -> tantivy.Query:
        return tantivy.Query.boolean_query([(occur, self.tantivy_query(part)) for part in parts])


def _values_of(field: str, most: int) -> dict[str, Any]:
    """Return the aggregation that counts documents by the values of a field."""
    return {"terms": {"field": field, "size": most, "segment_size": most}}


def _pairs(found: dict[str, Any]) -> list[tuple[str, int]]:
    return [(each["key"], each["doc_count"]) for each in found["buckets"]]


def _in_order(values: Iterable[tuple[str, int]]) -> list[FacetCount]:
    """Sort values by descending frequency, then alphabetically."""
    return sorted((FacetCount(*each) for each in values), key=lambda each: (-each.documents, each.value))


class _Collected:
    """The hits of a search that have been found so far."""

    def __init__(self, request: Request) -> None:
        self.hits: list[Hit] = []
        self._request = request
        self._binaries: set[str] = set()

    @property
    def missing(self) -> int:
        """How many hits are still missing."""
        return self._request.limit - len(self.hits)

    @property
    def wanted(self) -> int:
        """How many documents to read at first: some may be of the same binaries."""
        return self.missing * (2 if self._request.distinct else 1)

    @property
    def is_full(self) -> bool:
        """Whether there are as many hits as were asked for."""
        return self.missing <= 0

    def add(self, hit: Hit) -> None:
        """Add the next document, unless there are enough, or binaries must be distinct and there is one of this."""
        if self.is_full or (self._request.distinct and hit["binary"] in self._binaries):
            return
        if self._request.distinct:
            self._binaries.add(hit["binary"])
        fields = self._request.fields
        self.hits.append({name: hit[name] for name in (layout.ID, *fields) if name in hit} if fields else hit)


def _folded(field: str, value: Any) -> Any:
    """Return a value as it is in the index: lowercased if the field ignores case."""
    is_folded = field in FIELDS and FIELDS[field].any_case and isinstance(value, str)
    return value.lower() if is_folded else value


def sorted_by(hits: list[Hit], keys: tuple[SortKey, ...]) -> list[Hit]:
    """Sort documents by several keys."""
    for key in reversed(keys):
        with_value = [hit for hit in hits if key.field in hit]
        without = [hit for hit in hits if key.field not in hit]
        with_value.sort(key=lambda hit, field=key.field: _folded(field, hit[field]), reverse=key.descending)  # type: ignore[misc]
        hits = with_value + without
    return hits

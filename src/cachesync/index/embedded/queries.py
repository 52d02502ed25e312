"""The search tree and the request's order, in tantivy's terms."""

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
"""How many times more documents to look at where too many were of the same binaries."""

_FEW: Final = 64
"""So many documents are sorted here in less time than another search takes."""

_MOST_VALUES: Final = 65_000
"""Of fields with more values tantivy counts a part, as it likes."""

_TOTAL: Final = "total"

_BOUND: Final = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_./@+-]*")
"""What tantivy's query language takes as the bound of a range, as it is."""

_ID_KEY: Final = SortKey(layout.ID)


class _Totals(NamedTuple):
    """What is counted of the documents that match."""

    total: int
    binaries: int
    """An estimate."""
    facets: dict[str, list[FacetCount]]
    """Of each field all values."""


class QueryRunner:
    """Answers requests from one state of the index."""

    def __init__(self, index: tantivy.Index, searcher: tantivy.Searcher, fields: Collection[str]) -> None:
        """``fields`` are those that documents have here: an older index lacks some."""
        self._index = index
        self._searcher = searcher
        self._schema = index.schema
        self._fields = {*fields, layout.ID, layout.PAGE}
        self._vocabularies: dict[str, list[str]] = {}

    def answer(self, request: Request) -> Found:
        """Find, count and order."""
        whole = request.matching()
        asked: dict[Query, list[Facet]] = {whole: []}
        for facet in request.facets:
            asked.setdefault(request.matching(facet.field), []).append(facet)
        found = self._counted(whole, asked.pop(whole), binaries=request.binaries)
        others = [self._counted(query, facets, binaries=False) for query, facets in asked.items()]
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
        """Count documents, binaries and values in one go: to find the documents takes most of the time."""
        fields = [facet.field for facet in facets if facet.field in self._fields]
        asked: dict[str, Any] = {field: _values_of(field, _MOST_VALUES) for field in fields}
        if binaries and BINARY_NUMBER in self._fields:
            asked[BINARIES] = {"cardinality": {"field": BINARY_NUMBER}}
        asked[_TOTAL] = {"value_count": {"field": layout.ID}}
        try:
            found = self._searcher.aggregate(self._specs(query), asked)
        except ValueError:  # perhaps for more values, all in all, than tantivy counts in one go
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
        """Count the values of one field after the other."""
        first, *others = (self._counted(query, [each], binaries=binaries and each is facets[0]) for each in facets)
        return first._replace(facets={field: each.facets[field] for each in (first, *others) for field in each.facets})

    def _binaries(self, matching: Query) -> int:
        """Count the binaries of few documents one by one."""
        if BINARY_NUMBER not in self._fields:
            return len(self.values("binary", matching))
        found = self._searcher.aggregate(self._specs(matching), {BINARIES: _values_of(BINARY_NUMBER, EXACT_BINARIES)})
        return len(found[BINARIES]["buckets"])

    def count(self, query: Query) -> int:
        """Count the spec documents that match."""
        found: int | None = self._searcher.search(self._specs(query), limit=1, count=True).count  # type: ignore[attr-defined]
        return found or 0

    def keys(self, request: Request) -> tuple[SortKey, ...]:
        """Return all that a request sorts by, last what no two documents have in common."""
        return tuple(key for key in (*request.order, *TIEBREAK, _ID_KEY) if key.field in self._fields)

    def documents(self, query: Query, number: int) -> list[Hit]:
        """Return all documents that match, whose number is known, in no order."""
        found = self._searcher.search(self._specs(query), max(1, number), count=False)
        return [self._hit(address) for _, address in found.hits]

    def first_values(self, query: Query, key: SortKey, number: int) -> list[str | int]:
        """Return the first values of a field that documents have that match, for each document its own."""
        order = tantivy.Order.Desc if key.descending else tantivy.Order.Asc
        present = self._specs(And((query, Exists(key.field))))
        found = self._searcher.search(present, number, count=False, order_by_field=key.field, order=order).hits
        return [value for value, _ in found]

    def has_many_values(self, field: str, query: Query) -> bool:
        """Tell whether the documents that match have so many values of a field that they aren't to be listed."""
        return FIELDS[field].kind == "long" or self._searcher.cardinality(self._specs(query), field) > _MOST_VALUES

    def _hits(self, matching: Query, request: Request, total: int) -> list[Hit]:
        """Go through the ranks until there are enough hits; what an earlier rank found, a later one leaves out.

        Each search costs as much as its words are many, so none is made that can't find anything.
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
        """Choose among all that match a query, whose number is ``whole``: among more of them, until there are enough.

        Tantivy reserves memory for as many as it is asked for.
        """
        number = seen = 0
        while number < whole and not chosen.is_full:
            number = min(whole, number * _MORE or chosen.wanted)
            for hit in sorted_by(self._first(query, keys, number, whole), keys)[seen:]:
                chosen.add(hit)
            seen = number

    def _first(self, query: Query, keys: tuple[SortKey, ...], limit: int, whole: int | None = None) -> list[Hit]:
        """Return the first documents in the order of ``keys``, not yet ordered: ``limit`` of them, or some more.

        Tantivy sorts by one field. So those with the last value that still fits are asked for once more, by the next
        keys; and those without a value fill up what is left. Few are taken as they are. ``whole`` is all that match,
        where that is known.
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
        """Count the spec documents that match by each value of a keyword field, however many values there are."""
        return self._searcher.terms_with_prefix(field, "", self._specs(query)) if field in self._fields else []

    def vocabulary(self, field: str, start: str = "") -> list[str]:
        """Return the values of a keyword field that begin so, in their order."""
        found = self._searcher.terms_with_prefix(field, start, None) if field in self._fields else []
        return sorted(value for value, _ in found)

    def _all_values(self, field: str) -> list[str]:
        if field not in self._vocabularies:
            self._vocabularies[field] = self.vocabulary(field)
        return self._vocabularies[field]

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
            case Range():
                return self._range(query)
            case Prefix(field, start):
                prefix = _folded(field, start)
                return tantivy.Query.fuzzy_term_query(self._schema, field, prefix, distance=0, prefix=True)
            case Exists(field):
                return tantivy.Query.exists_query(field)

    def _range(self, query: Range) -> tantivy.Query:
        """Ask for a range of strings by tantivy's query language; bounds that it can't name are met by values."""
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
    """Return the most frequent values first, and of equally frequent ones the first."""
    return sorted((FacetCount(*each) for each in values), key=lambda each: (-each.documents, each.value))


class _Collected:
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
    def wanted(self) -> int:
        """Among how many it is worth while to look: some are of the same binaries."""
        return self.missing * (2 if self._request.distinct else 1)

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


def sorted_by(hits: list[Hit], keys: tuple[SortKey, ...]) -> list[Hit]:
    """Sort documents by several keys."""
    for key in reversed(keys):
        with_value = [hit for hit in hits if key.field in hit]
        without = [hit for hit in hits if key.field not in hit]
        with_value.sort(key=lambda hit, field=key.field: _folded(field, hit[field]), reverse=key.descending)  # type: ignore[misc]
        hits = with_value + without
    return hits

"""Translates the query tree of a request into tantivy's queries."""

import re
from collections.abc import Callable, Collection
from functools import cache
from typing import Any, Final

import tantivy
from tantivy import Occur

from cachesync.documents import FIELDS
from cachesync.search.query import All, And, Condition, Exists, In, Not, Or, Prefix, Query, Range, Term

_BOUND: Final = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_./@+-]*")
"""The bounds of a range that tantivy's query language accepts unquoted."""


class Translator:
    """Translates queries for one index."""

    def __init__(self, index: tantivy.Index, fields: Collection[str], list_values: Callable[[str], list[str]]) -> None:
        """``fields`` are the documents' fields; an older index lacks some. ``list_values`` lists a field's values."""
        self._index = index
        self._schema = index.schema
        self._fields = fields
        self._list_values = cache(list_values)

    def translated(self, query: Query) -> tantivy.Query:
        """Return the tantivy query that is equivalent to a query tree."""
        match query:
            case All():
                return tantivy.Query.all_query()
            case Not(part):
                return tantivy.Query.boolean_query(
                    [(Occur.Must, tantivy.Query.all_query()), (Occur.MustNot, self.translated(part))]
                )
            case And(parts):
                return self._joined(Occur.Must, parts) if parts else tantivy.Query.all_query()
            case Or(parts):
                return self._joined(Occur.Should, parts) if parts else tantivy.Query.empty_query()
            case _:
                known = query.field in self._fields
                return self._condition(query) if known else tantivy.Query.empty_query()

    def _joined(self, occur: Occur, parts: tuple[Query, ...]) -> tantivy.Query:
        return tantivy.Query.boolean_query([(occur, self.translated(part)) for part in parts])

    def _condition(self, query: Condition) -> tantivy.Query:
        match query:
            case Term(field, value):
                return tantivy.Query.term_query(self._schema, field, folded(field, value), "basic")
            case In(field, values):
                return tantivy.Query.term_set_query(self._schema, field, [folded(field, each) for each in values])
            case Range():
                return self._range(query)
            case Prefix(field, start):
                prefix = folded(field, start)
                return tantivy.Query.fuzzy_term_query(self._schema, field, prefix, distance=0, prefix=True)
            case Exists(field):
                return tantivy.Query.exists_query(field)

    def _range(self, query: Range) -> tantivy.Query:
        """Query a range of strings in tantivy's query language or, if a bound can't be expressed, by listing values."""
        low, high = query.at_least, query.below
        if low is None and high is None:
            return tantivy.Query.exists_query(query.field)
        if isinstance(low, int) or isinstance(high, int):
            kind = tantivy.FieldType.Integer
            return tantivy.Query.range_query(self._schema, query.field, kind, low, high, include_upper=high is None)
        if all(bound is None or _BOUND.fullmatch(bound) for bound in (low, high)):
            return self._index.parse_query(f"{query.field}:[{low or '*'} TO {high or '*'}}}")
        return self._condition(In(query.field, tuple(query.among(self._list_values(query.field)))))


def folded(field: str, value: Any) -> Any:
    """Return a value as it stands in the index: lowercased if the field ignores case."""
    is_folded = field in FIELDS and FIELDS[field].any_case and isinstance(value, str)
    return value.lower() if is_folded else value

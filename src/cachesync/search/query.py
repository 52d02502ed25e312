"""The query tree into which every question is translated, and which every engine can answer."""

from collections.abc import Iterable, Iterator

import msgspec


class All(msgspec.Struct, frozen=True):
    """Matches every document."""


class Term(msgspec.Struct, frozen=True):
    """Matches documents in which a keyword field has exactly this value."""

    field: str
    value: str | int


class In(msgspec.Struct, frozen=True):
    """Matches documents in which a keyword field has one of the values; without values, matches no document."""

    field: str
    values: tuple[str, ...]


class Range(msgspec.Struct, frozen=True):
    """Matches documents in which a field has a value that is at least ``at_least`` and less than ``below``.

    A bound of None doesn't limit the range. Strings are compared by their bytes.
    """

    field: str
    at_least: str | int | None
    below: str | int | None

    def among(self, values: Iterable[str]) -> list[str]:
        """Return the strings that are in the range. The bounds of the range must be strings as well."""
        least, end = self.at_least, self.below
        assert not isinstance(least, int)
        assert not isinstance(end, int)
        return [each for each in values if (least is None or each >= least) and (end is None or each < end)]


class Prefix(msgspec.Struct, frozen=True):
    """Matches documents in which a keyword field has a value that starts with ``start``."""

    field: str
    start: str


class Exists(msgspec.Struct, frozen=True):
    """Matches documents in which the field has a value."""

    field: str


Condition = Term | In | Range | Prefix | Exists
"""A condition on one field. If an index doesn't have the field, no document meets the condition.

For fields that ignore case (see :class:`cachesync.documents.Field`), the values of the condition and of the document
are both compared in lowercase.
"""


class And(msgspec.Struct, frozen=True):
    """Matches documents that match all parts; without parts, matches every document."""

    parts: "tuple[Query, ...]"


class Or(msgspec.Struct, frozen=True):
    """Matches documents that match at least one part; without parts, matches no document."""

    parts: "tuple[Query, ...]"


class Not(msgspec.Struct, frozen=True):
    """Matches every document that doesn't match the part."""

    part: "Query"


Query = Condition | All | And | Or | Not


def fields_of(query: Query) -> Iterator[str]:
    """Yield the field of each condition in a query. A field may be yielded several times."""
    match query:
        case All():
            return
        case Not(part):
            yield from fields_of(part)
        case And(parts) | Or(parts):
            for part in parts:
                yield from fields_of(part)
        case _:
            yield query.field

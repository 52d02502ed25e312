"""The query tree that all questions are translated to, and that every engine can answer."""

from collections.abc import Iterable, Iterator

import msgspec


class All(msgspec.Struct, frozen=True):
    """Every document."""


class Term(msgspec.Struct, frozen=True):
    """A keyword field has exactly this value."""

    field: str
    value: str | int


class In(msgspec.Struct, frozen=True):
    """A keyword field has one of these values; without values, no document matches."""

    field: str
    values: tuple[str, ...]


class Range(msgspec.Struct, frozen=True):
    """A field has a value from ``at_least`` on, but before ``below``; None: no such bound. Strings compare by bytes."""

    field: str
    at_least: str | int | None
    below: str | int | None

    def among(self, values: Iterable[str]) -> list[str]:
        """Return the strings that are in the range, whose bounds have to be strings, too."""
        least, end = self.at_least, self.below
        assert not isinstance(least, int)
        assert not isinstance(end, int)
        return [each for each in values if (least is None or each >= least) and (end is None or each < end)]


class Prefix(msgspec.Struct, frozen=True):
    """A keyword field has a value that starts with ``start``."""

    field: str
    start: str


class Exists(msgspec.Struct, frozen=True):
    """The field has a value."""

    field: str


Condition = Term | In | Range | Prefix | Exists
"""A condition on one field. If an index doesn't have the field, no document meets it.

For fields that ignore case (see :class:`cachesync.documents.Field`), both sides are compared in lowercase.
"""


class And(msgspec.Struct, frozen=True):
    """All of these; without parts, every document matches."""

    parts: "tuple[Query, ...]"


class Or(msgspec.Struct, frozen=True):
    """At least one of these; without parts, no document matches."""

    parts: "tuple[Query, ...]"


class Not(msgspec.Struct, frozen=True):
    """Every document that doesn't match this."""

    part: "Query"


Query = Condition | All | And | Or | Not


def fields_of(query: Query) -> Iterator[str]:
    """Yield the field of each condition in a query; fields may be repeated."""
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

"""The one small tree that every question becomes, and that every engine answers."""

from collections.abc import Iterable, Iterator

import msgspec


class All(msgspec.Struct, frozen=True):
    """Every document."""


class Term(msgspec.Struct, frozen=True):
    """A keyword field has exactly this value."""

    field: str
    value: str | int


class In(msgspec.Struct, frozen=True):
    """A keyword field has one of these values; of none: nothing."""

    field: str
    values: tuple[str, ...]


class Range(msgspec.Struct, frozen=True):
    """A field has a value from ``at_least`` on that comes before ``below``; strings by bytes. None: no such bound."""

    field: str
    at_least: str | int | None
    below: str | int | None

    def among(self, values: Iterable[str]) -> list[str]:
        """Return those of some strings that are in the range, which is one of strings."""
        least, end = self.at_least, self.below
        assert not isinstance(least, int)
        assert not isinstance(end, int)
        return [each for each in values if (least is None or each >= least) and (end is None or each < end)]


class Prefix(msgspec.Struct, frozen=True):
    """A keyword field has a value that starts like this."""

    field: str
    start: str


class Exists(msgspec.Struct, frozen=True):
    """The field has a value."""

    field: str


Condition = Term | In | Range | Prefix | Exists
"""What is asked of one field. A field that an index doesn't have meets none.

Of a field that is found in any case (:class:`cachesync.documents.Field`), both sides are compared in lower case.
"""


class And(msgspec.Struct, frozen=True):
    """All of these; of none: everything."""

    parts: "tuple[Query, ...]"


class Or(msgspec.Struct, frozen=True):
    """At least one of these; of none: nothing."""

    parts: "tuple[Query, ...]"


class Not(msgspec.Struct, frozen=True):
    """Everything but this."""

    part: "Query"


Query = Condition | All | And | Or | Not


def fields_of(query: Query) -> Iterator[str]:
    """Yield the fields that a query asks about, again and again where it asks so."""
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

"""The one small tree that every question becomes, and that every engine answers."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class All(NamedTuple):
    """Every document."""


class Term(NamedTuple):
    """A keyword field has exactly this value."""

    field: str
    value: str | int


class In(NamedTuple):
    """A keyword field has one of these values; of none: nothing."""

    field: str
    values: tuple[str, ...]


class Range(NamedTuple):
    """A keyword field has a value from ``at_least`` on that comes before ``below``, by bytes. None: no such bound."""

    field: str
    at_least: str | None
    below: str | None

    def among(self, values: Iterable[str]) -> list[str]:
        """Return those of some values that are in the range."""
        least, end = self.at_least, self.below
        return [each for each in values if (least is None or each >= least) and (end is None or each < end)]


class Prefix(NamedTuple):
    """A keyword field has a value that starts like this."""

    field: str
    start: str


class Words(NamedTuple):
    """A text field has these words in a row, whole or, if ``begun``, the last of them at least in its beginning."""

    field: str
    words: tuple[str, ...]
    begun: bool = True


class Exists(NamedTuple):
    """The field has a value."""

    field: str


Condition = Term | In | Range | Prefix | Words | Exists
"""What is asked of one field. A field that an index doesn't have meets none.

Of a field that is found in any case (:class:`cachesync.documents.Field`), both sides are compared in lower case.
"""


class And(NamedTuple):
    """All of these; of none: everything."""

    parts: "tuple[Query, ...]"


class Or(NamedTuple):
    """At least one of these; of none: nothing."""

    parts: "tuple[Query, ...]"


class Not(NamedTuple):
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

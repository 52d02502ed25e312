"""The one small tree that every question becomes, and that every engine answers."""

from typing import NamedTuple


class All(NamedTuple):
    """Every document."""


class Term(NamedTuple):
    """A keyword field has exactly this value; a text field, this word."""

    field: str
    value: str | int


class Prefix(NamedTuple):
    """A keyword field has a value, or a text field a word, that starts like this."""

    field: str
    start: str


class And(NamedTuple):
    """All of these; of none: everything."""

    parts: "tuple[Query, ...]"


class Or(NamedTuple):
    """At least one of these; of none: nothing."""

    parts: "tuple[Query, ...]"


class Not(NamedTuple):
    """Everything but this."""

    part: "Query"


class Exists(NamedTuple):
    """The field has a value."""

    field: str


Query = All | Term | Prefix | And | Or | Not | Exists

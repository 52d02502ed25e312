"""Search requests to an index, their results, and the parsers of filters, facets and sort keys."""

import datetime as dt
import re
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple, Protocol

from cachesync.documents import FIELDS, MAX_KEYWORD_BYTES, Field, todays_name
from cachesync.errors import UsageError
from cachesync.search.query import All, And, Or, Query, Term

DEFAULT_LIMIT: Final = 20
DEFAULT_FACET_SIZE: Final = 20
MAX_FACET_SIZE: Final = 10_000

FILTERABLE: Final = tuple(field.name for field in FIELDS.values() if field.is_asked_for)
"""The names of the fields by which hits can be filtered."""

LATEST: Final = "latest"
"""The value of ``tag`` that stands for the newest tag with a date."""

Hit = dict[str, Any]
"""A document's fields, and the document's ID under :data:`ID`."""

ID: Final = "_id"
"""The key that holds the document's ID in a hit."""


class SortKey(NamedTuple):
    """One field to sort by. Documents without the field come last in both directions."""

    field: str
    descending: bool = False


DEFAULT_ORDER: Final = (
    SortKey("package"),
    SortKey("version_key", descending=True),
    SortKey("tag_date", descending=True),
    SortKey("tag"),
)
"""By package name, then by version and by tag, both with the newest first. Tags without a date come last."""


TIEBREAK: Final = (SortKey("page"), SortKey("binary"))
"""Fields whose combined values are different for any two documents. Every order ends with these fields."""


class Filter(NamedTuple):
    """A filter on one field. A hit must have at least one of the values."""

    field: str
    values: tuple[str | int, ...]

    def query(self) -> Query:
        """Return the filter as a query."""
        return Or(tuple(Term(self.field, value) for value in self.values))


class Facet(NamedTuple):
    """A request for the most frequent values of a field."""

    field: str
    size: int = DEFAULT_FACET_SIZE


class Request(NamedTuple):
    """A search.

    Hits match ``query`` and every filter. Hits are ordered by the first of ``ranks`` that they match (hits that match
    no rank come last), then by ``order``, and finally by page and binary, so the order is the same on every engine.
    """

    query: Query = All()
    ranks: tuple[Query, ...] = ()
    filters: tuple[Filter, ...] = ()
    facets: tuple[Facet, ...] = ()
    order: tuple[SortKey, ...] = DEFAULT_ORDER
    limit: int = DEFAULT_LIMIT
    distinct: bool = False
    """Whether only the first document of each binary is a hit."""
    binaries: bool = False
    """Whether to count the binaries."""
    fields: tuple[str, ...] = ()
    """The fields that hits have, or an empty tuple for all. If ``distinct`` is set, ``binary`` must be among them."""

    def matching(self, without: str | None = None) -> Query:
        """Return the query that hits match, without the filters on a field whose facet is to be counted.

        Facets are therefore disjunctive: a field's counts are narrowed by all filters except the field's own.
        """
        return And((self.query, *(each.query() for each in self.filters if each.field != without)))


BINARIES: Final = "binaries"
"""The name by which :attr:`Found.approximate` refers to the number of binaries. No field has this name."""

EXACT_BINARIES: Final = 3_000
"""Up to this many documents, binaries are counted exactly. Beyond that, the number of binaries is an estimate."""


class Part(NamedTuple):
    """Some consecutive documents among those that match a request."""

    hits: list[Hit]
    """At least one hit."""
    rank: int
    """The index of the first rank that the last hit matches; if it matches none, the number of ranks."""


class FacetCount(NamedTuple):
    """A value of a facet, and the number of documents that have the value."""

    value: str
    documents: int


class Found(NamedTuple):
    """The result of a search. Facet values are sorted by frequency, the most frequent first, then by value."""

    total: int
    """The number of documents that match."""
    hits: list[Hit]
    facets: dict[str, list[FacetCount]]
    """The values of each facet with their numbers of documents, by field."""
    binaries: int | None = None
    """The number of binaries among the documents, if the request asked for this number."""
    approximate: tuple[str, ...] = ()
    """The counts that may be inexact: facets of an index with several shards, and ``binaries`` if there are many."""


class Countable(Protocol):
    """The part of an index's reader that is needed to interpret a query."""

    @property
    def fields(self) -> Collection[str]:
        """The fields that the index's documents may have."""

    def count(self, queries: Sequence[Query]) -> list[int]:
        """Count the documents that match each of the given queries."""


class Searchable(Countable, Protocol):
    """The part of an index's reader that is needed to answer questions."""

    @property
    def outdated(self) -> bool:
        """Whether the index was made by a version of cachesync that has different fields or documents."""

    def search(self, request: Request) -> Found:
        """Answer a search."""


def check_text(what: str, text: str) -> None:
    """Reject text from a command line that was not UTF-8.

    Raises:
        UsageError: a part of the text was not UTF-8.
    """
    for position, character in enumerate(text, start=1):
        if "\ud800" <= character <= "\udfff":
            raise UsageError(f"{what} is not UTF-8: character {position}")


def parse_filters(texts: Sequence[str], option: str = "--filter ") -> tuple[Filter, ...]:
    """Parse filters of the form ``FIELD=VALUE``, split at the first ``=``. Values of one field are alternatives.

    The filters are returned in the order of the fields so that equal searches are equal questions. ``option`` is the
    text that error messages put before a filter.

    Raises:
        UsageError: the ``=``, the field or the value is missing, or the field can't have the value.
    """
    values: dict[str, list[str | int]] = {}
    for text in texts:
        check_text(option.strip(), text)
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{option}{text:.80}: expected FIELD=VALUE")
        field = _filterable(name, option, text)
        if not value:
            raise UsageError(f"{option}{text:.80}: expected a value after the =")
        try:
            values.setdefault(name, []).append(value_of(field, value))
        except ValueError as error:
            raise UsageError(f"{option}{text:.80}: {error}") from None
    return tuple(Filter(name, tuple(values[name])) for name in FIELDS if name in values)


def without_latest(filters: tuple[Filter, ...]) -> tuple[tuple[Filter, ...], str | None]:
    """Split off a filter for the newest tag. Return the other filters, and :data:`LATEST` if there was such a filter.

    Raises:
        UsageError: there are also filters for other tags.
    """
    tags = next((each.values for each in filters if each.field == "tag"), ())
    if LATEST not in tags:
        return filters, None
    if set(tags) != {LATEST}:
        raise UsageError(f"tag={LATEST}: expected it alone, without other tags")
    return tuple(each for each in filters if each.field != "tag"), LATEST


def parse_facet(text: str, option: str = "--facet ") -> Facet:
    """Parse a facet of the form ``FIELD`` or ``FIELD:N``. Error messages put ``option`` before the facet.

    Raises:
        UsageError: there is no such field, its values are numbers, or N is out of range.
    """
    name, colon, size = text.partition(":")
    if _filterable(name, option, text).kind == "long":
        raise UsageError(f"{option}{text:.80}: {name} is a number; expected a field with names to count")
    if not colon:
        return Facet(name)
    if not re.fullmatch("[1-9][0-9]{0,4}", size) or int(size) > MAX_FACET_SIZE:
        raise UsageError(f"{option}{text:.80}: expected a number from 1 to {MAX_FACET_SIZE:,} after the colon")
    return Facet(name, int(size))


def parse_order(text: str, option: str = "--sort ") -> tuple[SortKey, ...]:
    """Parse a sort key of the form ``FIELD``, ``FIELD:asc`` or ``FIELD:desc``. Versions are sorted as in Spack.

    Error messages put ``option`` before the sort key.

    Raises:
        UsageError: there is no such field, the field may have several values, or the direction is unknown.
    """
    name, _, direction = text.partition(":")
    field = _filterable(name, option, text)
    if field.many:
        raise UsageError(f"{option}{text:.80}: a document has several {name}; expected a field with one value")
    if direction not in ("", "asc", "desc"):
        raise UsageError(f"{option}{text:.80}: expected asc or desc after the colon")
    return (SortKey(field.order_by, direction == "desc"),)


def _filterable(name: str, option: str, text: str) -> Field:
    field = FIELDS.get(name)
    if field is None or not field.is_asked_for:
        raise UsageError(f"{option}{text:.80}: no field {name!r:.80} here; expected one of {', '.join(FILTERABLE)}")
    return field


def value_of(field: Field, value: str) -> str | int:
    """Convert a value to the form that documents contain.

    Raises:
        ValueError: the field can't have this value.
    """
    if field.kind == "long":
        if not re.fullmatch("[0-9]{1,18}", value):
            raise ValueError("expected a number of bytes")
        return int(value)
    if field.kind == "date":
        try:
            return dt.date.fromisoformat(value).isoformat()
        except ValueError:
            raise ValueError("expected a date like 2025-03-23") from None
    if len(value.encode()) > MAX_KEYWORD_BYTES:  # Elasticsearch can't search for longer values
        raise ValueError(f"expected at most {MAX_KEYWORD_BYTES:,} bytes")
    return as_stored(field.name, value)


def as_stored(field: str, value: str) -> str:
    """Convert a string to the form that documents contain.

    Compilers have ``@`` instead of ``@=``, compiler names have the current spelling, and hashes are lowercase.
    """
    if field == "compiler_name":
        return todays_name(value)
    if field in ("hash", "short_hash"):
        return value.lower()
    return value.replace("@=", "@", 1) if field == "compiler" else value

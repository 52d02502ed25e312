"""What is asked of an index and what it answers."""

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


LATEST: Final = "latest"
"""What the newest tag with a date is asked for by."""

Hit = dict[str, Any]
"""A document's fields, and its id under :data:`ID`."""

ID: Final = "_id"
"""What the id of a document is called among its fields."""


class SortKey(NamedTuple):
    """One field to sort by. Documents without it come last, in both directions."""

    field: str
    descending: bool = False


DEFAULT_ORDER: Final = (
    SortKey("package"),
    SortKey("version_key", descending=True),
    SortKey("tag_date", descending=True),
    SortKey("tag"),
)
"""Packages by name, the newest version of each first, and of that the newest tag; tags without a date come last."""


TIEBREAK: Final = (SortKey("page"), SortKey("binary"))
"""What no two documents have in common: the order within all other orders."""


class Filter(NamedTuple):
    """Values of one field, any of which will do."""

    field: str
    values: tuple[str | int, ...]

    def query(self) -> Query:
        """Return the filter as a query."""
        return Or(tuple(Term(self.field, value) for value in self.values))


class Facet(NamedTuple):
    """Ask for the most frequent values of a field."""

    field: str
    size: int = DEFAULT_FACET_SIZE


class Request(NamedTuple):
    """A search.

    Hits match ``query`` and every filter. They come in the order of ``ranks`` (those that match the first, then of
    the others those that match the second …, then the rest), within a rank by ``order``, and last by page and hash:
    one order, the same on every engine.
    """

    query: Query = All()
    ranks: tuple[Query, ...] = ()
    filters: tuple[Filter, ...] = ()
    facets: tuple[Facet, ...] = ()
    order: tuple[SortKey, ...] = DEFAULT_ORDER
    limit: int = DEFAULT_LIMIT
    distinct: bool = False
    """Of the hits of one binary only the first."""
    binaries: bool = False
    """Count the binaries."""
    fields: tuple[str, ...] = ()
    """Which fields hits have, ``binary`` among them if ``distinct``; none: all."""

    def matching(self, without: str | None = None) -> Query:
        """Return what hits match, leaving aside the filters of one field: that field's facet counts these.

        So facets are disjunctive: a field's own filters don't narrow its own counts, all others do.
        """
        return And((self.query, *(each.query() for each in self.filters if each.field != without)))


BINARIES: Final = "binaries"
"""What :attr:`Found.approximate` calls the number of binaries. No field is called so."""

EXACT_BINARIES: Final = 3_000
"""Of how many documents binaries are counted one by one; of more their number is an estimate."""


class Part(NamedTuple):
    """Some of all documents that a request asks for, one after another."""

    hits: list[Hit]
    """At least one."""
    rank: int
    """The first of the request's ranks that the last one matches; their number: it matches none."""


class FacetCount(NamedTuple):
    """A value of a facet and how many documents have it."""

    value: str
    documents: int


class Found(NamedTuple):
    """What a search found. Facet values come most frequent first, then by value."""

    total: int
    """Documents."""
    hits: list[Hit]
    facets: dict[str, list[FacetCount]]
    """In documents."""
    binaries: int | None = None
    """How many binaries the documents are of, where that was asked for."""
    approximate: tuple[str, ...] = ()
    """What may not be exact: facets, where the index has several shards, and ``binaries`` where they are many."""


class Countable(Protocol):
    """An index's reader, as far as a query is read by it."""

    @property
    def fields(self) -> Collection[str]:
        """The fields that its documents may have."""

    def count(self, queries: Sequence[Query]) -> list[int]:
        """Count the documents that match each of some queries."""


class Searchable(Countable, Protocol):
    """An index's reader, as far as questions are put to it."""

    @property
    def outdated(self) -> bool:
        """It was made by a version with other fields or documents."""

    def search(self, request: Request) -> Found:
        """Answer a search."""


def check_text(what: str, text: str) -> None:
    """Make sure that text from a command line is UTF-8.

    Raises:
        UsageError: a character isn't.
    """
    for position, character in enumerate(text, start=1):
        if "\ud800" <= character <= "\udfff":
            raise UsageError(f"{what} is not UTF-8: character {position}")


def parse_filters(texts: Sequence[str], option: str = "--filter ") -> tuple[Filter, ...]:
    """Read ``FIELD=VALUE``, split at the first ``=``. Values of one field are alternatives.

    They come in the order of the fields, however they are given, so what is asked twice is one question. ``option`` is
    what stands before each, for its mistakes.

    Raises:
        UsageError: no ``=``, no such field, no value, or one that the field can't have.
    """
    values: dict[str, list[str | int]] = {}
    for text in texts:
        check_text(option.strip(), text)
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{option}{text:.80}: expected FIELD=VALUE")
        field = _filterable(name, option, text)
        if not value:
            raise UsageError(f"{option}{text:.80}: expected a value behind the =")
        try:
            values.setdefault(name, []).append(value_of(field, value))
        except ValueError as error:
            raise UsageError(f"{option}{text:.80}: {error}") from None
    return tuple(Filter(name, tuple(values[name])) for name in FIELDS if name in values)


def without_latest(filters: tuple[Filter, ...]) -> tuple[tuple[Filter, ...], str | None]:
    """Return filters without that for the newest tag, and :data:`LATEST` if there was one.

    Raises:
        UsageError: other tags are asked for beside it.
    """
    tags = next((each.values for each in filters if each.field == "tag"), ())
    if LATEST not in tags:
        return filters, None
    if set(tags) != {LATEST}:
        raise UsageError(f"tag={LATEST}: expected it alone, without other tags")
    return tuple(each for each in filters if each.field != "tag"), LATEST


def parse_facet(text: str, option: str = "--facet ") -> Facet:
    """Read ``FIELD`` or ``FIELD:N``; ``option`` is what stands before it, for its mistakes.

    Raises:
        UsageError: no such field, or N is no number from 1.
    """
    name, colon, size = text.partition(":")
    if _filterable(name, option, text).kind == "long":
        raise UsageError(f"{option}{text:.80}: {name} is a number; expected a field with names to count")
    if not colon:
        return Facet(name)
    if not re.fullmatch("[1-9][0-9]{0,4}", size) or int(size) > MAX_FACET_SIZE:
        raise UsageError(f"{option}{text:.80}: expected a number from 1 to {MAX_FACET_SIZE:,} behind the colon")
    return Facet(name, int(size))


def parse_order(text: str, option: str = "--sort ") -> tuple[SortKey, ...]:
    """Read ``FIELD``, ``FIELD:asc`` or ``FIELD:desc``. A version is sorted as Spack does.

    ``option`` is what stands before it, for its mistakes.

    Raises:
        UsageError: no such field, one with several values, or another direction.
    """
    name, _, direction = text.partition(":")
    field = _filterable(name, option, text)
    if field.many:
        raise UsageError(f"{option}{text:.80}: a document has several {name}; expected a field with one value")
    if direction not in ("", "asc", "desc"):
        raise UsageError(f"{option}{text:.80}: expected asc or desc behind the colon")
    return (SortKey(field.order_by, direction == "desc"),)


def _filterable(name: str, option: str, text: str) -> Field:
    field = FIELDS.get(name)
    if field is None or not field.is_asked_for:
        names = ", ".join(each.name for each in FIELDS.values() if each.is_asked_for)
        raise UsageError(f"{option}{text:.80}: no field {name!r:.80} here; expected one of {names}")
    return field


def value_of(field: Field, value: str) -> str | int:
    """Return a value as documents have it.

    Raises:
        ValueError: the field can't have it.
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
    if len(value.encode()) > MAX_KEYWORD_BYTES:  # Elasticsearch refuses to look for such
        raise ValueError(f"expected at most {MAX_KEYWORD_BYTES:,} bytes")
    return as_stored(field.name, value)


def as_stored(field: str, value: str) -> str:
    """Return a value as documents have it: compilers with ``@`` for ``@=``, their names in today's spelling.

    Hashes are in lower case.
    """
    if field == "compiler_name":
        return todays_name(value)
    if field in ("hash", "short_hash"):
        return value.lower()
    return value.replace("@=", "@", 1) if field == "compiler" else value

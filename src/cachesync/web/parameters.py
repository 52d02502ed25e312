"""Parses the parameters of URLs. The page takes those of ``/api/search``, so each state of the page has a URL."""

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final, Literal, NamedTuple, TypeVar, get_args
from urllib.parse import parse_qsl

from starlette.requests import Request

from cachesync.errors import UsageError
from cachesync.search.cursor import Cursor, decoded
from cachesync.search.interpretation import Mode
from cachesync.search.question import Question
from cachesync.search.request import (
    DEFAULT_LIMIT,
    FILTERABLE,
    LATEST,
    Filter,
    SortKey,
    parse_facet,
    parse_filters,
    parse_order,
)
from cachesync.search.targets import parse_machine

MAX_LIMIT: Final = 1_000
MAX_VALUES: Final = 256
"""How many parameters a request may have in total."""

Format = Literal["json", "ndjson", "csv"]

_ONCE: Final = ("q", "mode", "arch", "limit", "distinct", "cursor", "format")
_OFTEN: Final = ("facet", "sort", *FILTERABLE)

_Choice = TypeVar("_Choice", bound=str)

Pairs = Sequence[tuple[str, str]]
"""Names and values of parameters, in the order of the URL."""


class SearchParameters(NamedTuple):
    """The parsed parameters of a search."""

    question: Question
    cursor: Cursor | None
    """Where to continue; None: start with the first hit."""
    format: Format
    most: int | None
    """How many hits an export has; None: all."""


def pairs_of(request: Request) -> Pairs:
    """Return a request's query parameters, in their order.

    Raises:
        UsageError: the parameters aren't UTF-8, or there are too many of them.
    """
    query: bytes = request.scope["query_string"]
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_VALUES)
    except UnicodeDecodeError:
        raise UsageError("the parameters are not UTF-8") from None
    except ValueError:
        raise UsageError(f"too many parameters: expected at most {MAX_VALUES}") from None
    return pairs


def read_search(pairs: Pairs) -> SearchParameters:
    """Parse the parameters of a search. Parameters with an empty value, which forms send, are ignored.

    Raises:
        UsageError: a parameter is unknown, has an invalid value, or is repeated.
    """
    given = read(pairs, once=_ONCE, often=_OFTEN)
    one = {name: values[0] for name, values in given.items() if name in _ONCE}
    is_latest = LATEST in given.get("tag", ())
    if is_latest and len(given["tag"]) > 1:
        raise UsageError(f"tag={LATEST}: expected it alone, without other tags")
    question = Question(
        text=one.get("q", ""),
        mode=choice("mode", one, get_args(Mode), "auto"),
        filters=read_filters({name: values for name, values in given.items() if not (is_latest and name == "tag")}),
        tag=LATEST if is_latest else None,
        machine=parse_machine(one["arch"]) if "arch" in one else None,
        facets=tuple(parse_facet(each, "facet=") for each in given.get("facet", ())),
        order=_order(given.get("sort", ())),
        limit=number("limit", one, 0, MAX_LIMIT, DEFAULT_LIMIT),
        distinct=choice("distinct", one, ("true", "false"), "false") == "true",
    )
    cursor = decoded(one["cursor"], question) if "cursor" in one else None
    most = question.limit if "limit" in one else None
    return SearchParameters(question, cursor, choice("format", one, get_args(Format), "json"), most)


def _order(texts: Iterable[str]) -> tuple[SortKey, ...]:
    """Parse the sort keys. A second key for a field would have no effect, so it is left out."""
    by_field: dict[str, SortKey] = {}
    for key in chain.from_iterable(parse_order(each, "sort=") for each in texts):
        by_field.setdefault(key.field, key)
    return tuple(by_field.values())


def read(pairs: Pairs, *, once: Sequence[str] = (), often: Sequence[str] = ()) -> dict[str, list[str]]:
    """Group values by their names, leaving out empty values.

    Raises:
        UsageError: there are too many parameters, or one is unknown or repeated.
    """
    if len(pairs) > MAX_VALUES:
        raise UsageError(f"{len(pairs):,} parameters: expected at most {MAX_VALUES}")
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in once and name not in often:
            raise UsageError(f"{name:.80}: no such parameter; expected some of {', '.join((*once, *often))}")
        if value:
            given.setdefault(name, []).append(value)
    for name in once:
        if len(given.get(name, ())) > 1:
            raise UsageError(f"{name}: expected it once, not {len(given[name])} times")
    return given


def read_filters(given: dict[str, list[str]]) -> tuple[Filter, ...]:
    """Return fields and values as filters."""
    return parse_filters([f"{name}={value}" for name in FILTERABLE for value in given.get(name, ())], option="")


def choice(name: str, given: dict[str, str], values: Sequence[_Choice], default: _Choice) -> _Choice:
    """Return a parameter's value, which must be one of ``values``.

    Raises:
        UsageError: the value is not one of them.
    """
    value = given.get(name, default)
    found = next((each for each in values if each == value), None)
    if found is None:
        raise UsageError(f"{name}={value:.80}: expected {' or '.join(values)}")
    return found


def number(name: str, given: dict[str, str], least: int, most: int, default: int) -> int:
    """Return a parameter's value as a number.

    Raises:
        UsageError: the value is not a number, or is out of bounds.
    """
    value = given.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", value) or not least <= int(value) <= most:
        raise UsageError(f"{name}={value:.80}: expected a number from {least} to {most:,}")
    return int(value)

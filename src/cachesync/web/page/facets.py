"""Facets as the page shows them, and the chips of what is chosen."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from cachesync.search.answer import Answer
from cachesync.search.request import LATEST, MAX_FACET_SIZE, FacetCount
from cachesync.web.page.address import PageUrl, facet_sizes
from cachesync.web.parameters import FILTERS

_LABELS: Final = {
    "os": "Operating system",
    "stacks": "Stack",
    "variants": "Variant",
    "tag_date": "Date of the tag",
    "arch": "Runs on",
    "mode": "Read as",
    "distinct": "Each binary once",
}
"""What fields and parameters are called on the page, where it isn't their name."""

_STEPS: Final = (20, 100, 1_000, MAX_FACET_SIZE)
"""How many values are shown, from one "more" to the next."""

_HIDDEN: Final = {"stacks": "root"}
"""Values that say nothing: nearly all documents have them."""


class Option(NamedTuple):
    """One value of a facet."""

    value: str
    documents: int | None
    """None: so few that they weren't counted."""
    is_chosen: bool


class FacetView(NamedTuple):
    """A facet."""

    field: str
    label: str
    options: tuple[Option, ...]
    """Those that are chosen and not among the most frequent come first."""
    chosen: int
    more: str | None
    """Where more values are shown; None: there are no more."""
    fewer: str | None
    is_open: bool
    is_approximate: bool


class Chip(NamedTuple):
    """Something that narrows a search, and where it is without that."""

    field: str
    label: str
    value: str
    url: str


def label(field: str) -> str:
    """Return what a field is called on the page."""
    return _LABELS.get(field, field.replace("_", " ").capitalize())


def facet_views(said: PageUrl, answer: Answer) -> Iterator[FacetView]:
    """Yield the facets that have values, in the order of the page."""
    for field, size in facet_sizes(said).items():
        facet = _facet(said, answer, field, int(size))
        if facet.options:
            yield facet


def _facet(said: PageUrl, answer: Answer, field: str, size: int) -> FacetView:
    chosen = [value for value in said.all(field) if (field, value) != ("tag", LATEST)]  # which has a box of its own
    hidden = _HIDDEN.get(field)
    found = answer.found.facets.get(field, [])
    counts = [each for each in found if each.value != hidden or each.value in chosen]
    known = {each.value: each for each in counts}
    top = counts[:size]
    is_complete = len(found) < next((each.size for each in answer.question.facets if each.field == field), 0)
    missing = FacetCount("", 0) if is_complete else None
    below = [_option(value, known.get(value, missing), chosen) for value in chosen if value not in _values(top)]
    return FacetView(
        field,
        label(field),
        (*below, *(_option(each.value, each, chosen) for each in top)),
        len(chosen),
        _resized(said, field, next((step for step in _STEPS if step > size), 0)) if len(counts) > size else None,
        _resized(said, field, 0) if size > _STEPS[0] else None,
        _is_open(field, answer, is_chosen=bool(chosen)),
        field in answer.found.approximate,
    )


def _option(value: str, count: FacetCount | None, chosen: list[str]) -> Option:
    return Option(value, count.documents if count else None, value in chosen)


def _values(counts: list[FacetCount]) -> set[str]:
    return {each.value for each in counts}


def _is_open(field: str, answer: Answer, *, is_chosen: bool) -> bool:
    """Versions of many packages tell nobody anything."""
    return field != "version" or is_chosen or len(answer.found.facets.get("package", ())) == 1


def _resized(said: PageUrl, field: str, size: int) -> str | None:
    """Return where more or less values of a facet are shown; 0: as many as usual."""
    others = [each for each in said.all("facet") if each.partition(":")[0] != field]
    left = said.replacing("facet", *others, *([f"{field}:{size}"] if size else []))
    return left.url


_ALWAYS: Final = ("arch", "mode", "distinct")


def chips(said: PageUrl, *, also: tuple[str, ...] = ()) -> Iterator[Chip]:
    """Yield what narrows a search beside its text. ``also`` are parameters that aren't told where all is well."""
    for name, value in said.pairs:
        is_told = name in FILTERS or name in (*_ALWAYS, *also)
        if is_told and (name, value) != ("distinct", "true"):
            yield Chip(name, label(name), _VALUES.get((name, value), value), said.without(name, value).url)


_VALUES: Final = {
    ("tag", "latest"): "the latest",
    ("mode", "spec"): "a spec, exactly",
    ("mode", "text"): "words",
    ("distinct", "false"): "no",
}
"""What values are called on the page, where it isn't what stands in the URL."""

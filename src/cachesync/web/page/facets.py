"""Facets as the page shows them, and the chips for the conditions of a search."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from cachesync.search.answer import Answer
from cachesync.search.request import FILTERABLE, LATEST, MAX_FACET_SIZE, FacetCount
from cachesync.web.page.address import PageUrl, facet_sizes

_LABELS: Final = {
    "os": "Operating system",
    "stacks": "Stack",
    "variants": "Variant",
    "tag_date": "Date of the tag",
    "arch": "Runs on",
    "mode": "Read as",
    "distinct": "Each binary once",
}
"""Labels of fields and parameters that differ from their names."""

_STEPS: Final = (20, 100, 1_000, MAX_FACET_SIZE)
"""How many values are shown, and how many after each click on "more"."""

_HIDDEN: Final = {"stacks": "root"}
"""Values that are hidden because nearly all documents have them."""


class Option(NamedTuple):
    """One value of a facet."""

    value: str
    documents: int | None
    """The number of documents; None: the value isn't among those that were counted."""
    is_chosen: bool


class FacetView(NamedTuple):
    """A facet."""

    field: str
    label: str
    options: tuple[Option, ...]
    """Chosen values that aren't among the most frequent come first."""
    chosen: int
    more: str | None
    """The URL that shows more values; None: there are no more."""
    fewer: str | None
    is_open: bool
    """Whether the facet is initially expanded; versions only if one is chosen or all hits are of the same package."""
    is_approximate: bool


class Chip(NamedTuple):
    """A condition of a search, and the URL of the search without it."""

    field: str
    label: str
    value: str
    url: str


def label(field: str) -> str:
    """Return the label of a field."""
    return _LABELS.get(field, field.replace("_", " ").capitalize())


def facet_views(here: PageUrl, answer: Answer) -> Iterator[FacetView]:
    """Yield the facets that have values, in the order of the page."""
    for field, size in facet_sizes(here).items():
        facet = _facet(here, answer, field, int(size))
        if facet.options:
            yield facet


def _facet(here: PageUrl, answer: Answer, field: str, size: int) -> FacetView:
    chosen = [value for value in here.all(field) if (field, value) != ("tag", LATEST)]  # which has its own checkbox
    hidden = _HIDDEN.get(field)
    found = answer.found.facets.get(field, [])
    counts = [each for each in found if each.value != hidden or each.value in chosen]
    known = {each.value: each for each in counts}
    top = counts[:size]
    shown = {each.value for each in top}
    is_complete = len(found) < next((each.size for each in answer.question.facets if each.field == field), 0)
    missing = FacetCount("", 0) if is_complete else None
    below = [_option(value, known.get(value, missing), chosen) for value in chosen if value not in shown]
    is_of_one_package = len(answer.found.facets.get("package", ())) == 1
    return FacetView(
        field,
        label(field),
        (*below, *(_option(each.value, each, chosen) for each in top)),
        len(chosen),
        _resized(here, field, next((step for step in _STEPS if step > size), 0)) if len(counts) > size else None,
        _resized(here, field, 0) if size > _STEPS[0] else None,
        field != "version" or bool(chosen) or is_of_one_package,
        field in answer.found.approximate,
    )


def _option(value: str, count: FacetCount | None, chosen: list[str]) -> Option:
    return Option(value, count.documents if count else None, value in chosen)


def _resized(here: PageUrl, field: str, size: int) -> str:
    """Return the URL that shows another number of a facet's values; 0 is the default number."""
    others = [each for each in here.all("facet") if each.partition(":")[0] != field]
    return here.replacing("facet", *others, *([f"{field}:{size}"] if size else [])).url


def chips(here: PageUrl, *, also: tuple[str, ...] = ()) -> Iterator[Chip]:
    """Yield a chip for each condition besides the text; ``also`` names parameters that only error pages show."""
    for name, value in here.pairs:
        if name in (*FILTERABLE, "arch", "mode", "distinct", *also) and (name, value) != ("distinct", "true"):
            yield Chip(name, label(name), _VALUES.get((name, value), value), here.without(name, value).url)


_VALUES: Final = {
    ("tag", "latest"): "the latest",
    ("mode", "spec"): "a spec, exactly",
    ("mode", "text"): "words",
    ("distinct", "false"): "no",
}
"""Labels of values that are shown differently from the URL."""

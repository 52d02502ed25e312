"""The search page's URL: the search that it stands for, and the URLs of searches that differ in one parameter.

The page takes the parameters of ``/api/search``, so each state of the page has a URL. Links are built from the
configured base path, never from a request's ``Host`` header.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

from cachesync.documents import FIELDS
from cachesync.search.request import DEFAULT_FACET_SIZE, LATEST, MAX_FACET_SIZE, as_stored
from cachesync.web.parameters import Pairs

FACETS: Final = ("package", "version", "compiler", "target", "os", "tag", "stacks", "variants")
"""The facets that the page always counts."""

_WHOLE: Final = 1_000
"""The minimum number of values counted for a facet with chosen values, so that the chosen ones are among them."""

_SPARE: Final = 2
"""How many more values are counted than shown: one may be hidden, and another reveals whether there are more."""

_SIZE: Final = re.compile("[1-9][0-9]{0,4}")
_DROPPED: Final = frozenset({"format"})
"""Parameters of the API that have no meaning on a page."""


class PageUrl(NamedTuple):
    """A state of the page."""

    base: str
    """The base path: empty, or with a leading slash and without a trailing one."""
    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, base: str, pairs: Pairs) -> "PageUrl":
        """Normalize a request's parameters: drop empty ones, which forms send, and spell values as in documents.

        If a form sends ``latest`` together with other tags, only ``latest`` is kept.
        """
        is_latest = ("tag", LATEST) in pairs
        kept = (
            (name, _stored(name, value))
            for name, value in pairs
            if value and name not in _DROPPED and not (is_latest and name == "tag" and value != LATEST)
        )
        return cls(base, tuple(dict.fromkeys(kept)))

    def all(self, name: str) -> list[str]:
        """Return the values of a parameter."""
        return [value for each, value in self.pairs if each == name]

    def one(self, name: str) -> str:
        """Return the first value of a parameter, or an empty string."""
        return next(iter(self.all(name)), "")

    def without(self, name: str, value: str | None = None) -> "PageUrl":
        """Remove one or all values of a parameter, and the cursor, which belongs to the old search."""
        left = (pair for pair in self.pairs if pair[0] != name or value not in (None, pair[1]))
        return self._replace(pairs=tuple(pair for pair in left if pair[0] != "cursor"))

    def replacing(self, name: str, *values: str) -> "PageUrl":
        """Replace the values of a parameter, or remove the parameter if no values are given."""
        left = self.without(name)
        return left._replace(pairs=(*left.pairs, *((name, value) for value in values if value)))

    @property
    def url(self) -> str:
        """The URL of this state."""
        return _with(f"{self.base}/", self.pairs)

    def api_url(self, form: str = "") -> str:
        """Return the URL of the same search in the API; ``form`` names a format other than JSON."""
        asked = [pair for pair in _each_once(self.without("cursor")) if pair[0] != "facet"]
        if form:
            return _with(f"{self.base}/api/search", [*(pair for pair in asked if pair[0] != "limit"), ("format", form)])
        usual = str(DEFAULT_FACET_SIZE)
        facets = (name if size == usual else f"{name}:{size}" for name, size in facet_sizes(self).items())
        return _with(f"{self.base}/api/search", [*asked, *(("facet", facet) for facet in facets)])

    def binary_url(self, binary: str) -> str:
        """Return the URL of a binary's page."""
        return f"{self.base}/binary/{quote(binary, safe='')}"

    def search_url(self, **parameters: str) -> str:
        """Return the URL of a new search with these parameters only."""
        return _with(f"{self.base}/", parameters.items())


def _with(path: str, pairs: Iterable[tuple[str, str]]) -> str:
    query = urlencode(list(pairs))
    return f"{path}?{query}" if query else path


def _stored(name: str, value: str) -> str:
    field = FIELDS.get(name)
    if field is None:
        return value
    stored = as_stored(name, value)
    return stored.lower() if field.any_case else stored


def asked_by_page(pairs: Pairs) -> list[tuple[str, str]]:
    """Return the parameters of the page's search: those of its URL, and the page's defaults.

    By default, the page shows each binary once and counts :data:`FACETS`. Invalid values are left unchanged.
    """
    here = PageUrl.of("", pairs)
    asked = [pair for pair in _each_once(here) if pair[0] != "facet"]
    return [*asked, *(("facet", _counted(here, field, size)) for field, size in facet_sizes(here).items())]


def _each_once(here: PageUrl) -> list[tuple[str, str]]:
    """Return the parameters, with ``distinct=true`` added if they don't have ``distinct``."""
    return [*here.pairs, *([] if here.one("distinct") else [("distinct", "true")])]


def _counted(here: PageUrl, field: str, size: str) -> str:
    if not _SIZE.fullmatch(size):
        return f"{field}:{size}"
    number = max(int(size) + _SPARE, _WHOLE if here.all(field) else 0)
    return f"{field}:{min(number, MAX_FACET_SIZE)}"


def facet_sizes(here: PageUrl) -> dict[str, str]:
    """Return how many values of each shown facet the URL requests, as unparsed text."""
    sizes = dict.fromkeys(FACETS, str(DEFAULT_FACET_SIZE))
    for text in here.all("facet"):
        field, colon, size = text.partition(":")
        sizes[field] = size if colon else str(DEFAULT_FACET_SIZE)
    return sizes

"""The page's URL: what it asks for, and the URLs of searches that differ from it in one thing.

It has the parameters of ``/api/search``, so each state of the page is a URL. Links are made from the path below which
the page is served, never from what a request says of the host.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

from cachesync.documents import FIELDS
from cachesync.search.request import DEFAULT_FACET_SIZE, LATEST, MAX_FACET_SIZE, as_stored
from cachesync.web.parameters import Pairs

FACETS: Final = ("package", "version", "compiler", "target", "os", "tag", "stacks", "variants")
"""What the page counts without being asked."""

_WHOLE: Final = 1_000
"""Of a facet with chosen values so many are counted, so that theirs are among them."""

_SPARE: Final = 2
"""So many more values are counted than are shown: one may be hidden, and the other tells that there are more."""

_SIZE: Final = re.compile("[1-9][0-9]{0,4}")
_DROPPED: Final = frozenset({"format"})
"""Parameters of the API that say nothing to a page."""


class PageUrl(NamedTuple):
    """A state of the page."""

    base: str
    """The path below which everything is served; empty, or with a slash at its beginning alone."""
    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, base: str, pairs: Pairs) -> "PageUrl":
        """Leave out what says nothing, as forms send it, and write values as documents have them.

        A form sends the tags that are ticked along with the newest one: that stands alone.
        """
        is_latest = ("tag", LATEST) in pairs
        said = (
            (name, _stored(name, value))
            for name, value in pairs
            if value and name not in _DROPPED and not (is_latest and name == "tag" and value != LATEST)
        )
        return cls(base, tuple(dict.fromkeys(said)))

    def all(self, name: str) -> list[str]:
        """Return the values of a parameter."""
        return [value for each, value in self.pairs if each == name]

    def one(self, name: str) -> str:
        """Return the first value of a parameter; it is empty where there is none."""
        return next(iter(self.all(name)), "")

    def without(self, name: str, value: str | None = None) -> "PageUrl":
        """Leave out one value of a parameter, or all of it. Another search begins at its first hit."""
        left = (pair for pair in self.pairs if pair[0] != name or value not in (None, pair[1]))
        return self._replace(pairs=tuple(pair for pair in left if pair[0] != "cursor"))

    def replacing(self, name: str, *values: str) -> "PageUrl":
        """Give a parameter other values; none: leave it out."""
        left = self.without(name)
        return left._replace(pairs=(*left.pairs, *((name, value) for value in values if value)))

    @property
    def url(self) -> str:
        """Where this state is."""
        return _with(f"{self.base}/", self.pairs)

    @property
    def parts_url(self) -> str:
        """Where the parts of the page are that differ from state to state."""
        return _with(f"{self.base}/parts", self.pairs)

    def api_url(self, form: str = "") -> str:
        """Where the API answers the same question, in another form than JSON if one is named."""
        asked = [pair for pair in _each_once(self.without("cursor")) if pair[0] != "facet"]
        if form:
            return _with(f"{self.base}/api/search", [*(pair for pair in asked if pair[0] != "limit"), ("format", form)])
        usual = str(DEFAULT_FACET_SIZE)
        facets = (name if size == usual else f"{name}:{size}" for name, size in facet_sizes(self).items())
        return _with(f"{self.base}/api/search", [*asked, *(("facet", facet) for facet in facets)])

    def binary_url(self, binary: str) -> str:
        """Where all is told of a binary."""
        return f"{self.base}/binary/{quote(binary, safe='')}"

    def search_url(self, **parameters: str) -> str:
        """Where a search of its own is."""
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
    """Return the parameters that the page asks with: those of its URL, and those that it takes for granted.

    These are each binary once, and the counts of :data:`FACETS`. What can't be read stays as it is.
    """
    said = PageUrl.of("", pairs)
    asked = [pair for pair in _each_once(said) if pair[0] != "facet"]
    return [*asked, *(("facet", _counted(said, field, size)) for field, size in facet_sizes(said).items())]


def _each_once(said: PageUrl) -> list[tuple[str, str]]:
    """Return the parameters of a search that shows each binary once, unless it says otherwise."""
    return [*said.pairs, *([] if said.one("distinct") else [("distinct", "true")])]


def _counted(said: PageUrl, field: str, size: str) -> str:
    if not _SIZE.fullmatch(size):
        return f"{field}:{size}"
    number = max(int(size) + _SPARE, _WHOLE if said.all(field) else 0)
    return f"{field}:{min(number, MAX_FACET_SIZE)}"


def facet_sizes(said: PageUrl) -> dict[str, str]:
    """Return of each facet that is shown how many values the URL asks for, unread."""
    sizes = dict.fromkeys(FACETS, str(DEFAULT_FACET_SIZE))
    for text in said.all("facet"):
        field, colon, size = text.partition(":")
        sizes[field] = size if colon else str(DEFAULT_FACET_SIZE)
    return sizes

"""The pages that the server renders, and the parts of one that the script replaces. No page needs the script."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cachesync import __version__
from cachesync.search.answer import Answer, Binary
from cachesync.search.difference import TagDifference
from cachesync.search.display import one_variant_apart
from cachesync.search.install import is_plain
from cachesync.search.request import BINARIES, LATEST, Hit
from cachesync.web.page import assets, markup
from cachesync.web.page.address import PageUrl, facet_sizes
from cachesync.web.page.alternatives import instead
from cachesync.web.page.facets import chips, facet_views, label
from cachesync.web.page.freshness import IndexState, freshness, warnings
from cachesync.web.page.hits import row, rows, siblings
from cachesync.web.parameters import FILTERS, Pairs

_EXAMPLES: Final = (
    ("hdf5@1.14: +mpi %gcc", "a spec: version, variant and compiler"),
    ("py-torch target=:zen4", "what an AMD Zen 4 machine can run"),
    ("mkl", "part of a name"),
)
"""What can be typed, and what it asks for."""

_ORDERS: Final = {
    "version:desc": "Version, newest first",
    "tag_date:desc": "Tag, newest first",
    "package": "Package, A to Z",
    "size:desc": "Size, largest first",
    "size": "Size, smallest first",
}

_TITLES: Final = {
    HTTPStatus.BAD_REQUEST: "This can't be searched for",
    HTTPStatus.NOT_FOUND: "There is nothing here",
    HTTPStatus.CONFLICT: "This fits several binaries",
    HTTPStatus.SERVICE_UNAVAILABLE: "No answer at the moment",
    HTTPStatus.GATEWAY_TIMEOUT: "That took too long",
}

_MOST_LISTED: Final = 200
"""So many binaries or packages of a difference are listed; the API has all of them."""

_BINARY: Final = re.compile(r"/([a-z0-9]+) (.+)")
"""One of the binaries that the beginning of a hash fits, as a message lists them."""


class Marked(NamedTuple):
    """A query, with the character in it that can't be read."""

    before: str
    character: str
    """Empty: the query ends too early."""
    after: str


class Line(NamedTuple):
    """A line of a message, which may name a binary."""

    text: str
    url: str | None


class PageRenderer:
    """Renders pages, all links in them below one path."""

    def __init__(self, base_path: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Load templates and the files beside them.

        Args:
            base_path: the path below which everything is served: empty, or as in ``/cachesync``.
            now: the moment, which ages are counted to.
        """
        self._base = base_path.rstrip("/")
        self._now = now
        stylesheet, script, icon = assets.stylesheet(), assets.script(), assets.icon()
        self.static_files: Mapping[str, tuple[bytes, str]] = {
            each.name: (each.content, each.media_type) for each in (stylesheet, script, icon)
        }
        """What is served beside pages: by name below the base path, content and media type."""
        self._environment = Environment(
            loader=FileSystemLoader(assets.FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters["visible"] = markup.visible
        self._environment.tests["plain"] = is_plain
        self._environment.globals.update(
            base=self._base,
            stylesheet=f"{self._base}/{stylesheet.name}",
            script=f"{self._base}/{script.name}",
            icon=f"{self._base}/{icon.name}",
            program_version=__version__,
            examples=[(text, meaning, PageUrl(self._base, (("q", text),)).url) for text, meaning in _EXAMPLES],
            label=label,
            v=markup.v,
            variant=markup.variant,
            variants=markup.variants,
            count=markup.count,
            command=markup.command,
            spec=markup.spec,
        )
        for name in self._environment.list_templates():
            self._environment.get_template(name)

    def search(self, pairs: Pairs, answer: Answer, next_cursor: str | None, state: IndexState) -> str:
        """Render the page of a search.

        Args:
            pairs: the parameters of the URL. The answer is that to :func:`cachesync.web.page.asked_by_page` of them.
            answer: what was found.
            next_cursor: the ``cursor`` of the next page; None: there is none.
            state: what is known of the index.
        """
        return self._rendered("search.html", self._search(pairs, answer, next_cursor, state))

    def search_parts(self, pairs: Pairs, answer: Answer, next_cursor: str | None, state: IndexState) -> str:
        """Render only what differs from search to search, for the script. The arguments are those of :meth:`search`."""
        return self._rendered("parts.html", self._search(pairs, answer, next_cursor, state))

    def binary(self, binary: Binary, others: Sequence[Hit], state: IndexState) -> str:
        """Render all that there is to say of a binary.

        Args:
            binary: it.
            others: other binaries, of which those are shown that differ from it in a single variant.
            state: what is known of the index.
        """
        said = PageUrl(self._base, ())
        newest = {**binary.newest, "tags": binary.tags, "stacks": binary.stacks}
        shown = {
            "title": f"{newest['package']}@{newest['version']}",
            "hit": newest,
            "row": row(newest, said),
            "documents": binary.documents,
            "siblings": list(siblings(newest, one_variant_apart(newest, others), said)),
            "search_url": said.search_url,
            "json_url": f"{self._base}/api/binaries/{newest['binary']}",
        }
        return self._rendered("binary.html", {**self._frame(said, state, list(_elsewhere(said))), **shown})

    def difference(self, tags: Sequence[str], difference: TagDifference | None, pairs: Pairs, state: IndexState) -> str:
        """Render what two tags don't have in common, or the choice of them.

        Args:
            tags: those that there are, in the order in which they are offered.
            difference: what was found; None: two tags are still to be chosen.
            pairs: the parameters of the URL.
            state: what is known of the index.
        """
        said = PageUrl(self._base, tuple((name, value) for name, value in pairs if value))
        filters = [(name, value) for name, value in said.pairs if name in FILTERS]
        shown = {
            "title": "Compare two tags",
            "tags": tags,
            "chosen": (said.one("from"), said.one("to")),
            "filters": [
                (label(name), value, self._difference_url(said.without(name, value).pairs)) for name, value in filters
            ],
            "kept_filters": filters,
            "difference": difference,
            "most": _MOST_LISTED,
            "package_url": lambda package: self._difference_url(said.replacing("package", package).pairs),
            "binary_url": said.binary_url,
            "json_url": f"{self._base}/api/diff?{urlencode(said.pairs)}",
        }
        return self._rendered("difference.html", {**self._frame(PageUrl(self._base, ()), state, []), **shown})

    def _difference_url(self, pairs: Pairs) -> str:
        return f"{self._base}/diff?{urlencode(pairs)}"

    def error(
        self,
        status: HTTPStatus,
        message: str,
        at: int | None,
        pairs: Pairs,
        state: IndexState | None,
        *,
        has_chips: bool = True,
    ) -> str:
        """Render why there is no answer, with what was typed still in the form.

        Args:
            status: that of the response.
            message: what went wrong; lines behind the first may list binaries.
            at: the character of the query that can't be read, counted from 1.
            pairs: the parameters of the URL.
            state: what is known of the index; None: nothing.
            has_chips: it shows what narrows the search. That takes time, since each chip leads to all the others.
        """
        said = PageUrl.of(self._base, pairs)
        query = said.one("q")
        first, *lines = message.splitlines() or [status.phrase]
        shown = {
            "title": _TITLES.get(status, status.phrase),
            "message": first,
            "lines": [_line(text, said) for text in lines],
            "marked": None if at is None else Marked(query[: at - 1], query[at - 1 : at], query[at:]),
            "chips": list(chips(said, also=("limit", "sort", "facet"))) if has_chips else [],
            "again_url": said.without("cursor").url if said.one("cursor") else None,
            "is_passing": status >= HTTPStatus.INTERNAL_SERVER_ERROR,
            "url": said.url,
        }
        return self._rendered("error.html", {**self._frame(said, state, list(_elsewhere(said))), **shown})

    def _search(self, pairs: Pairs, answer: Answer, next_cursor: str | None, state: IndexState) -> dict[str, Any]:
        said = PageUrl.of(self._base, pairs)
        found = answer.found
        query = answer.question.text
        narrowing = list(chips(said))
        facets = list(facet_views(said, answer))
        tags = (each.values[0] for each in answer.asked.request.filters if each.field == "tag")
        return {
            **self._frame(said, state, list(_kept(said))),
            "title": query or "Everything",
            "is_start": not said.pairs,
            "is_latest": said.one("tag") == LATEST,
            "orders": list(_orders(said)),
            "further_orders": said.all("sort")[1:],
            "query": query,
            "mode": answer.reading.mode,
            "canonical": answer.reading.canonical,
            "total": found.total,
            "binaries": found.binaries,
            "is_about": BINARIES in found.approximate,
            "took_ms": answer.took_ms,
            "notes": answer.notes,
            "chips": narrowing,
            "latest": next(tags, None) if said.one("tag") == LATEST else None,
            "clear_url": PageUrl(self._base, ()).replacing("q", said.one("q")).url,
            "facets": facets,
            "chosen": len(narrowing),
            "rows": list(rows(found.hits, said)),
            "near": list(instead(said, answer)),
            "has_machine": answer.question.machine is not None,
            "next_url": said.replacing("cursor", next_cursor).url if next_cursor else None,
            "first_url": said.without("cursor").url if said.one("cursor") else None,
            "json_url": said.api_url(),
            "csv_url": said.api_url("csv"),
            "ndjson_url": said.api_url("ndjson"),
        }

    def _frame(self, said: PageUrl, state: IndexState | None, kept: list[tuple[str, str]]) -> dict[str, Any]:
        """Return what is around every page: the form, how fresh the index is, and what is wrong with it."""
        return {
            "q": said.one("q"),
            "arch": said.one("arch"),
            "kept": kept,
            "freshness": freshness(state, self._now()) if state else None,
            "warnings": list(warnings(state)) if state else [],
        }

    def _rendered(self, template: str, shown: Mapping[str, Any]) -> str:
        return self._environment.get_template(template).render(shown)


def _orders(said: PageUrl) -> Iterator[tuple[str, str, bool]]:
    """Yield the orders to choose from: value, label, and whether it is chosen."""
    chosen = said.one("sort")
    yield "", "Best match" if said.one("q") else "Package and version", not chosen
    known = _ORDERS if chosen in _ORDERS or not chosen else {**_ORDERS, chosen: chosen}
    for value, text in known.items():
        yield value, text, value == chosen


def _kept(said: PageUrl) -> Iterator[tuple[str, str]]:
    """Yield what the form sends along without showing it: what no field of it and no facet has."""
    shown = facet_sizes(said)
    for name, value in said.pairs:
        if name in ("mode", "limit", "distinct", "facet") or (name in FILTERS and name not in shown):
            yield name, value


def _elsewhere(said: PageUrl) -> Iterator[tuple[str, str]]:
    """Yield what the form sends along on a page that has no facets, and no order to choose."""
    yield from (("sort", value) for value in said.all("sort"))
    yield from _kept(said)
    for name in facet_sizes(said):
        yield from ((name, value) for value in said.all(name) if name in FILTERS)


def _line(text: str, said: PageUrl) -> Line:
    named = _BINARY.fullmatch(text)
    return Line(text, said.binary_url(named[1]) if named else None)

"""Renders the pages, and the parts of the search page that the script replaces. Every page works without the script."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cachesync import __version__
from cachesync.search.answer import Answer, Binary
from cachesync.search.difference import TagDifference
from cachesync.search.install import is_plain
from cachesync.search.request import BINARIES, FILTERABLE, LATEST, Hit
from cachesync.web.errors import ErrorReply
from cachesync.web.page import assets, markup
from cachesync.web.page.address import PageUrl, facet_sizes
from cachesync.web.page.alternatives import alternatives
from cachesync.web.page.facets import chips, facet_views, label
from cachesync.web.page.freshness import IndexState, freshness, warnings
from cachesync.web.page.hits import row, rows, siblings
from cachesync.web.parameters import Pairs

_EXAMPLES: Final = (
    ("hdf5@1.14: +mpi %gcc", "a spec: version, variant and compiler"),
    ("py-torch target=:zen4", "what an AMD Zen 4 machine can run"),
    ("mkl", "part of a name"),
)
"""Example queries and their meanings."""

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
"""How many binaries or packages of a difference are listed; the API returns all of them."""

_BINARY: Final = re.compile(r"/([a-z0-9]+) (.+)")
"""A line of a message that lists binaries whose hashes have the same beginning."""


class PageRenderer:
    """Renders pages whose links are all below one base path.

    In all methods, ``pairs`` are the URL's parameters, and ``state`` is the condition of the index.
    """

    def __init__(self, base_path: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Load the templates and static files. ``now`` is the clock by which ages are measured."""
        self._base = base_path.rstrip("/")
        self._now = now
        stylesheet, script, icon = self.static_files = assets.load()
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
            count="{:,}".format,
            command=markup.command,
            spec=markup.spec,
        )
        for name in self._environment.list_templates():
            self._environment.get_template(name)

    def search(self, pairs: Pairs, answer: Answer, state: IndexState, *, parts_only: bool = False) -> str:
        """Render the page of a search or, with ``parts_only``, the parts that differ between searches, for the script.

        ``answer`` is the answer to ``pairs``, extended by :func:`cachesync.web.page.asked_by_page`.
        """
        return self._rendered("parts.html" if parts_only else "search.html", self._search(pairs, answer, state))

    def binary(self, binary: Binary, others: Sequence[Hit], state: IndexState) -> str:
        """Render the page of a binary. Its siblings are those of ``others`` that differ from it in a single variant."""
        here = PageUrl(self._base, ())
        newest = {**binary.newest, "tags": binary.tags, "stacks": binary.stacks}
        shown = {
            "title": f"{newest['package']}@{newest['version']}",
            "hit": newest,
            "row": row(newest, here),
            "documents": binary.documents,
            "siblings": list(siblings(newest, others, here)),
            "search_url": here.search_url,
            "json_url": f"{self._base}/api/binaries/{newest['binary']}",
        }
        return self._rendered("binary.html", {**self._frame(here, state), **shown})

    def difference(self, tags: Sequence[str], difference: TagDifference | None, pairs: Pairs, state: IndexState) -> str:
        """Render the comparison of two of ``tags`` or, if ``difference`` is None, the form for choosing them."""
        here = PageUrl(self._base, tuple((name, value) for name, value in pairs if value))
        filters = [(name, value) for name, value in here.pairs if name in FILTERABLE]
        shown = {
            "title": "Compare two tags",
            "tags": tags,
            "chosen": (here.one("from"), here.one("to")),
            "filters": [
                (label(name), value, self._difference_url(here.without(name, value).pairs)) for name, value in filters
            ],
            "kept_filters": filters,
            "difference": difference,
            "most": _MOST_LISTED,
            "package_url": lambda package: self._difference_url(here.replacing("package", package).pairs),
            "binary_url": here.binary_url,
            "json_url": f"{self._base}/api/diff?{urlencode(here.pairs)}",
        }
        return self._rendered("difference.html", {**self._frame(PageUrl(self._base, ()), state), **shown})

    def _difference_url(self, pairs: Pairs) -> str:
        return f"{self._base}/diff?{urlencode(pairs)}"

    def error(self, reply: ErrorReply, pairs: Pairs, state: IndexState | None, *, has_chips: bool = True) -> str:
        """Render an error page, with the query still in the form.

        Lines of the message after the first may list binaries. Without ``has_chips``, the page has no chips. Chips take
        time, because the URL of each chip contains the conditions of all others.
        """
        here = PageUrl.of(self._base, pairs)
        query, at, status = here.one("q"), reply.at, reply.status
        first, *lines = reply.message.splitlines() or [status.phrase]
        shown = {
            "title": _TITLES.get(status, status.phrase),
            "message": first,
            "lines": [
                (text, here.binary_url(named[1]) if (named := _BINARY.fullmatch(text)) else None) for text in lines
            ],
            "marked": None if at is None else (query[: at - 1], query[at - 1 : at], query[at:]),
            "chips": list(chips(here, also=("limit", "sort", "facet"))) if has_chips else [],
            "again_url": here.without("cursor").url if here.one("cursor") else None,
            "is_passing": status >= HTTPStatus.INTERNAL_SERVER_ERROR,
            "url": here.url,
        }
        return self._rendered("error.html", {**self._frame(here, state, _all_hidden_inputs(here)), **shown})

    def _search(self, pairs: Pairs, answer: Answer, state: IndexState) -> dict[str, Any]:
        here = PageUrl.of(self._base, pairs)
        found, query, next_cursor = answer.found, answer.question.text, answer.cursor
        narrowing = list(chips(here))
        tags = (each.values[0] for each in answer.asked.request.filters if each.field == "tag")
        return {
            **self._frame(here, state, _hidden_inputs(here)),
            "title": query or "Everything",
            "is_start": not here.pairs,
            "is_latest": here.one("tag") == LATEST,
            "orders": list(_orders(here)),
            "further_orders": here.all("sort")[1:],
            "query": query,
            "mode": answer.reading.mode,
            "canonical": answer.reading.canonical,
            "total": found.total,
            "binaries": found.binaries,
            "is_about": BINARIES in found.approximate,
            "took_ms": answer.took_ms,
            "notes": answer.notes,
            "chips": narrowing,
            "latest": next(tags, None) if here.one("tag") == LATEST else None,
            "clear_url": PageUrl(self._base, ()).replacing("q", here.one("q")).url,
            "facets": list(facet_views(here, answer)),
            "chosen": len(narrowing),
            "rows": list(rows(found.hits, here)),
            "near": alternatives(here, answer),
            "has_machine": answer.question.machine is not None,
            "next_url": here.replacing("cursor", next_cursor).url if next_cursor else None,
            "first_url": here.without("cursor").url if here.one("cursor") else None,
            "json_url": here.api_url(),
            "csv_url": here.api_url("csv"),
            "ndjson_url": here.api_url("ndjson"),
        }

    def _frame(self, here: PageUrl, state: IndexState | None, kept: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
        """Return what every page shows: the form, how up to date the index is, and warnings about the index."""
        return {
            "q": here.one("q"),
            "arch": here.one("arch"),
            "kept": list(kept),
            "freshness": freshness(state, self._now()) if state else None,
            "warnings": list(warnings(state)) if state else [],
        }

    def _rendered(self, template: str, shown: dict[str, Any]) -> str:
        return self._environment.get_template(template).render(shown)


def _orders(here: PageUrl) -> Iterator[tuple[str, str, bool]]:
    """Yield the orders to choose from: the value, its label, and whether it is chosen."""
    chosen = here.one("sort")
    yield "", "Best match" if here.one("q") else "Package and version", not chosen
    known = _ORDERS if chosen in _ORDERS or not chosen else {**_ORDERS, chosen: chosen}
    for value, text in known.items():
        yield value, text, value == chosen


def _hidden_inputs(here: PageUrl) -> Iterator[tuple[str, str]]:
    """Yield the form's hidden inputs: parameters that are neither a field of the form nor a facet."""
    shown = facet_sizes(here)
    for name, value in here.pairs:
        if name in ("mode", "limit", "distinct", "facet") or (name in FILTERABLE and name not in shown):
            yield name, value


def _all_hidden_inputs(here: PageUrl) -> Iterator[tuple[str, str]]:
    """Yield the form's hidden inputs for a page without facets and without a choice of order."""
    yield from (("sort", value) for value in here.all("sort"))
    yield from _hidden_inputs(here)
    for name in facet_sizes(here):
        yield from ((name, value) for value in here.all(name) if name in FILTERABLE)

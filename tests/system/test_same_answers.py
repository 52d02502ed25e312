"""One question, three ways: the command line, the API and the page give the same totals, facets and order."""

import html.parser
import json
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
from click.testing import CliRunner

from cachesync.cli import cachesync
from cachesync.errors import UsageError
from cachesync.index.engines import open_index
from cachesync.index.server import IndexServer, Layout
from examples.pages import tree
from tests.contract.conftest import ENGINES
from tests.support import elasticsearch
from tests.support.filling import documents, fill
from tests.support.web import Web, serving

PAGES: Final = dict(tree(tag_count=4, package_count=30, seed=11))
DOCUMENTS: Final = documents(PAGES)
FIELDS: Final = ("package", "tag", "os", "target", "compiler", "stacks", "version", "platform", "compiler_name")
SHOWN: Final = ("tag", "stacks", "os", "target", "compiler")
"""Facets that the page shows whatever its URL says."""
TEXTS: Final = (
    "",
    "hdf5",
    "py-",
    "+mpi",
    "gcc",
    "hdff5",
    "%gcc@12: target=:zen3",
    "cmake 3",
    "zlib os=rhel8",
    "mkl",
    "~shared",
    "no such thing",
)
SORTS: Final = ("", "version:desc", "os", "tag_date", "size:desc", "hash")
MACHINES: Final = ("", "", "", "linux-ubuntu22.04-zen4", "linux-rhel8-x86_64_v3")
PAGES_WALKED: Final = 3
QUERIES: Final = 100


class Asked(NamedTuple):
    """One question."""

    text: str
    mode: str
    filters: tuple[tuple[str, str], ...]
    tag: str
    machine: str
    sorts: tuple[str, ...]
    limit: int
    distinct: bool

    @property
    def command(self) -> list[str]:
        flags = [f"--{self.mode}"] if self.mode != "auto" else []
        flags += [part for pair in self.filters for part in ("--filter", "=".join(pair))]
        flags += [part for field in SHOWN for part in ("--facet", f"{field}:10000")]
        flags += [part for each in self.sorts for part in ("--sort", each)]
        flags += ["--tag", self.tag] if self.tag else []
        flags += ["--arch", self.machine] if self.machine else []
        flags += [
            "--limit",
            str(self.limit * PAGES_WALKED),
            "--distinct" if self.distinct else "--no-distinct",
            "--json",
        ]
        return ["search", *flags, "--", self.text]

    @property
    def parameters(self) -> list[tuple[str, str]]:
        found = [("q", self.text), ("mode", self.mode), *self.filters, *(("sort", each) for each in self.sorts)]
        found += [("tag", self.tag)] if self.tag else []
        found += [("arch", self.machine)] if self.machine else []
        return [*found, ("limit", str(self.limit)), ("distinct", "true" if self.distinct else "false")]


def random_question(number: int) -> Asked:
    random_ = random.Random(number)
    document = random_.choice(DOCUMENTS)
    words = [*document["spec"].split(), document["package"], f"{document['package']}@{document['version']}"]
    kind = random_.choice(("text", "spec", "words"))
    text = (
        random_.choice(TEXTS)
        if kind == "text"
        else random_.choice(words)
        if kind == "spec"
        else " ".join(random_.sample(words, 2))
    )
    filters: list[tuple[str, str]] = []
    for field in random_.sample(FIELDS, random_.choice((0, 0, 1, 2))):
        for other in (document, random_.choice(DOCUMENTS))[: random_.randint(1, 2)]:
            value = other.get(field)
            if value and not isinstance(value, list):
                filters.append((field, value))
    tag = "latest" if random_.random() < 0.2 and not any(name == "tag" for name, _ in filters) else ""
    sorts = tuple(each for each in random_.sample(SORTS, 2) if each)[: random_.randint(0, 2)]
    mode = random_.choice(("auto", "auto", "text"))
    return Asked(
        text,
        mode,
        tuple(filters),
        tag,
        random_.choice(MACHINES),
        sorts,
        random_.choice((3, 20)),
        random_.random() < 0.7,
    )


class Seen(html.parser.HTMLParser):
    """What a page shows, by the hooks that it has for that."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.total = ""
        self.facets: dict[str, list[tuple[str, int]]] = {}
        self.next: str | None = None
        self._told: str | None = None
        self._facet = self._value = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._told = next((name for name in ("data-total", "data-count") if name in given), None)
        if "data-id" in given:
            self.ids.append(given["data-id"])
        if "data-facet" in given:
            self._facet = given["data-facet"]
            self.facets[self._facet] = []
        if tag == "input" and given.get("type") == "checkbox":
            self._value = given.get("value", "")
        if given.get("class") == "next":
            self.next = given["href"]

    def handle_data(self, data: str) -> None:
        if self._told == "data-total":
            self.total = data
        elif self._told == "data-count":
            self.facets[self._facet].append((self._value, int(data.replace(",", ""))))
        self._told = None


class Ways(NamedTuple):
    """The three ways to one index."""

    web: Web
    config: Path


@pytest.fixture(scope="module", params=ENGINES)
def ways(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    folder = tmp_path_factory.mktemp("same")
    name = f"test-{uuid.uuid4().hex[:12]}"
    is_embedded = request.param == "embedded"
    url = f"embedded:{folder / 'index'}" if is_embedded else request.getfixturevalue("elasticsearch_url")
    index = open_index(IndexServer((url,)), name, Layout(), lambda path: path)
    fill(index, PAGES)
    config = folder / "cachesync.yml"
    config.write_text(json.dumps({"pages": {"root": str(folder)}, "index": {"url": url, "name": name}}))
    with serving(index, base_path="/base") as web:
        yield Ways(web, config)
    if not is_embedded:
        elasticsearch.remove(url, name)


def by_command(config: Path, asked: Asked) -> Any:
    """The answer of the command line; None where it refuses the question."""
    done = CliRunner().invoke(cachesync, ["-c", str(config), *asked.command])
    if isinstance(done.exception, UsageError):
        return None
    assert not done.exception, (asked, done.exception)
    return json.loads(done.stdout)


def walked_by_api(web: Web, asked: Asked) -> tuple[Any, list[Any]]:
    """The first answer, and the hits of the first pages."""
    facets = [("facet", f"{field}:10000") for field in SHOWN]
    first = answer = web.get("/api/search", [*asked.parameters, *facets]).json
    hits = list(first["hits"])
    for _ in range(PAGES_WALKED - 1):
        if answer["next"] is None:
            break
        answer = web.get("/api/search", [*asked.parameters, ("cursor", answer["next"])]).json
        hits += answer["hits"]
    return first, hits


def walked_in_pages(web: Web, asked: Asked) -> tuple[Seen, list[str]]:
    """What the first page shows, and the hits of the first pages."""
    first = seen = Seen(web.get("/", asked.parameters).body.decode())
    ids = list(first.ids)
    for _ in range(PAGES_WALKED - 1):
        if seen.next is None:
            break
        where = urlsplit(urljoin(web.url, seen.next))
        seen = Seen(web.get(where.path.removeprefix(web.base_path), parse_qsl(where.query)).body.decode())
        ids += seen.ids
    return first, ids


@pytest.mark.parametrize("tenth", range(10))
def test_the_command_line_the_api_and_the_page_answer_alike(ways: Ways, tenth: int) -> None:
    found = 0
    for number in range(tenth, QUERIES, 10):
        asked = random_question(number)
        told = by_command(ways.config, asked)
        if told is None:
            assert ways.web.get("/api/search", asked.parameters).status == 400, asked
            assert ways.web.get("/", asked.parameters).status == 400, asked
            continue
        first, hits = walked_by_api(ways.web, asked)
        for name in ("total", "binaries", "facets", "query"):
            assert first[name] == told[name], (asked, name)
        assert hits == told["hits"], asked
        seen, ids = walked_in_pages(ways.web, asked)
        assert int(seen.total) == told["total"], asked
        assert ids == [hit["_id"] for hit in told["hits"]], asked
        for field, values in seen.facets.items():
            counts = {each["value"]: each["count"] for each in told["facets"].get(field, [])}
            if field in told["facets"]:
                assert {value: counts.get(value, 0) for value, _ in values} == dict(values), (asked, field)
                assert len(values) >= min(20, len(counts) - (field == "stacks")), (asked, field)
        assert not told["total"] or {"tag", "os"} <= seen.facets.keys(), asked
        found += bool(told["total"])
    assert found >= 2

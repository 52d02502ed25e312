"""Every engine, one after the other."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from cachesync.index.base import Index
from cachesync.index.engines import open_index
from cachesync.index.generation import Reader
from cachesync.index.server import IndexServer, Layout
from tests.support import elasticsearch
from tests.support.filling import fill
from tests.support.secured import WRITER

OpenIndex = Callable[[], Index]
"""Opens the same index each time, as another process would."""

Filled = Callable[[Mapping[str, bytes]], Reader]
"""Makes an index of pages, and opens it."""

ENGINES = ["embedded", "elasticsearch"]
WAYS = [*ENGINES, "secured"]
"""Engines, and once more a server that allows no more than the documented rights."""


@pytest.fixture(params=WAYS)
def open_again(request: pytest.FixtureRequest, tmp_path: Path, index_name: str) -> OpenIndex:
    match request.param:
        case "embedded":
            server = IndexServer((f"embedded:{tmp_path / 'index'}",))
        case "elasticsearch":
            server = IndexServer((request.getfixturevalue("elasticsearch_index"),))
        case _:
            server = request.getfixturevalue("secured_index").server(WRITER)
    return lambda: open_index(server, index_name, Layout(), lambda path: path)


@pytest.fixture
def index(open_again: OpenIndex) -> Index:
    return open_again()


@pytest.fixture(scope="module", params=WAYS)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """For tests that only read: their module needs to fill an index but once."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    secured = request.getfixturevalue("secured") if request.param == "secured" else None
    url = request.getfixturevalue("elasticsearch_url") if request.param == "elasticsearch" else None
    made: list[str] = []

    def make(pages: Mapping[str, bytes]) -> Reader:
        made.append(f"{name}-{len(made)}")
        folder = tmp_path_factory.mktemp("index")
        server = secured.server(WRITER) if secured else IndexServer((url or f"embedded:{folder}",))
        index = open_index(server, made[-1], Layout(), lambda path: path)
        fill(index, dict(pages))
        return index.reader()

    yield make
    for each in made:
        if secured:
            elasticsearch.remove(secured.url, each, secured.security)
        elif url:
            elasticsearch.remove(url, each)

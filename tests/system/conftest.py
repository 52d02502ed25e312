"""A sandbox for each test, a browser for all, and what it looks at."""

import contextlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from cachesync.index.engines import open_index
from cachesync.index.server import IndexServer, Layout
from tests.contract.conftest import ENGINES
from tests.support import browser, elasticsearch
from tests.support.brute import Document
from tests.support.filling import fill_with
from tests.support.sandbox import Sandbox
from tests.support.web import Web, serving

BASE_PATH = "/base"
"""What is served is served below a path, so that no link forgets it."""

Serve = Callable[[Iterable[Document]], Web]
"""Makes an index of documents as they are, and serves it."""


@pytest.fixture(params=ENGINES)
def sandbox(request: pytest.FixtureRequest, tmp_path: Path, index_name: str) -> Sandbox:
    """With each engine."""
    if request.param == "elasticsearch":
        return Sandbox(tmp_path, request.getfixturevalue("elasticsearch_index"), index_name)
    return Sandbox(tmp_path)


@pytest.fixture
def embedded(tmp_path: Path) -> Sandbox:
    """With an index in a folder."""
    return Sandbox(tmp_path)


@pytest.fixture
def elastic(tmp_path: Path, elasticsearch_index: str, index_name: str) -> Sandbox:
    """With an index in a real server."""
    return Sandbox(tmp_path, elasticsearch_index, index_name)


@pytest.fixture(scope="session")
def chromium() -> Iterator[browser.Chromium]:
    """One for all tests of this process, started by the first that wants it."""
    with browser.started() as one:
        yield one


@pytest.fixture(scope="module", params=ENGINES)
def serve(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """With each engine, until the end of the module."""
    url = request.getfixturevalue("elasticsearch_url") if request.param == "elasticsearch" else None
    name = f"test-{uuid.uuid4().hex[:12]}"
    with contextlib.ExitStack() as lent:
        if url:
            lent.callback(elasticsearch.remove, url, name)
        made: list[str] = []

        def make(documents: Iterable[Document]) -> Web:
            made.append(f"{name}-{len(made)}")
            server = IndexServer((url or f"embedded:{tmp_path_factory.mktemp('index')}",))
            index = open_index(server, made[-1], Layout(), lambda path: path)
            fill_with(index, documents)
            return lent.enter_context(serving(index, base_path=BASE_PATH))

        yield make

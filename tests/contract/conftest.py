"""Every engine, one after the other."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cachesync.index.base import Index
from cachesync.index.opening import open_index
from cachesync.index.server import Layout, Server

OpenIndex = Callable[[], Index]
"""Opens the same index each time, as another process would."""

ENGINES = ["embedded", "elasticsearch"]


@pytest.fixture(params=ENGINES)
def open_again(request: pytest.FixtureRequest, tmp_path: Path, index_name: str) -> OpenIndex:
    url = f"embedded:{tmp_path / 'index'}"
    if request.param == "elasticsearch":
        url = request.getfixturevalue("elasticsearch_index")
    return lambda: open_index(Server((url,)), index_name, Layout(), lambda path: path)


@pytest.fixture
def index(open_again: OpenIndex) -> Index:
    return open_again()

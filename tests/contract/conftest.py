"""Every engine, one after the other."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cachesync.index.base import Index
from cachesync.index.opening import open_index
from cachesync.index.server import Layout, Server
from tests.support.secured import WRITER

OpenIndex = Callable[[], Index]
"""Opens the same index each time, as another process would."""

ENGINES = ["embedded", "elasticsearch"]
WAYS = [*ENGINES, "secured"]
"""Engines, and once more a server that allows no more than the documented rights."""


@pytest.fixture(params=WAYS)
def open_again(request: pytest.FixtureRequest, tmp_path: Path, index_name: str) -> OpenIndex:
    match request.param:
        case "embedded":
            server = Server((f"embedded:{tmp_path / 'index'}",))
        case "elasticsearch":
            server = Server((request.getfixturevalue("elasticsearch_index"),))
        case _:
            server = request.getfixturevalue("secured_index").server(WRITER)
    return lambda: open_index(server, index_name, Layout(), lambda path: path)


@pytest.fixture
def index(open_again: OpenIndex) -> Index:
    return open_again()

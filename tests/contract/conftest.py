"""Every engine, one after the other."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cachesync.index.base import Index
from cachesync.index.opening import open_index

OpenIndex = Callable[[], Index]
"""Opens the same index each time, as another process would."""


@pytest.fixture(params=["embedded"])
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> OpenIndex:
    assert request.param == "embedded"
    return lambda: open_index((f"embedded:{tmp_path / 'index'}",), "spack-specs", lambda path: path)


@pytest.fixture
def index(open_again: OpenIndex) -> Index:
    return open_again()

"""A sandbox for each test."""

from pathlib import Path

import pytest

from tests.contract.conftest import ENGINES
from tests.support.sandbox import Sandbox


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

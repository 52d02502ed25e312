"""Adding a field, as CONTRIBUTING.md explains: all but its declaration and its value is derived."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cachesync.documents import fingerprint
from tests.support.pages import entry, page, put

PROJECT = Path(__file__).resolve().parents[2]
LAST_FIELD = '\n    _field("page", '
LAST_VALUE = "\n            path,\n        )\n"

Run = Callable[..., str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that runs Python in a copy of the source whose documents have a field ``system``."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(PROJECT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    source = folder / "src/cachesync/documents.py"
    text = source.read_text()
    assert text.count(LAST_FIELD) == text.count(LAST_VALUE) == 1
    line = '_optional("system", "`os`", "the system without its version", "ubuntu")'
    text = text.replace(LAST_FIELD, f"\n    {line},{LAST_FIELD}")
    value = '(spec.os or "").rstrip("0123456789.") or UNSET'
    source.write_text(text.replace(LAST_VALUE, f"\n            {value},{LAST_VALUE}"))
    put(folder / "pages", page(entry("a", os="ubuntu22.04"), entry("b", os="sequoia"), entry("c", os=None)))
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder / "src"),
        "CACHESYNC_PAGES__ROOT": str(folder / "pages"),
        "CACHESYNC_INDEX__URL": f"embedded:{folder / 'index'}",
    }

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-m", "cachesync", "sync")
    return run


def found(run: Run, *arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run("-m", "cachesync", "search", "--json", *arguments))
    return answer


def test_it_is_rendered_and_indexed(run: Run) -> None:
    assert {hit["binary"]: hit.get("system") for hit in found(run)["hits"]} == {
        "a": "ubuntu",
        "b": "sequoia",
        "c": None,
    }


@pytest.mark.parametrize("arguments", [("--filter", "system=ubuntu"), ("system=ubuntu",)])
def test_it_can_be_searched_for(run: Run, arguments: tuple[str, ...]) -> None:
    assert [hit["binary"] for hit in found(run, *arguments)["hits"]] == ["a"]


def test_it_can_be_counted_and_sorted_by(run: Run) -> None:
    answer = found(run, "--facet", "system", "--sort", "system:desc")
    assert {each["value"]: each["count"] for each in answer["facets"]["system"]} == {"ubuntu": 1, "sequoia": 1}
    assert [hit["binary"] for hit in answer["hits"]] == ["a", "b", "c"]


def test_help_and_the_manual_name_it(run: Run) -> None:
    assert " system, page." in " ".join(run("-m", "cachesync", "search", "--help").split())
    manual = run(str(PROJECT / "docs/fields.py"))
    assert "| `system` | keyword | the system without its version | `os` | `ubuntu` |" in manual


def test_servers_and_clients_learn_of_it(run: Run) -> None:
    """The index's fingerprint, Elasticsearch's mapping and the HTTP interface's parameters."""
    derived = """
import json
from cachesync.documents import fingerprint
from cachesync.index.elastic.mapping import specs_mapping
from cachesync.search.request import FILTERABLE
print(json.dumps([fingerprint(), specs_mapping("x")["properties"], FILTERABLE]))
"""
    mark, properties, filters = json.loads(run("-c", derived))
    assert mark != fingerprint()
    assert properties["system"] == {"type": "keyword"}
    assert "system" in filters

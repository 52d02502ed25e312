"""Commands load what they need, and nothing else: what is loaded takes most of the time of a short one."""

import json
import subprocess
import sys

import pytest

from tests.support.pages import entry, page, put
from tests.support.sandbox import Sandbox

TELL = """
import json, sys
from cachesync.cli import run
sys.argv[0] = "cachesync"
code = run()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} | set(sys.modules))), file=sys.stderr)
sys.exit(code)
"""

HEAVY = frozenset(
    {
        *("archspec", "asyncio", "cronsim", "elasticsearch", "http.client", "multiprocessing"),
        *("pathspec", "prometheus_client", "rapidfuzz", "rich", "ssl", "starlette", "structlog", "urllib3", "uvicorn"),
        *("watchdog", "xml", "zoneinfo"),
        *("cachesync.index.elastic", "cachesync.kibana", "cachesync.service", "cachesync.sync", "cachesync.watch"),
    }
)
"""What a search of a folder does without."""


def loaded(sandbox: Sandbox, *arguments: str, expect: int = 0) -> set[str]:
    environment = {"CACHESYNC_CONFIG": str(sandbox.config)}
    done = subprocess.run(
        [sys.executable, "-c", TELL, *arguments], check=False, env=environment, capture_output=True, text=True
    )
    assert done.returncode == expect, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.fixture
def filled(embedded: Sandbox) -> Sandbox:
    put(embedded.root, page(entry("a" * 32)))
    embedded.run("sync")
    return embedded


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["-h"]])
def test_who_only_asks_for_help_loads_no_library_but_for_the_command_line(
    embedded: Sandbox, arguments: list[str]
) -> None:
    assert loaded(embedded, *arguments) & (HEAVY | {"yaml", "tantivy", "cachesync.config", "cachesync.search"}) == set()


@pytest.mark.parametrize(
    "arguments", [["search", "zlib"], ["search", "zlib@1.2:", "--facet", "os"], ["show", "/aaaa"], ["search", "--json"]]
)
def test_a_search_of_a_folder_loads_what_it_needs(filled: Sandbox, arguments: list[str]) -> None:
    found = loaded(filled, *arguments)
    assert found & {*HEAVY, "csv", "difflib", "lzma", "shutil"} == set()
    assert "tantivy" in found


def test_a_search_of_a_server_loads_nothing_of_an_index(filled: Sandbox) -> None:
    command = ("search", "zlib", "--server", "http://127.0.0.1:1")
    found = loaded(filled, *command, expect=3)
    index = {"cachesync.index.embedded", "cachesync.index.elastic", "elasticsearch", "tantivy", "rapidfuzz", "archspec"}
    assert found & {*index, "starlette", "rich", "uvicorn", "structlog"} == set()
    assert "urllib3" in found


@pytest.mark.parametrize(
    ("arguments", "library"), [(["search", "zlbi"], "rapidfuzz"), (["search", "target=:zen3"], "archspec")]
)
def test_what_some_searches_need_is_loaded_by_them(filled: Sandbox, arguments: list[str], library: str) -> None:
    assert library in loaded(filled, *arguments)

"""The HTTP API asked by its own description: what it allows is answered, what it doesn't is refused, and nothing else."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]
import pytest

from examples.pages import tree
from tests.contract.conftest import ENGINES
from tests.hostile.effort import effort
from tests.support.filling import documents
from tests.support.pages import entry, page, path_of
from tests.support.web import Web
from tests.system.conftest import Serve

PAGES: Final = dict(tree(tag_count=3, package_count=12, seed=11)) | {
    path_of("hashless"): b'---\ntitle: "hashless"\nlayout: cache\ncategories: [package, develop]\n'
    b'spec_names: ["hashless@1.2 +x arch=linux-ubuntu22.04-x86_64_v3%gcc@=11.4.0"]\n---',
    path_of("bare"): page(entry("b" * 32, os=None, target=None, platform=None, compiler="none"), title="bare"),
}
SETTINGS: Final = """
[[operations]]
include-path = "/api/search"
checks.positive_data_acceptance.enabled = false # no schema tells which queries can be read, and which cursors there are

[[operations]]
include-path = "/api/diff"
phases.coverage.enabled = false # its many parameters are those of the search, so this would be twice the time for nothing
"""
EXAMPLES: Final = 12
"""So many cases are made up of each operation, beside those of each bound that the description names."""


@pytest.fixture(scope="module")
def web(serve: Serve) -> Web:
    return serve(documents(PAGES))


@pytest.mark.parametrize("serve", effort(["embedded"], ENGINES), indirect=True, scope="module")
def test_what_is_described_is_what_is_answered(web: Web, tmp_path: Path) -> None:
    """No status, media type, header or body that isn't described, nothing refused that is, and all else refused."""
    (tmp_path / "settings.toml").write_text(SETTINGS)
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        "settings.toml",
        "run",
        f"{web.url}openapi.json",
    ]
    options = [
        "--phases",
        "coverage,fuzzing",
        "--max-examples",
        str(EXAMPLES),
        "--generation-deterministic",
        "--workers",
        "2",
    ]
    done = subprocess.run(
        [*command, *options, "--continue-on-failure", "--no-color"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "9 passed" in done.stdout, done.stdout


def _is_as_described(web: Web, described: str, path: str, parameters: Any = (), status: int = 200) -> None:
    got = web.get(path, parameters)
    assert got.status == status, got
    answer = web.get("/openapi.json").json["paths"][described]["get"]["responses"][str(status)]
    jsonschema.validate(got.json, answer["content"]["application/json"]["schema"])
    for name, header in answer.get("headers", {}).items():
        assert name.lower() in got.headers or not header.get("required"), got


def test_answers_with_something_in_them_are_as_described(web: Web) -> None:
    every = {"limit": 1_000, "facet": ["os", "tag"], "arch": "linux-ubuntu22.04-zen4", "distinct": "true"}
    _is_as_described(web, "/api/search", "/api/search", every)
    _is_as_described(web, "/api/search", "/api/search", {"q": "hdf5 +nosuchthing"})
    _is_as_described(web, "/api/search", "/api/search", {"q": "@@"}, 400)
    for package in ("hashless", "bare", "hdf5"):
        hit = web.search(package=package, limit=1)["hits"][0]
        _is_as_described(web, "/api/specs/{id}", f"/api/specs/{hit['_id']}")
        _is_as_described(web, "/api/binaries/{hash}", f"/api/binaries/{hit['binary']}")
    tags = [each["tag"] for each in web.get("/api/tags").json["tags"]]
    _is_as_described(web, "/api/tags", "/api/tags")
    _is_as_described(web, "/api/diff", "/api/diff", {"from": tags[0], "to": tags[-1]})
    _is_as_described(web, "/api/diff", "/api/diff", {"from": "no such", "to": tags[0]}, 404)
    _is_as_described(web, "/api/suggest", "/api/suggest", {"q": "h"})


def test_nothing_but_reading_is_answered(web: Web) -> None:
    for path in web.get("/openapi.json").json["paths"]:
        for method in ("OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"):
            got = web.get(path.replace("{", "").replace("}", ""), method=method)
            assert (got.status, set(got.headers["allow"].split(", "))) == (405, {"GET", "HEAD"}), (method, path)
            assert got.json["error"]

"""``CONTRIBUTING.md`` and ``docs/architecture.md`` name files, names and layers that exist."""

import re
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
GUIDE = (PROJECT / "CONTRIBUTING.md").read_text()
ARCHITECTURE = (PROJECT / "docs/architecture.md").read_text()
FILES = [path for folder in ("src", "tests", "docs", "config") for path in (PROJECT / folder).rglob("*.*")]
CODE = "\n".join(path.read_text() for path in FILES if path.suffix == ".py" and path != Path(__file__))
PLACEHOLDERS = {"NAME", "X"}


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`([\w./-]+\.(?:py|js|md|toml|yml))`", GUIDE + ARCHITECTURE)) - {"test_X.py"})
)
def test_files_that_are_named_exist(name: str) -> None:
    if "NAME" in name or name.startswith("_cache/"):
        return
    assert (PROJECT / name).exists() or any(str(path).endswith(f"/{name}") for path in FILES)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([A-Za-z_]+)`", GUIDE)) - PLACEHOLDERS - {"make", "version"}))
def test_names_that_are_named_exist(name: str) -> None:
    assert re.search(rf"\b{name}\b", CODE)


def test_the_layers_are_those_that_import_linter_enforces() -> None:
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (rows,) = [each["layers"] for each in contracts if each["type"] == "layers"]
    layers = {layer.strip().removeprefix("cachesync.") for row in rows for layer in row.split("|")}
    drawn = ARCHITECTURE.partition("```mermaid")[2].partition("```")[0]
    shown = {name for label in re.findall(r'\["([^"<]+)', drawn) for name in label.split(" · ")}
    assert layers <= shown | set(re.findall(r"`([\w.]+)`", ARCHITECTURE))
    assert shown <= layers

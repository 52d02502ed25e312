"""`cachesync example` prints what an installation begins with."""

import tomllib
from pathlib import Path

import pytest

from cachesync.commands.example import _EXAMPLES
from tests.support.checkout import PROJECT
from tests.support.sandbox import Sandbox
from tests.system.test_help import completed, path  # noqa: F401  a fixture

EXAMPLES = {name: PROJECT / each.path for name, each in _EXAMPLES.items()}


def test_it_lists_the_names_with_a_line_each(embedded: Sandbox) -> None:
    lines = embedded.run("example").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(EXAMPLES)
    assert all(len(line.split()) > 3 for line in lines)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_prints_the_file_whatever_the_configuration_says(embedded: Sandbox, name: str) -> None:
    embedded.config.write_text("nonsense")
    assert embedded.run("example", name).stdout == EXAMPLES[name].read_text()


def test_a_name_that_is_none_is_told_with_those_there_are(embedded: Sandbox) -> None:
    told = embedded.run("example", "nope", expect=2).stderr
    assert all(name in told for name in EXAMPLES)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_the_names(shell: str, path: str) -> None:  # noqa: F811
    offered = "".join(completed("cachesync example sys", shell, path))
    assert "systemd-unit" in offered
    assert "kibana" not in offered


def test_the_wheel_has_all_of_them() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for file in EXAMPLES.values():
        below = [name for name in shipped if file.is_relative_to(PROJECT / name)]
        assert len(below) == 1, file
    assert all(there == f"cachesync/examples/{name}" for name, there in shipped.items())


def test_all_that_is_to_be_deployed_without_a_checkout_is_one_of_them() -> None:
    kept = {file for file in (PROJECT / "deploy").rglob("*") if file.is_file() and file.parent.name != "compose"}
    assert kept <= {Path(file) for file in EXAMPLES.values()}

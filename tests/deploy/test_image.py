"""The Dockerfile, as far as it can be told without an engine."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.sandbox import Sandbox
from tests.support.service import Service

PROJECT = Path(__file__).parents[2]


def instructions() -> list[tuple[str, str]]:
    """Each instruction's name and arguments, of all stages."""
    text = re.sub(r"^#.*\n", "", (PROJECT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(name, arguments.strip()) for line in lines if line for name, _, arguments in [line.partition(" ")]]


def all_of(name: str) -> list[str]:
    return [arguments for each, arguments in instructions() if each == name]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    start = max(number for number, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


def one(name: str) -> str:
    """The arguments of an instruction that the last stage has once."""
    found = [arguments for each, arguments in last_stage() if each == name]
    assert len(found) == 1, found
    return found[0]


def test_its_base_is_pinned() -> None:
    assert len(all_of("ARG")) == 1
    assert re.fullmatch(r"PYTHON=3\.\d+\.\d+-slim", all_of("ARG")[0])
    assert all_of("FROM") == ["python:${PYTHON} AS build", "python:${PYTHON}"]


def test_it_runs_as_nobody_in_particular() -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", one("USER"))
    assert one("USER") == "10001:10001"


def test_it_starts_programs_and_no_shell() -> None:
    assert json.loads(one("ENTRYPOINT")) == ["cachesync"]
    assert json.loads(one("CMD")) == ["run"]
    assert one("STOPSIGNAL") == "SIGTERM"


def healthcheck() -> list[str]:
    command: list[str] = json.loads(one("HEALTHCHECK").partition(" CMD ")[2])
    return command


@pytest.mark.parametrize("base_path", ["", "/cachesync"])
def test_its_healthcheck_asks_the_service(base_path: str, tmp_path: Path) -> None:
    python, *arguments = healthcheck()
    assert python == "python"

    def status(port: str, path: str) -> int:
        asked = {"CACHESYNC_HTTP__PORT": port, "CACHESYNC_HTTP__BASE_PATH": path, "http_proxy": "http://127.0.0.1:9"}
        done = subprocess.run([sys.executable, *arguments], check=False, env=asked, capture_output=True, timeout=60)
        return done.returncode

    with Service(Sandbox(tmp_path), CACHESYNC_HTTP__BASE_PATH=base_path) as service:
        port = re.findall(r":(\d+)", service.url)[0]
        assert status(port, base_path) == 0
        assert status(port, "/elsewhere") == 1
    assert status(port, base_path) == 1


def test_what_it_copies_is_there_and_not_ignored() -> None:
    names = [name for copied in all_of("COPY") if "--from" not in copied for name in shlex.split(copied)[:-1]]
    ignore = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert ignore[0] == "*"
    assert sorted(names) == sorted(line[1:] for line in ignore if line[0] == "!")
    assert all((PROJECT / name).exists() for name in names)


def test_it_has_everything_that_the_wheel_is_made_of() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    wanted = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml", "constraints.txt"}
    copied = {name for each in all_of("COPY") for name in each.split()[:-1]}
    assert wanted <= copied
    assert {
        f"{name.split('/')[0]}" for name in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    } <= copied
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {name.split("/")[0] for name in shipped} <= copied
    assert f'version="{project["project"]["version"]}"' in one("LABEL")
    assert f'licenses="{project["project"]["license"]}"' in one("LABEL")
    assert project["project"]["description"] in one("LABEL")


def test_its_last_stage_installs_nothing_and_holds_no_secret() -> None:
    assert not [text for name, text in last_stage() if name == "RUN" and re.search(r"pip install|apt-get|curl", text)]
    assert not re.search(r"(?i)password|secret|token|api_key=", " ".join(text for _, text in last_stage()))
    assert "COPY . " not in (PROJECT / "Dockerfile").read_text()

"""The README says what is so."""

import re
import subprocess
import sys
from pathlib import Path

from cachesync.cli import cachesync
from tests.support.sandbox import Sandbox

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text()
SECONDS = re.compile(r"done in [\d.]+ s")


def test_its_first_example_prints_what_it_shows(sandbox: Sandbox) -> None:
    shown = README.split("`make run` ends like this:")[1].split("```")[1].strip("\n")
    subprocess.run([sys.executable, "-m", "examples.pages", sandbox.root], check=True, cwd=PROJECT, capture_output=True)
    printed = []
    for block in shown.split("\n\ncachesync "):
        command = block.splitlines()[0].removeprefix("cachesync ")
        assert f"cachesync {command}" in (PROJECT / "Makefile").read_text()
        printed.append(f"cachesync {command}\n{sandbox.run(*command.split()).stdout}")
    assert SECONDS.sub("", "\n".join(printed).strip()) == SECONDS.sub("", shown)


def test_its_second_example_finds_something(sandbox: Sandbox) -> None:
    example = re.search(r"^cachesync (search .*)$", README.split("## Use it")[1], re.MULTILINE)
    assert example
    subprocess.run([sys.executable, "-m", "examples.pages", sandbox.root], check=True, cwd=PROJECT, capture_output=True)
    sandbox.run("sync")
    assert " found" in sandbox.run(*example[1].split()).stdout
    assert sandbox.json(*example[1].split())["total"] > 1


def test_every_command_and_every_make_target_is_there() -> None:
    assert set(re.findall(r"^\| `cachesync (\w+)", README, re.MULTILINE)) == set(cachesync.commands)
    targets = re.findall(r"^(\w+):.*## ", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake (\w+) {2,}#|`make (\w+)`", README)) <= {(name, "") for name in targets} | {
        ("", name) for name in targets
    }

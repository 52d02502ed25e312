"""``docs/promises.md`` names what there is."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
TEXT = (PROJECT / "docs/promises.md").read_text()
HOSTILE = PROJECT / "tests/hostile"


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:tests/)?[\w/*]+\.py)(?:::\w+)?`", TEXT))))
def test_files_that_are_named_are_there(name: str) -> None:
    folder = PROJECT if name.startswith("tests/") else HOSTILE
    assert list(folder.glob(name))


@pytest.mark.parametrize(("file", "test"), re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT))
def test_tests_that_are_named_are_there(file: str, test: str) -> None:
    assert f"def {test}(" in (PROJECT / file).read_text()


def test_every_promise_is_attacked() -> None:
    assert re.findall(r"^\| (\d)\. ", TEXT, re.MULTILINE) == list("1234567")

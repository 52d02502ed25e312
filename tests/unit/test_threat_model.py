"""``docs/threat-model.md`` names existing tests, and at least one for each threat."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
TEXT = (PROJECT / "docs/threat-model.md").read_text()
THREATS = TEXT.partition("| threat |")[2].partition("\n\n")[0].splitlines()[2:]


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", TEXT))))
def test_named_tests_exist(named: str) -> None:
    file, _, test = named.partition("::")
    text = (PROJECT / file).read_text()
    assert not test or f"def {test}(" in text


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.split("|")[1].strip()[:40])
def test_each_threat_has_a_test(threat: str) -> None:
    assert "`tests/" in threat.split("|")[3]

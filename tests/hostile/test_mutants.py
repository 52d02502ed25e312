"""The defects of ``make mutants`` can be planted, and their tests exist; that these notice them takes minutes to show."""

import ast
import subprocess
import sys

import pytest

from tests.hostile.defects import DEFECTS, Defect
from tests.hostile.mutants import PROJECT, planted


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_defect_has_one_place_and_can_be_run(defect: Defect) -> None:
    source = (PROJECT / "src/cachesync" / defect.file).read_text()
    mutated = planted(defect, source)
    assert ast.dump(ast.parse(mutated)) != ast.dump(ast.parse(source))


def test_each_promise_is_attacked_and_no_defect_is_planted_twice() -> None:
    assert {defect.breaks for defect in DEFECTS} == set(range(1, 8))
    assert len({defect.name for defect in DEFECTS}) == len({defect[2:5] for defect in DEFECTS}) == len(DEFECTS)


def test_the_tests_that_notice_them_exist() -> None:
    tests = dict.fromkeys(f"tests/{test}" for defect in DEFECTS for test in defect.tests)
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr

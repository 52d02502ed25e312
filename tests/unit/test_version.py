"""Spack's order of versions."""

import json
from itertools import pairwise

import pytest

from cachesync.pages.version import git_ref, version_key, version_range
from cachesync.search.conditions import conditions
from cachesync.search.parser import parse
from tests.support import brute
from tests.support.shared import VERSION_ORDER, needs_version_order

ASCENDING = [
    "benchmarking", "oxygen", "0.9", "1.2alpha", "1.2alpha2", "1.2beta", "1.2rc1", "1.2rc2", "1.2", "1.2a", "1.2.0",
    "1.2.1", "1.9", "1.10", "1.20rc1", "1.20", "2.stable", "10", "95v309b3", "2025.08.20", "20150724",
    "9" * 25, "9" * 26, "stable", "nightly", "trunk", "head", "master", "main", "develop", "develop.1",
]  # fmt: skip


@pytest.mark.parametrize(("lower", "higher"), list(pairwise(ASCENDING)))
def test_keys_sort_as_spack_sorts(lower: str, higher: str) -> None:
    assert version_key(lower) < version_key(higher)


@pytest.mark.parametrize(
    ("one", "other"), [("1.02", "1.2"), ("1_2", "1-2"), ("1.2-final", "1.2"), ("git.main=1.2", "1.2")]
)
def test_equal_versions_have_equal_keys(one: str, other: str) -> None:
    assert version_key(one) == version_key(other)


def test_the_key_is_the_documented_one() -> None:
    assert version_key("3.27.9") == "2a32b272a90z"


@needs_version_order
def test_spacks_own_order() -> None:
    order: list[list[str]] = json.loads(VERSION_ORDER.read_text())["order"]
    keys = [{version_key(version) for version in equal} for equal in order]
    assert all(len(equal) == 1 for equal in keys)
    assert all(min(lower) < min(higher) for lower, higher in pairwise(keys))


def within(version: str, at_least: str | None, up_to: str | None) -> bool:
    lower, upper = version_range(at_least, up_to)
    key = version_key(version)
    return (lower is None or lower <= key) and (upper is None or key < upper)


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        ("1.2:1.2", "1.2 1.2.0 1.2.9 1.2-develop 1.2.1rc1 1.2a 1.3rc1 1.02", "1.2rc1 1.20 1.3 1.1.9 develop"),
        ("1.2:1.4", "1.2 1.3 1.4.9 1.5rc1", "1.2rc1 1.5 1.1"),
        ("1:", "1 1.0 99 develop stable", "1rc1 0.9 a"),
        (":1.4", "0 a 1.4.9 1.5alpha 1.4-main", "1.5 develop 1.40"),
        (":", "a 0 develop 1rc1", ""),
        ("1.9:1.9", "1.9 1.9.9 1.10rc1", "1.10 1.91"),
        ("1.2rc1:1.2rc1", "1.2rc1", "1.2rc 1.2rc2 1.2 1.2beta9"),
        ("1.2rc:1.2rc", "1.2rc", "1.2rc0 1.2rc1 1.2"),
        ("1.2alpha:1.2beta3", "1.2alpha 1.2alpha9 1.2beta3", "1.2beta4 1.2rc1 1.2"),
        ("1.2final:1.2final", "1.2 1.2.1", "1.3"),
        ("1.2final3:1.2final3", "1.2final3 1.2.1 1.3", "1.2 1.2final2 1.3final3"),
        ("1.2a:1.2a", "1.2a 1.2a1 1.2aa 1.2az", "1.2b 1.2.0 1.2"),
        ("1.z:1.z", "1.z 1.z1", "1.zA 1.zz 1.za 1.1"),
        ("1.Z:1.Z", "1.Z 1.Za 1.Z9", "1.a 1.Y"),
        ("1.maim:1.maim", "1.maim 1.maimz", "1.maio 1.main"),
        ("develop:develop", "develop develop.1 develop-a", "main 1 99"),
        ("main:main", "main main.1", "master develop"),
        ("stable:stable", "stable stable.1 nightly-rc1", "nightly 9"),
        ("_:_", "_ -", "A 0 a"),
        ("9" * 25 + ":" + "9" * 25, "9" * 25, "1" + "0" * 25),
    ],
)
def test_a_range_ends_before_the_next_version(bounds: str, inside: str, outside: str) -> None:
    low, _, high = bounds.partition(":")
    assert [each for each in inside.split() if not within(each, low or None, high or None)] == []
    assert [each for each in outside.split() if within(each, low or None, high or None)] == []


@pytest.mark.parametrize(
    ("low", "high"), [("3", "1"), ("1.3", "1.2"), ("develop", "99"), ("1.2", "1.2rc1"), ("b", "a")]
)
def test_a_range_without_versions_is_an_error(low: str, high: str) -> None:
    with pytest.raises(ValueError, match=f"no version is at least {low} and at most {high}"):
        version_range(low, high)


@pytest.mark.parametrize(
    ("version", "ref"),
    [
        ("1.2", None),
        ("main", None),
        ("git", None),
        ("git.", None),
        ("1.git.main", None),
        ("git.main", "main"),
        ("git.main=1.2", "main"),
        ("git.feature/x-1.2=develop", "feature/x-1.2"),
        ("ab" * 20, "ab" * 20),
        ("AB" * 20 + "=1.2", "AB" * 20),
        ("git." + "ab" * 20 + "=1.2", "ab" * 20),
        ("1" * 40, "1" * 40),
        ("1" * 39, None),
        ("1" * 41, None),
        ("ab" * 20 + ".1", None),
    ],
)
def test_the_git_ref_of_a_version(version: str, ref: str | None) -> None:
    assert git_ref(version) == ref


@needs_version_order
def test_spacks_own_ranges() -> None:
    for case in json.loads(VERSION_ORDER.read_text())["ranges"]:
        query = conditions(parse(f"@{case['constraint']}")).query
        found = [each for each in case["versions"] if brute.matches({"version_key": version_key(each)}, query)]
        assert found == case["match"], case["constraint"]

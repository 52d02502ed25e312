"""Spack's order of versions."""

import json
from itertools import pairwise

import pytest

from cachesync.pages.version import version_key
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

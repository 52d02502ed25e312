"""Names are normalized, and names with typos are found."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachesync.search.typos import mistyped, nearest, parts, plain, plain_all


@pytest.mark.parametrize("typed", ["superlu-dist", "SuperLU_DIST", "superlu dist", "super.lu:dist", "\uff53uperlüdist"])
def test_only_letters_and_digits_count(typed: str) -> None:
    assert plain(typed) == "superludist"


def test_a_plus_counts_too() -> None:
    assert plain("G++") == "g++"
    assert parts("lib-g++ c") == ["lib", "g++", "c"]


@settings(deadline=None)
@given(st.lists(st.text("ab-_.\n é", max_size=5), max_size=5))
def test_many_names_are_normalized_as_single_ones(names: list[str]) -> None:
    assert plain_all(names) == [plain(name) for name in names]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("gromcs", "gromacs"),
        ("gromaccs", "gromacs"),
        ("grumacs", "gromacs"),
        ("gormacs", "gromacs"),
        ("hromacs", "gromacs"),
        ("romacs", "gromacs"),
        ("gdc", "gcc"),
        ("tensroflwo", "tensorflow"),
        ("openbals2", "openblas"),
        ("opnbals", "openblas"),
    ],
)
def test_one_typo_or_two_from_eight_letters_on(typed: str, meant: str) -> None:
    assert [place for _, place in mistyped(typed, ["other-name", meant])] == [1]


@pytest.mark.parametrize(
    ("typed", "other"),
    [("grumasc", "gromacs"), ("gc", "gcc"), ("gcc", "gcc"), ("go", "gos"), ("tenssroflwo", "tensorflow")],
)
def test_too_many_typos_are_another_word(typed: str, other: str) -> None:
    assert not list(mistyped(typed, [other]))


@pytest.mark.parametrize(
    ("word", "candidates", "expected"),
    [
        ("targt", ["tag", "target", "variants"], "target"),
        ("Build-System", ["build_system", "build_type"], "build_system"),
        ("buidl_tpye", ["build_type", "build_system"], "build_type"),
        ("bao", ["cao", "bat"], "bat"),
        ("mpj", ["mpi", "mpx"], "mpi"),
        ("cuda", ["mpi", "openmp"], None),
        ("x", ["y", ""], None),
        ("", ["mpi"], None),
    ],
)
def test_the_nearest_has_the_fewest_typos_then_the_same_first_letter(
    word: str, candidates: list[str], expected: str | None
) -> None:
    assert nearest(word, candidates) == expected
    assert nearest(word, reversed(candidates)) == expected

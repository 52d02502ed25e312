"""Typed names are matched with the packages that they mean, the best first."""

import string
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.search import package_names
from cachesync.search.aliases import load_aliases, read_aliases
from cachesync.search.names import MAX_GROUPS, PackageNames, Split, grouped, split
from cachesync.search.typos import plain

PACKAGES = package_names()
ALIASES = load_aliases()
REAL = PackageNames(dict.fromkeys(PACKAGES, 1), ALIASES)


def found(typed: str, *packages: str, aliases: str = "") -> list[str]:
    """Return the matches among a few packages."""
    names = PackageNames(dict.fromkeys(packages, 1), read_aliases(aliases.splitlines(), "test"))
    return [match.package for match in names.find(typed.split())]


@pytest.mark.parametrize(
    ("typed", "package"),
    [
        ("SuperLU_DIST", "superlu-dist"),
        ("superlu dist", "superlu-dist"),
        ("superludist", "superlu-dist"),
        ("node.js", "node-js"),
        ("py torch", "py-torch"),
        ("PyTorch", "py-torch"),
        ("open-mpi", "openmpi"),
        ("JSON::XS", "perl-json-xs"),
        ("“HDF5”*,", "hdf5"),
    ],
)
def test_capitals_and_separators_make_no_difference(typed: str, package: str) -> None:
    assert REAL.find(typed.split())[0].package == package


@pytest.mark.parametrize(
    ("typed", "package"),
    [
        *[("numpy", "py-numpy"), ("dplyr", "r-dplyr"), ("x11", "libx11"), ("abseil", "abseil-cpp")],
        *[("xerces", "xerces-c"), ("json xs", "perl-json-xs"), ("posix", "lua-luaposix"), ("yaml", "libyaml")],
        *[("libcurl", "curl"), ("lib curl", "curl"), ("libboost-all-dev", "boost"), ("hdf5-devel", "hdf5")],
        *[("cudatoolkit", "cuda"), ("cuda toolkit", "cuda"), ("gnu parallel", "parallel"), ("boost-cpp", "boost")],
        *[("python3-scipy", "py-scipy"), ("r-cran-dplyr", "r-dplyr"), ("libjson-xs-perl", "perl-json-xs")],
        *[("sqlite3", "sqlite"), ("python3.11", "python"), ("libglib2.0-dev", "glib"), ("blast+", "blast-plus")],
        *[("python-sklearn", "py-scikit-learn"), ("libclang-14-dev", "llvm"), ("libarpack", "arpack-ng")],
    ],
)
def test_decorations_may_be_left_out_or_added(typed: str, package: str) -> None:
    assert REAL.find(typed.split())[0].package == package


def test_as_few_decorations_as_possible_are_removed() -> None:
    assert "hdf" not in [match.package for match in REAL.find(["hdf5"])]
    assert [match.package for match in REAL.find(["hdf5-tools"])] == ["hdf5"]


def test_parts_are_better_than_several_decorations() -> None:
    assert found("foo2", "x-foo2-y", "py-foo", "foo") == ["foo", "x-foo2-y", "py-foo"]
    assert found("foo2", "x-foo2-y", "py-foo") == ["x-foo2-y", "py-foo"]
    assert not PackageNames({"py-pyfoo": 1}, {}).is_name(["foo"])


def test_decorations_have_their_hyphens() -> None:
    assert [match.why for match in PackageNames({"mpc": 1, "mp-c": 1}, {}).find(["mp"])] == ["alias", "prefix"]


def test_decorated_beginnings_match_if_nothing_else_does() -> None:
    assert found("python-tensorf", "py-tensorflow", "tensorfish") == ["py-tensorflow"]


def test_a_typed_language_has_to_be_the_packages() -> None:
    assert found("python-yaml", "libyaml", "py-pyyaml", "r-yaml") == ["py-pyyaml"]
    assert found("perl-yaml", "libyaml", "r-yaml") == []


@pytest.mark.parametrize(
    ("typed", "package"),
    [
        *[("sklearn", "py-scikit-learn"), ("clang", "llvm"), ("clang++", "llvm"), ("g++", "gcc"), ("c++", "gcc")],
        *[("rg", "ripgrep"), ("cv2", "opencv"), ("nodejs", "node-js"), ("mkl", "intel-oneapi-mkl"), ("mpi", "openmpi")],
    ],
)
def test_aliases_find_their_packages(typed: str, package: str) -> None:
    match = REAL.find([typed])[0]
    assert (match.package, match.why) == (package, "name" if typed == "nodejs" else "alias")


def test_an_alias_finds_its_packages_in_order_and_only_those_of_the_index() -> None:
    aliases = "tbb: intel-oneapi-tbb intel-tbb"
    assert found("tbb", "intel-tbb", "other", aliases=aliases) == ["intel-tbb"]
    assert found("tbb", "intel-tbb", "intel-oneapi-tbb", aliases=aliases) == ["intel-oneapi-tbb", "intel-tbb"]


def test_a_short_alias_only_matches_in_one_part() -> None:
    assert found("rg", "ripgrep", "r-glue", aliases="rg: ripgrep") == ["ripgrep", "r-glue"]
    assert found("r-g", "ripgrep", "r-glue", aliases="rg: ripgrep") == ["r-glue"]


@pytest.mark.parametrize(
    ("typed", "packages"),
    [
        ("blas", ["blas", "atlas", "py-blas", "blaspp", "py-blasted", "x-blas-y", "netlib-blas", "openblas"]),
        ("hdf", ["hdf", "hdf5", "hdf5-vol", "py-hdfs-client", "phdf"]),
        ("cma", ["cmake", "cmaker", "cmake-extras", "py-cma-evolution", "m4-cma"]),
        ("torch", ["py-torch", "torchy", "py-torchgeo", "py-torchvision", "botorch"]),
        ("sclearn", ["quite-another-sclearn", "x-sclearned"]),
        ("foo3", ["foo", "x-foo3"]),
        ("r-la", ["r-lattice", "r-rlang"]),
    ],
)
def test_order_is_name_alias_beginning_part_then_coverage(typed: str, packages: list[str]) -> None:
    aliases = "blas: atlas"
    assert found(typed, *packages, aliases=aliases) == packages
    assert found(typed, *reversed(packages), aliases=aliases) == packages


@pytest.mark.parametrize(
    ("typed", "package"),
    [
        *[("foam", "openfoam"), ("magick", "imagemagick"), ("level zero", "oneapi-level-zero"), ("lfs", "git-lfs")],
        *[("apex", "py-torch-nvidia-apex"), ("intel mkl", "intel-oneapi-mkl"), ("mkl intel", "intel-oneapi-mkl")],
        *[
            ("intelmpi", "intel-oneapi-mpi"),
            ("osubench", "osu-micro-benchmarks"),
            ("hdf5 async", "hdf5-vol-async"),
            ("unner", "py-pytest-runner"),
        ],
    ],
)
def test_parts_find_a_name(typed: str, package: str) -> None:
    assert REAL.find(typed.split())[0].package == package


@pytest.mark.parametrize(
    ("typed", "package"),
    [
        *[("eigne", "eigen"), ("py-scpy", "py-scipy"), ("libxxml2", "libxml2"), ("rocblaz", "rocblas")],
        *[("scpy", "py-scipy"), ("numpyy", "py-numpy"), ("py torhc", "py-torch"), ("sklaern", "py-scikit-learn")],
        *[("qython", "python"), ("tensroflwo", "py-tensorflow"), ("kokkos kernals", "kokkos-kernels")],
    ],
)
def test_typos_are_forgiven(typed: str, package: str) -> None:
    match = REAL.find(typed.split())[0]
    assert (match.package, match.why) == (package, "typo")


def test_typos_only_count_if_nothing_fits_better() -> None:
    assert found("gcc", "gcc", "gdc") == ["gcc"]
    assert found("blas", "openblas", "bias") == ["openblas"]
    assert found("blas", "bias") == ["bias"]


def test_typos_rank_by_number_then_whole_name_then_first_letter() -> None:
    assert found("openblaz", "openblas", "openblis") == ["openblas"]
    assert found("nunpy", "py-numpy", "nunpx", "munpy") == ["nunpx", "munpy", "py-numpy"]
    assert found("mesn-python", "meson", "py-meson-python") == ["py-meson-python", "meson"]
    assert found("hwlok", "hwloc", "aaa", aliases="hwlox: aaa") == ["hwloc", "aaa"]


def test_typos_are_fewer_than_the_letters_of_a_word() -> None:
    for typed in ("hdf5 4", "openblas 12", "cmake g++"):
        assert REAL.find(typed.split()) == []


def test_equally_covered_names_rank_by_clearly_more_specs() -> None:
    names = PackageNames({"py-numba": 3, "py-numpy": 900, "py-number": 5000, "py-numhy": 1000}, {})
    matches = names.find(["py-num"])
    assert [(match.package, match.fit) for match in matches] == [
        ("py-numhy", 0),
        ("py-numpy", 0),
        ("py-numba", 1),
        ("py-number", 2),
    ]
    assert grouped(matches) == [["py-numhy", "py-numpy"], ["py-numba"], ["py-number"]]


def test_no_more_groups_than_engines_can_rank_by() -> None:
    packages = [f"a{'b' * length}" for length in range(100)]
    matches = PackageNames(dict.fromkeys(packages, 1), {}).find(["a"])
    assert [match.package for match in matches] == packages
    groups = grouped(matches)
    assert len(groups) == MAX_GROUPS
    assert [len(group) for group in groups[:-1]] == [1] * (MAX_GROUPS - 1)


def test_suggestions_have_the_number_of_specs_and_the_reason() -> None:
    names = PackageNames({"py-numpy": 900, "py-numba": 800, "numactl": 5, "other": 1}, {})
    assert names.suggest("num", 2) == [("numactl", 5, "prefix"), ("py-numpy", 900, "prefix")]
    assert names.suggest("numpy") == [("py-numpy", 900, "alias")]
    assert names.suggest("e4s numactl zen4") == [("numactl", 5, "name")]
    assert names.suggest("") == names.suggest("#") == []


@pytest.mark.parametrize(
    "typed", ["hdf5", "HDF 5", "netcdf c", "numpy", "python numpy", "libcurl", "g++", "sklearn", "py torch", "hdf5-mpi"]
)
def test_a_name_is_whole_or_an_alias_or_decorated(typed: str) -> None:
    assert REAL.is_name(typed.split())


@pytest.mark.parametrize(
    "typed", ["", "-", "openfo", "foam", "gcc 12", "gcc12", "hdf5 mpi", "boost python", "cmkae", "zen4", "a " * 30]
)
def test_a_beginning_a_part_a_condition_and_a_typo_are_not_names(typed: str) -> None:
    assert not REAL.is_name(typed.split())


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("hdf5", ["hdf5"]),
        ("hdf5 e4s zen4", ["hdf5", "e4s"]),
        ("3.31 cmake", ["cmake"]),
        ("gcc hdf5", ["gcc", "hdf5"]),
        ("hdf5 gcc", ["hdf5", "gcc"]),
        ("12 gcc kokkos kernels", ["kokkos kernels", "gcc", "kokkos", "kernels"]),
        ("intel mkl 2024", ["intel mkl", "mkl", "intel"]),
        ("netcdf c 4.9", ["netcdf c", "netcdf"]),
        ("openfo zen4", ["openfo"]),
        ("hdf5 async zen4", ["hdf5", "hdf5 async", "async"]),
        ("zen4 cmkae", ["cmkae"]),
        ("zen4", []),
        ("", []),
    ],
)
def test_the_longest_run_that_is_a_name_is_the_first_reading(typed: str, names: list[str]) -> None:
    splits = list(split(typed.split(), REAL))
    assert [" ".join(each.name) for each in splits] == [*names, ""]
    assert splits[-1] == Split((), tuple(typed.split()))


def test_a_split_has_all_words_in_order() -> None:
    found = next(split(["zen4", "kokkos", "kernels", "4.3"], REAL))
    assert (found.name, found.others) == (("kokkos", "kernels"), ("zen4", "4.3"))


def test_rapidfuzz_is_not_imported_without_typos() -> None:
    """Importing it costs a search 20 ms."""
    code = """
import sys
from cachesync.search.aliases import load_aliases
from cachesync.search.names import PackageNames
assert [match.package for match in PackageNames({"openfoam": 1}, load_aliases()).find(["foam"])] == ["openfoam"]
sys.exit("rapidfuzz" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


SEPARATORS = st.sampled_from(["", "-", "_", ".", " ", "  "])


@settings(deadline=None)
@given(st.data(), st.sampled_from(PACKAGES))
def test_a_whole_name_comes_first_in_any_spelling(data: st.DataObject, package: str) -> None:
    separators = data.draw(st.lists(SEPARATORS, min_size=len(package), max_size=len(package)))
    letters = [letter.upper() if data.draw(st.booleans()) else letter for letter in package]
    typed = "".join(map("".join, zip(letters, separators, strict=True)))
    match = REAL.find(typed.split())[0]
    assert (match.package, match.why, match.fit) == (package, "name", 0)


@settings(deadline=None)
@given(st.data(), st.sampled_from([package for package in PACKAGES if len(plain(package)) >= 4]))
def test_a_name_with_one_typo_is_found_unless_others_fit_better(data: st.DataObject, package: str) -> None:
    typed = data.draw(one_edit(plain(package)))
    matches = REAL.find([typed])
    assert matches
    assert package in [match.package for match in matches] or matches[0].why != "typo"


@st.composite
def one_edit(draw: st.DrawFn, word: str) -> str:
    """Drop, add or replace a letter, or swap two."""
    at = draw(st.integers(0, len(word) - 2))
    letter = draw(st.sampled_from(string.ascii_lowercase))
    head, first, second, tail = word[:at], word[at], word[at + 1], word[at + 2 :]
    return (
        head
        + draw(st.sampled_from([second, first + letter + second, letter + second, first + letter, second + first]))
        + tail
    )


@settings(deadline=None)
@given(st.text(max_size=1000))
def test_any_text_can_be_searched(text: str) -> None:
    matches = REAL.find(text.split())
    assert len({match.package for match in matches}) == len(matches)
    assert [match.fit for match in matches] == sorted(match.fit for match in matches)
    REAL.is_name(text.split())
    REAL.suggest(text)


@settings(deadline=None)
@given(
    st.permutations(["hdf5", "hdf", "py-hdf", "phdf5", "hdf5-vol", "netcdf", "HDF_5", "h-d-f"]),
    st.text("hdf5n", max_size=4),
)
def test_the_order_of_the_packages_makes_no_difference(packages: list[str], typed: str) -> None:
    counts = {package: len(package) for package in packages}
    assert PackageNames(counts, ALIASES).find([typed]) == PackageNames(dict(sorted(counts.items())), ALIASES).find(
        [typed]
    )

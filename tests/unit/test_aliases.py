"""Tables of aliases are read."""

import re

import pytest

from benchmarks.search import package_names
from cachesync.errors import UsageError
from cachesync.search.aliases import load_aliases, read_aliases
from cachesync.search.typos import plain

NAMES = package_names()


def test_a_line_has_aliases_and_their_packages() -> None:
    lines = ["# compilers", "", "Clang clang++ clang-format: llvm  # and more", "tbb: intel-oneapi-tbb intel-tbb\r\n"]
    assert read_aliases(lines, "mine") == {
        "clang": ("llvm",),
        "clang++": ("llvm",),
        "clangformat": ("llvm",),
        "tbb": ("intel-oneapi-tbb", "intel-tbb"),
    }


@pytest.mark.parametrize("line", ["clang llvm", "clang:", ": llvm", ":", "-: llvm"])
def test_a_line_of_another_form_is_named(line: str) -> None:
    with pytest.raises(UsageError, match=r"^mine, line 2: .*expected NAME…: PACKAGE…$"):
        read_aliases(["rg: ripgrep", line], "mine")


@pytest.mark.parametrize("line", ["rg: grep", "RG: ripgrep", "fd r-g: fd"])
def test_an_alias_that_is_given_twice_is_named(line: str) -> None:
    with pytest.raises(UsageError, match=r"^mine, line 2: rg is already in an earlier line: expected it once$"):
        read_aliases(["rg: ripgrep", line], "mine")


def test_a_users_lines_extend_and_override_the_built_in_table() -> None:
    aliases = load_aliases(["clang: our-clang", "warp-drive: warpx"], "mine")
    assert (aliases["clang"], aliases["warpdrive"], aliases["rg"]) == (("our-clang",), ("warpx",), ("ripgrep",))


def test_no_built_in_alias_is_a_packages_name() -> None:
    assert not {plain(name) for name in NAMES} & load_aliases().keys()


def test_built_in_aliases_have_existing_packages() -> None:
    packages = {package for packages in load_aliases().values() for package in packages}
    assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", package) for package in packages)
    assert packages - {*NAMES} <= {"acfl", "anaconda3", "byacc", "gtkplus", "libuuid", "miniconda", "netcdf-cxx4"}

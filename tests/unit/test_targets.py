"""Targets and machines, by the data of archspec."""

import subprocess
import sys

import pytest

from cachesync.errors import UsageError
from cachesync.search.targets import ANY, Machine, UnknownTargetError, expand, parse_machine, runs_on

INTEL = "x86_64 x86_64_v2 nocona core2 nehalem westmere sandybridge ivybridge"


@pytest.mark.parametrize(
    ("machine", "runs"),
    [
        ("x86_64_v4", "x86_64 x86_64_v2 x86_64_v3 x86_64_v4"),
        ("zen3", "x86_64 x86_64_v2 x86_64_v3 zen zen2 zen3"),
        ("zen4", "x86_64 x86_64_v2 x86_64_v3 x86_64_v4 zen zen2 zen3 zen4"),
        ("haswell", f"{INTEL} x86_64_v3 haswell"),
        ("skylake_avx512", f"{INTEL} x86_64_v3 x86_64_v4 haswell broadwell skylake skylake_avx512"),
        (
            "icelake",
            f"{INTEL} x86_64_v3 x86_64_v4 haswell broadwell skylake skylake_avx512 cannonlake cascadelake icelake",
        ),
        ("neoverse_v1", "aarch64 armv8.1a armv8.2a armv8.3a armv8.4a cortex_a72 neoverse_n1 neoverse_v1"),
        ("a64fx", "aarch64 armv8.1a armv8.2a a64fx"),
        ("m1", "aarch64 armv8.1a armv8.2a armv8.3a armv8.4a m1"),
        ("power9le", "ppc64le power8le power9le"),
    ],
)
def test_a_machine_runs_its_target_and_the_ancestors(machine: str, runs: str) -> None:
    """Ten machines, looked up by hand in the data of archspec 0.2.7."""
    assert runs_on(machine) == tuple(sorted(runs.split()))
    assert expand(f":{machine}") == runs_on(machine)


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("zen3", "zen3"),
        ("graviton2", "graviton2"),
        ("zen3:", "zen3 zen4 zen5 zen6"),
        ("zen2:zen4", "zen2 zen3 zen4"),
        ("zen3:zen3", "zen3"),
        ("x86_64_v3:zen3", "x86_64_v3 zen zen2 zen3"),
        ("zen4:zen3", ""),
        ("zen3:haswell", ""),
        ("m1:zen3", ""),
    ],
)
def test_a_range_has_the_targets_between_its_ends(target: str, names: str) -> None:
    assert expand(target) == tuple(names.split())


def test_all_that_descend_from_a_target_are_in_its_range() -> None:
    assert len(expand("x86_64_v3:")) == 21
    assert {"haswell", "zen6", "x86_64_v4"} < {*expand("x86_64_v3:")}


@pytest.mark.parametrize("target", [":zne3", "zne3:", "zne3:zen4", "x86_64:zne3"])
def test_an_unknown_end_of_a_range_is_named(target: str) -> None:
    with pytest.raises(
        UnknownTargetError, match=r"'zne3' is not a target that archspec [\d.]+ knows; did you mean zen3"
    ):
        expand(target)


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(UnknownTargetError, match=r"'qwertz' is not a target that archspec [\d.]+ knows$"):
        runs_on("qwertz")


@pytest.mark.parametrize("target", ANY)
def test_any_target_has_no_list(target: str) -> None:
    with pytest.raises(ValueError, match="no list"):
        expand(target)


@pytest.mark.parametrize(
    ("text", "machine"),
    [
        ("linux-ubuntu22.04-zen3", Machine("linux", "ubuntu22.04", "zen3")),
        ("darwin-sequoia-m1\n", Machine("darwin", "sequoia", "m1")),
        ("linux-opensuse-leap15-x86_64_v3", Machine("linux", "opensuse-leap15", "x86_64_v3")),
        ("windows-windows10.0.20348-x86_64", Machine("windows", "windows10.0.20348", "x86_64")),
    ],
)
def test_a_machine_is_what_spack_arch_prints(text: str, machine: Machine) -> None:
    assert parse_machine(text) == machine


@pytest.mark.parametrize("text", ["", "zen3", "linux-zen3", "linux--zen3", "-a-zen3", "linux-a-", "linux-a b-zen3"])
def test_text_that_is_not_a_machine_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a machine: expected PLATFORM-OS-TARGET, as `spack arch` prints it"):
        parse_machine(text)


@pytest.mark.parametrize(
    ("query", "loaded"), [("hdf5@1.2: +mpi target=zen3,m1 %gcc", "False"), ("target=:zen3", "True")]
)
def test_archspec_is_only_imported_for_ranges(query: str, loaded: str) -> None:
    code = """
import sys
from cachesync.search.conditions import conditions
from cachesync.search.parser import parse
conditions(parse(sys.argv[1]))
print("archspec" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, query], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == loaded

"""Shell completion of the word that is being typed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import entry, page, put
from tests.support.sandbox import Sandbox

BINARIES = Path(sys.executable).parent
HASH = "abcdefghijklmnopqrstuvwxyz234567"


def offered(sandbox: Sandbox, *words: str) -> list[str]:
    """The completions that zsh receives for the last of these words after ``cachesync``."""
    environment = {
        "PATH": f"{BINARIES}:{os.environ['PATH']}",
        "CACHESYNC_CONFIG": str(sandbox.config),
        "_CACHESYNC_COMPLETE": "zsh_complete",
        "COMP_WORDS": " ".join(["cachesync", *(f"'{word}'" for word in words)]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(["cachesync"], check=False, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.replace("\\:", ":") for line in done.stdout.splitlines()[1::3]]


@pytest.fixture
def filled(sandbox: Sandbox) -> Sandbox:
    entries = [entry(HASH, variants=["+mpi", "~mpi_io", "languages:=c,fortran"]), entry("z" * 32, os="rhel8")]
    put(sandbox.root, page(*entries, title="hdf5"), "hdf5")
    put(
        sandbox.root,
        page(entry("y" * 32, compiler="oneapi@2024.2.1"), title="HDF-eos2", tag="develop-2025-03-23"),
        "HDF-eos2",
        "develop-2025-03-23",
    )
    sandbox.run("sync")
    return sandbox


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["search", "--filter", "os="], ["os=rhel8", "os=ubuntu22.04"]),
        (["search", "--filter", "os=u"], ["os=ubuntu22.04"]),
        (["search", "--filter=os=u"], ["os=ubuntu22.04"]),
        (["search", "--filter", "compiler=gcc@"], ["compiler=gcc@11.4.0"]),
        (["search", "--filter", "nope="], []),
        (["search", "--server", "http://127.0.0.1:1", "--filter", "os="], []),
        (["search", "hd"], ["hdf-eos2", "hdf5"]),
        (["search", "HDF5"], ["hdf5"]),
        (["search", "hdf5", "+m"], ["+mpi", "+mpi_io"]),
        (["search", "%"], ["%gcc", "%intel-oneapi-compilers"]),
        (["search", "hdf5", "os=r"], ["os=rhel8"]),
        (["search", "languages=f"], ["languages=fortran"]),
        (["search", "ta"], ["target=", "tag="]),
        (["search", "/"], []),
        (["search", "/ab"], [f"/{HASH}"]),
        (["search", "--tag", ""], ["latest", "develop", "develop-2025-03-23"]),
        (["show", "/ab"], [f"/{HASH}"]),
        (["show", "ab"], [HASH]),
        (["diff", "develop", "develop-"], ["develop-2025-03-23"]),
        (["diff", "--filter", "target=x"], ["target=x86_64_v3"]),
    ],
)
def test_values_are_those_of_the_index(filled: Sandbox, words: list[str], values: list[str]) -> None:
    assert offered(filled, *words) == values


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["search", "--filter", "comp"], [f"compiler{end}=" for end in ("", "_name", "_version", "_version_key")]),
        (["search", "--facet", "va"], ["variants", "variant_names", "variant_values"]),
        (["search", "--facet", "si"], []),
        (["search", "--sort", "ve"], ["version", "version_key"]),
        (["search", "--sort", "st"], []),
        (["search", "--sort", "version:d"], ["version:desc"]),
        (["search", "--columns", "package,ver"], ["package,version", "package,version_key"]),
        (["search", "--format", "nd"], ["ndjson"]),
        (["search", "hd"], []),
        (["search", "--filter", "os="], []),
        (["search", "--tag", ""], ["latest"]),
        (["show", "/ab"], []),
    ],
)
def test_without_an_index_fields_are_offered_and_no_error_is_printed(
    embedded: Sandbox, words: list[str], values: list[str]
) -> None:
    assert offered(embedded, *words) == values


def test_an_unreachable_server_and_a_broken_configuration_offer_nothing(embedded: Sandbox) -> None:
    embedded.url = "http://127.0.0.1:9"
    embedded.configure()
    assert offered(embedded, "search", "--filter", "os=") == []
    embedded.config.write_text("{")
    assert offered(embedded, "search", "--filter", "os=") == []
    assert offered(embedded, "search", "--facet", "ta") == ["tag", "tag_date", "target"]


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("--filter os = u", ["ubuntu22.04"]),
        ("--filter os =", ["rhel8", "ubuntu22.04"]),
        ("--filter = os = u", ["ubuntu22.04"]),
        ("--filter compiler = gcc @ 1", ["11.4.0"]),
        ("--filter compiler = g", ["gcc@11.4.0"]),
        ("--sort version : d", ["desc"]),
        ("hdf5 os = r", ["rhel8"]),
        ("hdf5 +m", ["+mpi", "+mpi_io"]),
    ],
)
def test_words_that_bash_splits_are_joined_again(filled: Sandbox, words: str, values: list[str]) -> None:
    """Bash passes `=`, `:` and `@` as separate words, and replaces only what follows them."""
    if not shutil.which("bash"):
        pytest.skip("there is no bash")
    script = (
        'eval "$(_CACHESYNC_COMPLETE=bash_source cachesync)"; '
        f"COMP_WORDS=(cachesync search {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        'COMPREPLY=(); _cachesync_completion cachesync; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = {
        "PATH": f"{BINARIES}:{os.environ['PATH']}",
        "HOME": "/nonexistent",
        "CACHESYNC_CONFIG": str(filled.config),
    }
    done = subprocess.run(
        ["bash", "--norc", "-c", script], check=False, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == values

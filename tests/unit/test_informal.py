"""Informal queries are translated to Spack's grammar."""

import pytest

from cachesync.errors import QueryError
from cachesync.search.informal import SIGIL, read


@pytest.mark.parametrize(
    ("text", "kept", "words"),
    [
        ("hdf5", "hdf5", []),
        ('"hdf5"', "hdf5", []),
        ("“hdf5”,", "hdf5", []),
        ('"hdf5 +mpi"', "hdf5 +mpi", []),
        ("hdf5*", "hdf5", []),
        ("*", "*", []),
        ("k=*", "k=*", []),
        ("languages='c,c++'", "languages='c,c++'", []),
        ("c++ hdf5", "hdf5", ["c++"]),
        ("blast+", "", ["blast+"]),
        ("hdf5==1.14.6", "hdf5@ 1.14.6", []),
        ("hdf5/1.14", "hdf5@1.14", []),
        ("hdf5/v1.14", "hdf5@ 1.14", []),
        ("hdf5/18", "hdf5@18", []),
        ("hdf5/b32sd7p", "hdf5/b32sd7p", []),
        ("hdf5/2", "hdf5/2", []),
        ("compiler=gcc@11", "%gcc@11", []),
        ("compiler=none", "compiler=none", []),
        ("compiler=gcc", "%gcc", []),
        ("hdf5==1.14+mpi", "hdf5@ 1.14+mpi", []),
        ("numpy==1.26.*", "numpy@ 1.26", []),
        ("hdf5/1.14:", "hdf5@1.14:", []),
        ("hdf5@1.12, 1.14", "hdf5@1.12, 1.14", []),
        ("hdf5@1.12 , 1.14 +mpi", "hdf5@1.12 , 1.14 +mpi", []),
        ("hdf5@1.12, +mpi", "hdf5@1.12  +mpi", []),
        ("hdf5,+mpi", "hdf5 +mpi", []),
        ("hdf5, zlib", "hdf5  zlib", []),
        ("spack install hdf5+mpi", "hdf5+mpi", []),
        ("spack buildcache list -l hdf5", "hdf5", []),
        ("spack find --long hdf5", "hdf5", []),
        ("pip install numpy", "numpy", []),
        ("spack", "spack", []),
        ("hdf5-1.14.6-gcc-11.4.0-wjxrfri", "hdf5@1.14.6%gcc@11.4.0/wjxrfri", []),
        ("openmpi/5.0.7-gcc-11.4.0", "openmpi@5.0.7%gcc@11.4.0", []),
        ("builtin.hdf5+mpi", "hdf5+mpi", []),
        ("hdf5 with mpi for zen4", "hdf5      mpi     zen4", []),
        ("HDF5 built With gcc", "HDF5            gcc", []),
        ("hdf5 +mpi on zen4", "hdf5 +mpi    zen4", []),
        ("on", "on", []),
        ("on the", "on the", []),
        ("py-for-x with", "py-for-x", []),
    ],
)
def test_typography_is_removed_and_habits_are_translated(text: str, kept: str, words: list[str]) -> None:
    found = read(text)
    assert len(found.text) == len(text), "so that errors name the right character"
    assert found.text.strip() == kept
    assert [word.text for word in found.words] == words


def test_notes_tell_how_informal_parts_were_read() -> None:
    assert read("hdf5==1.14.6 zlib/1.2.13").notes == (
        "hdf5==1.14.6 is read as hdf5@1.14.6.",
        "zlib/1.2.13 is read as zlib@1.2.13.",
    )
    assert read('"hdf5, +mpi"').notes == ("Quotes, commas and stars around words are left out.",)
    assert read("hdf5 +mpi languages='c,c++'").notes == ()
    assert read("the hdf5 with mpi with gcc").notes == ("the, with: left out, since hits match every word anyway.",)


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("hdf5 1.14 or newer", 11, "hdf5@1.14:"),
        ("hdf5@1.14  or  later +mpi", 12, "hdf5@1.14:"),
        ("hdf5 1.14 Or Older", 11, "hdf5@:1.14"),
        ("hdf5 without mpi", 6, "hdf5~mpi"),
    ],
)
def test_english_phrases_are_refused_if_spack_has_a_sign(text: str, at: int, expected: str) -> None:
    with pytest.raises(QueryError, match=f"such as {expected}$") as caught:
        read(text)
    assert caught.value.at == at


@pytest.mark.parametrize("text", ["py-without-x", "or newer2", "without", "minor later"])
def test_words_that_only_resemble_phrases_are_kept(text: str) -> None:
    assert read(text).text == text


def test_words_keep_their_positions() -> None:
    (word,) = read("hdf5 c++").words
    assert word == ("c++", 6)


@pytest.mark.parametrize(
    "text",
    ["develop/zlib/aaaabbbbccccddddeeeeffffgggghhhh", "https://binaries.spack.io/develop/x", "see http://example.org"],
)
def test_the_name_of_one_binary_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="`cachesync show` shows it"):
        read(text)


@pytest.mark.parametrize(
    "text", ["a@1", "%gcc", "a ^b", "+mpi", "a+mpi", "~mpi", "a~mpi", "a -mpi", "a - mpi", "-mpi", "a=b", "/abc"]
)
def test_a_sigil_makes_a_query_a_spec(text: str) -> None:
    assert SIGIL.search(text)


@pytest.mark.parametrize("text", ["hdf5", "py-pip", "ubuntu 22.04", "intel mkl", "x86_64_v3", "a -"])
def test_words_have_no_sigil(text: str) -> None:
    assert not SIGIL.search(text)

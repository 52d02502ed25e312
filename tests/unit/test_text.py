"""Free text becomes the tree."""

import pytest

from cachesync.errors import UsageError
from cachesync.search.query import All, And, Or, Prefix, Term, Words
from cachesync.search.text import search, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("py-pip@24.3.1", ["py", "pip", "24.3.1"]),
        (
            "arch=linux-ubuntu22.04-x86_64_v3 %GCC@11.4.0",
            ["arch", "linux", "ubuntu22.04", "x86_64_v3", "gcc", "11.4.0"],
        ),
        ("hdf5+mpi~shared", ["hdf5", "mpi", "shared"]),
        ("a.b 1.b b.1 x:y 1:2 1,2 it's", ["a.b", "1", "b", "b", "1", "x:y", "1", "2", "1,2", "it's"]),
        ("languages:='c,c++'", ["languages", "c", "c"]),
        ("", []),
    ],
)
def test_words_are_those_of_the_standard_tokenizer(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_no_word_asks_for_everything() -> None:
    for text in ("", "   ", " * "):
        assert search(text).query == All()
        assert search(text).ranks == ()


def test_a_word_is_looked_for_everywhere_by_its_beginning() -> None:
    somewhere = Or(
        (
            Words("spec", ("py", "p")),
            *(Prefix(field, start) for field in ("tag", "stacks", "hash") for start in ("Py-p", "py-p")),
        )
    )
    assert search("Py-p").query == And((somewhere,))


def test_names_that_fit_better_come_first() -> None:
    assert search("MKL").ranks == (
        Or((Term("package", "MKL"), Term("package", "mkl"))),
        Or((Words("package.text", ("mkl",), begun=False),)),
        Or((Words("package.text", ("mkl",)),)),
    )


def test_switches_match_whole_wherever_they_stand() -> None:
    query = search("hdf5+mpi~shared ~cuda -hl ~cuda").query
    assert isinstance(query, And)
    assert query.parts[:4] == tuple(Term("variants", each) for each in ("+mpi", "~shared", "~cuda", "~hl"))
    assert len(query.parts) == 5


def test_a_key_and_value_may_be_a_variant() -> None:
    query = search("cxxstd=17").query
    assert isinstance(query, And)
    assert query.parts[0] == Or(
        tuple(Term("variants", each) for each in ("cxxstd=17", "cxxstd='17'", "cxxstd:=17", "cxxstd:='17'"))
    )


def test_a_key_and_value_may_be_a_field() -> None:
    query = search("target=zen4").query
    assert isinstance(query, And)
    assert Term("target", "zen4") in query.parts[0].parts  # type: ignore[union-attr]


def test_spacks_exact_version_is_that_of_documents() -> None:
    query = search("compiler=gcc@=1.10").query
    assert isinstance(query, And)
    assert Term("compiler", "gcc@1.10") in query.parts[0].parts  # type: ignore[union-attr]
    assert Term("variants", "compiler=gcc@=1.10") in query.parts[0].parts  # type: ignore[union-attr]
    query = search("zlib@=1.10").query
    assert isinstance(query, And)
    assert query.parts[0].parts[0] == Words("spec", ("zlib", "1.10"))  # type: ignore[union-attr]


def test_a_slash_is_a_hash() -> None:
    assert search("/Ugqk").query == And((Prefix("hash", "ugqk"),))


@pytest.mark.parametrize(
    ("typed", "says"),
    [("@", "no word"), ("- %", "no word"), ("x" * 1001, "1,001 characters"), ("caf\udce9", "not UTF-8: character 4")],
)
def test_what_is_no_query_is_told(typed: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        search(typed)

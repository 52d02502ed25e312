"""Specs are translated to queries."""

import os
import random
from collections.abc import Callable

import pytest

from cachesync.errors import QueryError, UnanswerableError
from cachesync.search.conditions import conditions
from cachesync.search.parser import parse
from cachesync.search.query import All, And, Exists, In, Not, Or, Prefix, Query, Range, Term
from cachesync.search.spec import canonical
from tests.hostile.effort import SEED

COMMIT = "0123456789abcdefABCD" * 2
QUERIES = int(os.environ.get("CACHESYNC_TEST_QUERIES", "10000"))
"""The number of query strings in the fuzz test. A million take some minutes."""


def value(token: str) -> Term:
    return Term("variant_values", token)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("*", All()),
        ("@:", All()),
        ("hdf5", Term("package", "hdf5")),
        ("@1.2", Range("version_key", "2a12a20z", "2a12a30z")),
        ("@1.2:1.9", Range("version_key", "2a12a20z", "2a12b100z")),
        ("@1.2:", Range("version_key", "2a12a20z", None)),
        ("@:1.2", Range("version_key", None, "2a12a30z")),
        ("@=1.02", And((Term("version_key", "2a12a20z"), Not(Exists("git_ref"))))),
        (
            "@1:,=2",
            Or((Range("version_key", "2a10z", None), And((Term("version_key", "2a20z"), Not(Exists("git_ref")))))),
        ),
        ("@git.main", Term("git_ref", "main")),
        (f"@{COMMIT}", Term("git_ref", COMMIT)),
        ("@git.main=1.2", And((Term("git_ref", "main"), Term("version_key", "2a12a20z")))),
        ("@git.main=1:", And((Term("git_ref", "main"), Range("version_key", "2a10z", None)))),
        ("+mpi", value("+mpi")),
        ("~mpi", value("~mpi")),
        ("zlib -pic", And((Term("package", "zlib"), value("~pic")))),
        ("zlib-pic", Term("package", "zlib-pic")),
        ("++mpi", Not(value("~mpi"))),
        ("--mpi", Not(value("+mpi"))),
        ("mpi=TRUE", value("+mpi")),
        ("k=v", value("k=v")),
        ("k='c++'", value("k=c++")),
        ("k=b,a", And((value("k=b"), value("k=a")))),
        ("k:=a", And((value("k=a"), Not(value("k:=*"))))),
        ("k:=b,a,b", value("k:=a,b")),
        ("k==v", Or((Not(Term("variant_names", "k")), value("k=v")))),
        ("k=*", Term("variant_names", "k")),
        ("patches=0123456789", value("patches=0123456")),
        ("patches=01234567,01234569", value("patches=0123456")),
        ("patches=012", Prefix("variant_values", "patches=012")),
        ("patches:=0123456789,abcdefg", value("patches:=0123456,abcdefg")),
        ("patches=*", Term("variant_names", "patches")),
        ("platform=linux", Term("platform", "linux")),
        ("platform=* os=*", And((Exists("platform"), Exists("os")))),
        ("operating_system=rhel8", Term("os", "rhel8")),
        ("target=zen3", In("target", ("zen3",))),
        ("target=:zen2,mine,zen", In("target", ("mine", "x86_64", "x86_64_v2", "x86_64_v3", "zen", "zen2"))),
        ("target=zen3,*", Exists("target")),
        ("target=:", Exists("target")),
        (
            "arch=linux-rhel8-zen3:zen4",
            And((Term("platform", "linux"), Term("os", "rhel8"), In("target", ("zen3", "zen4")))),
        ),
        ("/abc", Prefix("hash", "abc")),
        ("/" + "ab" * 16, Term("hash", "ab" * 16)),
        ("%gcc", Term("compiler_name", "gcc")),
        ("%oneapi", Term("compiler_name", "intel-oneapi-compilers")),
        ("%%gcc@:", Term("compiler_name", "gcc")),
        ("%gcc@11", And((Term("compiler_name", "gcc"), Range("compiler_version_key", "2b110z", "2b120z")))),
        ("%gcc@=11", And((Term("compiler_name", "gcc"), Term("compiler_version_key", "2b110z")))),
        (
            "%gcc@:9,11:",
            And(
                (
                    Term("compiler_name", "gcc"),
                    Or((Range("compiler_version_key", None, "2b100z"), Range("compiler_version_key", "2b110z", None))),
                )
            ),
        ),
        ("%c=gcc %cxx=gcc", Term("compiler_name", "gcc")),
    ],
)
def test_each_construct_becomes_a_query(text: str, query: Query) -> None:
    assert repr(conditions(parse(text)).query) == repr(query)  # named tuples of different types are equal


def test_each_condition_is_a_piece() -> None:
    asked = conditions(parse("hdf5@1.2 k=v +mpi platform=linux os=a target=b /abc %clang@1"))
    assert [(piece.text, piece.at) for piece in asked.pieces] == [
        *(("hdf5", 1), ("@1.2", 6), ("+mpi", 14), ("k=v", 10)),
        *(("platform=linux", 28), ("os=a", 37), ("target=b", 46), ("/abc", 48), ("%llvm@1", 53)),
    ]
    assert repr(asked.query) == repr(And(tuple(piece.query for piece in asked.pieces)))
    assert asked.notes == ()


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "cmake %gcc@11 +ncurses target=x",
            "+ncurses after %gcc is read as cmake's, as Spack did up to 0.23: documents have no variants of compilers.",
        ),
        (
            "%fortran=gcc@11",
            "%fortran=gcc@11 is read as %gcc@11: documents have one compiler each, that of C, else of C++, else of Fortran.",
        ),
        ("++mpi", "++mpi finds packages without the variant mpi, too, as in Spack."),
        ("k==v", "k==v finds packages without the variant k, too, as in Spack."),
        ("k=v%gcc", "k='v%gcc' is one value up to the next space; put a space before a compiler or a dependency."),
        ("patches=01234567", "Patches are told apart by their first 7 characters: pages have no more."),
    ],
)
def test_unexpected_readings_are_noted(text: str, note: str) -> None:
    assert conditions(parse(text)).notes == (note,)


@pytest.mark.parametrize(
    "text",
    ["cmake+ncurses %gcc@11", "%clang /ab", "%gcc target=x", "patches=0123456", "patches=*", "%apple-clang", "k:=a"],
)
def test_usual_readings_have_no_note(text: str) -> None:
    assert conditions(parse(text)).notes == ()


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("hdf5 ^zlib@1.2", 6, r"\^zlib@1.2 can't be answered, since documents have no dependencies; leave it out"),
        ("hdf5 ^mpi=openmpi", 6, r"\^mpi=openmpi can't be answered"),
        ("hdf5 cflags=-O3", 6, "cflags=-O3 can't be answered, since documents have no flags of compilers"),
        *((f"{flag}=x", 1, flag) for flag in ("cppflags", "cxxflags", "fflags", "ldflags", "ldlibs")),
        ("hdf5 namespace=builtin", 16, "the namespace builtin .* no namespaces; expected hdf5 alone"),
        ("builtin.hdf5", 1, "the namespace builtin .* no namespaces; expected hdf5 alone"),
        ("hdf5-1.14.6", 1, "the namespace hdf5-1.14 .* no namespaces; expected hdf5@1.14.6"),
        ("namespace=builtin", 11, "the namespace builtin .* no namespaces; leave it out"),
        ("%builtin.gcc", 2, "the namespace builtin .* expected gcc alone"),
        *((f"os={word}", 4, f"{word} means the machine that asks") for word in ("fe", "frontend", "default_os")),
        *((f"target={word}", 8, f"{word} means the machine") for word in ("be", "backend", "default_target")),
        ("target=zen2,:fe", 13, "fe means the machine that asks"),
        ("arch=linux-default_os-zen3", 12, "default_os means the machine that asks"),
        ("arch=frontend", 6, "frontend means the machine that asks"),
        ("%mpi=openmpi", 1, "%mpi=openmpi can't be answered"),
        ("%c,mpi=gcc", 1, "%c,mpi=gcc can't be answered"),
        ("%[deptypes=build] gcc", 3, "deptypes=build can't be answered"),
        ("%[when=+x virtuals=c] gcc".replace("+x", "'+x'"), 3, "when='.x' can't be answered"),
        ("%cxx", 1, "%cxx can't be answered, since documents don't contain what a compiler is used for"),
        ("hdf5 %cmake@3", 7, "%cmake can't be answered, since documents have no direct dependencies but the compiler"),
        ("%c=mine", 4, "%mine can't be answered"),
        ("%gcc@git.main", 6, "git.main can't be answered, since documents have no compilers from git"),
        ("%gcc %clang", 6, "%gcc and %llvm can't be asked for together"),
        ("%c=gcc@11 %cxx=gcc@12", 11, "%c=gcc@11 and %cxx=gcc@12 can't be asked for together"),
        ("patches:=0123456,012", 1, "'012' may be several patches; expected at least 7 characters"),
        ("hdf5 cflags=a ^zlib", 6, "cflags"),
        ("hdf5 %gcc cflags=a os=fe ^zlib", 11, "cflags"),
    ],
)
def test_conditions_that_documents_cannot_answer_are_refused_by_name(text: str, at: int, message: str) -> None:
    with pytest.raises(UnanswerableError, match=f"^character {at} of the query: .*{message}") as caught:
        conditions(parse(text))
    assert caught.value.at == at


def test_compilers_of_the_index_are_allowed() -> None:
    assert conditions(parse("%mine"), {"mine"}).query == Term("compiler_name", "mine")


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("target=zen2,:zne3", 13, "'zne3' is not a target that archspec .* did you mean zen3"),
        ("arch=linux-rhel8-qwertz:", 18, "'qwertz' is not a target"),
        ("target=zen4:zen3", 8, "expected a range from the lower to the higher"),
    ],
)
def test_a_range_of_unknown_targets_is_refused(text: str, at: int, message: str) -> None:
    with pytest.raises(QueryError, match=f"^character {at} of the query: .*{message}"):
        conditions(parse(text))


VALID = [
    "hdf5@1.14:%gcc@11+mpi",
    "cmake %gcc@11 +ncurses target=x86_64_v3 ^zlib@1.2:1.4,=5 %clang ~pic",
    "py-pip @git.feature/x=1.2:1.4 build_system=python_pip arch=linux-ubuntu22.04-:zen3",
    f"gcc@{COMMIT}=develop languages:='c,c++,it\\'s' k==\"a \\\" b\" patches=0123456,abc /b32sd7p",
    "*@1.2rc1,:main,stable: ++a ~~b --c -d k=* os=* platform=darwin target=zen2,zen3:,icelake",
    "%[virtuals=c,cxx deptypes=build] gcc@12 %% fortran=intel ^[when=+x] mpi=openmpi cflags='-O3 -g' namespace=builtin",
]
ALPHABET = "abc0129_.-+~%^@=:,/*'\"\\ []\t\n!é\udce9"
FRAGMENTS = [
    *(
        "@",
        ":",
        "=",
        ":=",
        "==",
        "%",
        "^",
        "%%",
        "%[",
        "]",
        "++",
        "~~",
        "--",
        " -",
        ",",
        "git.",
        "/",
        "*",
        " ",
        "'",
        '"',
        "\\",
    ),
    *(
        "target=",
        "os=",
        "arch=",
        "virtuals=",
        "k=",
        "1.2",
        "hdf5",
        "gcc",
        "zen3",
        "develop",
        "None",
        "true",
        ".json",
        COMMIT,
    ),
]


def mutant(choose: random.Random) -> str:
    """A valid query with a part of it removed, doubled, replaced or moved."""
    text = choose.choice(VALID)
    for _ in range(choose.randint(1, 6)):
        start = choose.randint(0, len(text))
        end = min(len(text), start + choose.choice([0, 1, 1, 2, 8]))
        new = choose.choice(["", text[start:end] * 2, choose.choice(ALPHABET), choose.choice(FRAGMENTS), text[:end]])
        text = text[:start] + new + text[end:]
    return text


def noise(choose: random.Random) -> str:
    return "".join(choose.choices(ALPHABET, k=choose.choice([3, 10, 40, 1001])))


def salad(choose: random.Random) -> str:
    return "".join(choose.choices(FRAGMENTS, k=choose.randint(1, 25)))


def judge(text: str) -> QueryError | None:
    """Parse a query and return its error; check that its canonical form has the same conditions."""
    try:
        spec = parse(text)
    except QueryError as error:
        return error
    again = parse(canonical(spec))
    assert canonical(again) == canonical(spec)
    try:
        asked = conditions(spec)
    except QueryError as error:
        return error
    assert repr(conditions(again).query) == repr(asked.query)
    return None


def test_any_text_is_a_spec_or_refused() -> None:
    choose = random.Random(SEED)
    makers: list[Callable[[random.Random], str]] = [mutant, mutant, noise, salad]
    answered = 0
    for number in range(QUERIES):
        text = makers[number % len(makers)](choose)
        try:
            error = judge(text)
        except BaseException as defect:
            defect.add_note(f"the query is {text!r}")
            raise
        answered += error is None
        if error:
            assert 1 <= error.at <= len(text) + 1, text
            assert str(error).startswith(f"character {error.at} of the query: ")
            assert len(str(error)) < 400
    assert answered > QUERIES / 20

"""Specs are parsed from tokens."""

import pytest

from cachesync.errors import QueryError
from cachesync.search.parser import parse
from cachesync.search.spec import Between, Compiler, Dependency, Exactly, Flags, GitRef, SpecQuery, Variant, Word

COMMIT = "0123456789abcdefABCD" * 2


def same(one: object, other: object) -> bool:
    """Compare trees by repr, since named tuples of different types are equal."""
    return repr(one) == repr(other)


def test_every_part_has_its_position() -> None:
    text = "hdf5@1.12:1.14,=2 +mpi languages='c, c++' arch=linux-rhel8-:zen3,m1 /ab %gcc@11"
    expected = SpecQuery(
        name=Word("hdf5", 1),
        versions=(Between("1.12", "1.14", 6), Exactly("2", 16)),
        variants=(Variant("mpi", True, 19), Variant("languages", ("c", "c++"), 24)),
        platform=Word("linux", 48),
        os=Word("rhel8", 54),
        targets=(Word(":zen3", 60), Word("m1", 66)),
        hash=Word("ab", 69),
        compilers=(Compiler(Word("gcc", 74), 73, (Between("11", "11", 78),)),),
    )
    assert same(parse(text), expected)
    assert [text[at - 1 :][:4] for at in (6, 16, 19, 24, 48, 54, 60, 66, 69, 74)] == [
        *("1.12", "=2 +", "+mpi", "lang", "linu", "rhel", ":zen", "m1 /", "/ab ", "gcc@"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("glued", "apart"),
    [
        ("hdf5@1.14:%gcc@11+mpi", "hdf5 @1.14: %gcc @11 +mpi"),
        ("hdf5+mpi~shared/abc", "hdf5  +mpi ~shared /abc"),
        ("hdf5@1.12:target=zen3", "hdf5 @1.12: target=zen3"),
        ("zlib~pic", "zlib -pic"),
        ("zlib~~pic++shared", "zlib --pic ++shared"),
        ("k='a'%gcc", "k=a % gcc"),
        ("@1,2:", "@ 1 , 2:"),
    ],
)
def test_spaces_between_conditions_are_optional(glued: str, apart: str) -> None:
    assert str(parse(glued)) == str(parse(apart))


@pytest.mark.parametrize("text", ["", "  ", "*"])
def test_an_empty_query_has_no_conditions(text: str) -> None:
    assert same(parse(text), SpecQuery())


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("@1.2", (Between("1.2", "1.2", 2),)),
        ("@1.2:", (Between("1.2", None, 2),)),
        ("@:1.2", (Between(None, "1.2", 2),)),
        ("@1.2:1.4", (Between("1.2", "1.4", 2),)),
        ("@:", (Between(None, None, 2),)),
        ("@=1.2", (Exactly("1.2", 2),)),
        ("@=1.2, 1.4:", (Exactly("1.2", 2), Between("1.4", None, 8))),
        ("@develop", (Between("develop", "develop", 2),)),
        ("@git.main", (GitRef("main", None, 2),)),
        ("@=git.main", (GitRef("main", None, 2),)),
        ("@1,git.main", (Between("1", "1", 2), GitRef("main", None, 4))),
        ("@git.a/b=1.2", (GitRef("a/b", Exactly("1.2", 10), 2),)),
        ("@git.main=1.2:", (GitRef("main", Between("1.2", None, 11), 2),)),
        (f"@{COMMIT}", (GitRef(COMMIT, None, 2),)),
        (f"@git.{COMMIT}=1", (GitRef(COMMIT, Exactly("1", 47), 2),)),
        (f"@={COMMIT}", (GitRef(COMMIT, None, 2),)),
    ],
)
def test_versions(text: str, versions: tuple[Between | Exactly | GitRef, ...]) -> None:
    assert same(parse(text), SpecQuery(versions=versions))


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("+a", Variant("a", True, 1)),
        ("~a", Variant("a", False, 1)),
        ("-a", Variant("a", False, 1)),
        ("+ a.b-c", Variant("a.b-c", True, 1)),
        ("++a", Variant("a", True, 1, propagated=True)),
        ("--a", Variant("a", False, 1, propagated=True)),
        ("k=v", Variant("k", ("v",), 1)),
        ("k=b,a,b", Variant("k", ("b", "a"), 1)),
        ("k:=a,b", Variant("k", ("a", "b"), 1, exact=True)),
        ("k==v", Variant("k", ("v",), 1, propagated=True)),
        ("k:==v", Variant("k", ("v",), 1, exact=True, propagated=True)),
        ("k=*", Variant("k", (), 1)),
        ("k:=*", Variant("k", (), 1)),
        ("k='*'", Variant("k", (), 1)),
        ("k=True", Variant("k", True, 1)),
        ("k:='FALSE'", Variant("k", False, 1)),
        ("k==true", Variant("k", True, 1, propagated=True)),
        ("k=true,x", Variant("k", ("true", "x"), 1)),
        ("k=''", Variant("k", ("",), 1)),
        (r"k='it\'s'", Variant("k", ("it's",), 1)),
        (r'k="a\b"', Variant("k", (r"a\b",), 1)),
        ("k=a=b:c%d^e+f~g/h", Variant("k", ("a=b:c%d^e+f~g/h",), 1)),
    ],
)
def test_variants(text: str, variant: Variant) -> None:
    assert same(parse(text), SpecQuery(variants=(variant,)))


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("platform=linux", SpecQuery(platform=Word("linux", 10))),
        ("platform=*", SpecQuery(platform=Word("*", 10))),
        ("os=rhel8", SpecQuery(os=Word("rhel8", 4))),
        ("operating_system='rhel8'", SpecQuery(os=Word("rhel8", 19))),
        ("target=zen3", SpecQuery(targets=(Word("zen3", 8),))),
        ("target=:zen3,m1:,a:b", SpecQuery(targets=(Word(":zen3", 8), Word("m1:", 14), Word("a:b", 18)))),
        ("target:=*", SpecQuery(targets=(Word("*", 9),))),
        ("arch=zen3", SpecQuery(targets=(Word("zen3", 6),))),
        ("architecture=linux-a-b", SpecQuery(platform=Word("linux", 14), os=Word("a", 20), targets=(Word("b", 22),))),
        ("arch=linux-None-b", SpecQuery(platform=Word("linux", 6), targets=(Word("b", 17),))),
        ("namespace=builtin", SpecQuery(namespace=Word("builtin", 11))),
        ("builtin.mock.zlib", SpecQuery(name=Word("zlib", 14), namespace=Word("builtin.mock", 1))),
        ("cflags='-O3 -g'", SpecQuery(flags=(Flags("cflags", "-O3 -g", 1),))),
        ("ldlibs==-lm", SpecQuery(flags=(Flags("ldlibs", "-lm", 1, propagated=True),))),
    ],
)
def test_reserved_keys_are_not_variants(text: str, spec: SpecQuery) -> None:
    assert same(parse(text), spec)


@pytest.mark.parametrize(
    ("text", "compiler"),
    [
        ("%gcc", Compiler(Word("gcc", 2), 1)),
        ("% gcc@=11", Compiler(Word("gcc", 3), 1, (Exactly("11", 7),))),
        ("%%gcc", Compiler(Word("gcc", 3), 1, propagated=True)),
        ("%c,cxx=gcc@11", Compiler(Word("gcc", 8), 1, (Between("11", "11", 12),), ("c", "cxx"))),
        ("%[virtuals=c,cxx] gcc", Compiler(Word("gcc", 19), 1, (), ("c", "cxx"))),
        ("%[virtuals=c] cxx=gcc", Compiler(Word("gcc", 19), 1, (), ("c", "cxx"))),
        ("%[deptypes=build] gcc", Compiler(Word("gcc", 19), 1, attributes=(Word("deptypes=build", 3),))),
        ("%builtin.gcc", Compiler(Word("gcc", 10), 1, namespace=Word("builtin", 2))),
        ("%clang", Compiler(Word("llvm", 2), 1)),
        ("%oneapi@2024", Compiler(Word("intel-oneapi-compilers", 2), 1, (Between("2024", "2024", 9),))),
        ("%c=intel", Compiler(Word("intel-oneapi-compilers-classic", 4), 1, (), ("c",))),
        ("%rocmcc", Compiler(Word("llvm-amdgpu", 2), 1)),
        ("%arm", Compiler(Word("acfl", 2), 1)),
        ("%apple-clang", Compiler(Word("apple-clang", 2), 1)),
    ],
)
def test_compilers_get_their_current_names(text: str, compiler: Compiler) -> None:
    assert same(parse(text), SpecQuery(compilers=(compiler,)))


def test_conditions_after_a_compiler_belong_to_the_package() -> None:
    spec = parse("cmake %gcc@11 +ncurses target=x")
    assert spec.variants == (Variant("ncurses", True, 15),)
    assert spec.targets == (Word("x", 31),)
    assert spec.tail == (Word("+ncurses", 15), Word("target=x", 24))
    assert parse("cmake +ncurses target=x %gcc@11").tail == ()


def test_a_dependency_ends_the_root() -> None:
    spec = parse("hdf5 ^zlib@1.2 +pic %gcc ~x ^mpi=openmpi ^[deptypes=link] +y %clang")
    assert same(spec._replace(dependencies=()), SpecQuery(name=Word("hdf5", 1)))
    zlib = SpecQuery(
        name=Word("zlib", 7),
        versions=(Between("1.2", "1.2", 12),),
        variants=(Variant("pic", True, 16), Variant("x", False, 26)),
        compilers=(Compiler(Word("gcc", 22), 21),),
        tail=(Word("~x", 26),),
    )
    last = SpecQuery(variants=(Variant("y", True, 59),), compilers=(Compiler(Word("llvm", 63), 62),))
    dependencies = (
        Dependency(zlib, 6),
        Dependency(SpecQuery(name=Word("openmpi", 34)), 29, ("mpi",)),
        Dependency(last, 42, (), (Word("deptypes=link", 44),)),
    )
    assert same(spec.dependencies, dependencies)


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("hdf5 zlib", 6, "zlib would be a second package; expected conditions on hdf5"),
        ("hdf5 *", 6, "a second package"),
        ("+mpi hdf5", 6, "expected the package hdf5 at the beginning"),
        ("hdf5 %gcc zlib", 11, "a second package"),
        ("hdf5 ^zlib png", 12, "a second package; expected conditions on zlib"),
        ("hdf5@1@2", 7, "a second version"),
        ("@3:1", 2, "the range is empty"),
        ("@2:1", 2, "the range is empty"),
        ("@1,3:1", 4, "the range is empty"),
        ("%gcc@3:1", 6, "the range is empty"),
        ("@git.main=3:1", 11, "the range is empty"),
        ("@=a:b", 2, "=a can't be the end of a range"),
        ("@a:=b", 2, "=b can't be the end of a range"),
        ("@1:git.main", 2, "git.main can't be the end of a range"),
        ("hdf5+a~a", 7, "the variant a was given before"),
        ("+a a=true", 4, "the variant a was given before"),
        ("k=a k=b", 5, "the variant k was given before"),
        ("k=a,,b", 5, "expected a value of k between commas"),
        ("k=a,", 5, "expected a value of k between commas"),
        ("k=a,*", 3, "can't be one of several"),
        ("k=a\\", 3, "backslash"),
        ("k==", 4, "expected a value of k after =="),
        ("os=a operating_system=b", 23, "a second os"),
        ("arch=linux-a-b os=c", 19, "a second os"),
        ("target=a arch=b", 15, "a second target"),
        ("platform=a platform=b", 21, "a second platform"),
        ("os=a,b", 4, "'a,b' is not a valid os"),
        ("os=rhel8%gcc", 4, "'rhel8%gcc' is not a valid os"),
        ("target=zen3+mpi", 8, r"'zen3\+mpi' is not a target"),
        ("os=None", 4, "'None' is not a valid os"),
        ("platform='a b'", 11, "'a b' is not a valid platform"),
        ("target=a,,b", 10, "'' is not a target"),
        ("target=''", 9, "'' is not a target"),
        ("target=a:b:c", 8, "'a:b:c' is not a target"),
        ("arch=linux-a-b-c", 6, "'linux-a-b-c' is not a target; .* platform-os-target after arch="),
        ("target==a", 1, "target has no meaning for dependencies"),
        ("patches==a", 1, "patches has no meaning for dependencies"),
        ("+target", 1, "target is not a switch; expected target=VALUE"),
        ("~operating_system", 1, "is not a switch"),
        ("+cflags", 1, "is not a switch"),
        ("cflags=a cflags=b", 10, "cflags was given before"),
        ("namespace=a namespace=b", 23, "a second namespace"),
        ("a.b namespace=c", 15, "a second namespace"),
        ("namespace='a b'", 12, "is not a namespace"),
        ("namespace=a.", 11, "is not a namespace"),
        ("/a /b", 4, "a second hash"),
        ("/" + "a" * 33, 34, "at most 32 characters"),
        ("hdf5 %", 7, "expected the name of a compiler after %"),
        ("hdf5 %@11", 7, "expected the name of a compiler after %"),
        ("%*", 2, "expected the name of a compiler after %"),
        ("%%+x", 3, "expected the name of a compiler after %%"),
        ("%gcc %gcc@11", 6, "a second %gcc"),
        ("%clang %llvm", 8, "a second %llvm"),
        ("%c=gcc %c,cxx=gcc", 8, "a second %gcc"),
        ("hdf5 ^", 7, "expected a package after \\^"),
        ("hdf5 ^ ^zlib", 8, "expected a package after \\^"),
        ("%[virtuals=c", 13, "expected \\] after"),
        ("%[+x] gcc", 3, "expected virtuals="),
        ("%[x=y] gcc", 3, "expected virtuals="),
        ("%[virtuals==c] gcc", 3, "expected virtuals="),
        ("%[virtuals=c,d=e] gcc", 14, "'d=e' is not a virtual package"),
        ("%[virtuals=c,] gcc", 14, "'' is not a virtual package"),
        ("hdf5 ]", 6, "\\] closes nothing"),
        ("./spec.json", 1, "is a file"),
        ("hdf5 a/b.yaml", 6, "is a file"),
        ("hdf5 /ab !", 10, "unexpected '!'"),
    ],
)
def test_an_error_names_the_character(text: str, at: int, message: str) -> None:
    with pytest.raises(QueryError, match=f"^character {at} of the query: .*{message}") as caught:
        parse(text)
    assert caught.value.at == at


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (" ".join(f"+v{number:02}" for number in range(65)), 64 * 5 + 1),
        ("x" + "".join(f"+v{number:02}" for number in range(64)), 63 * 4 + 2),
        ("@" + ",".join("1" for _ in range(65)), 64 * 2 + 2),
        ("k=" + ",".join(f"{number:02}" for number in range(65)), 64 * 3 + 3),
        ("target=" + ",".join("a" for _ in range(65)), 64 * 2 + 8),
        (" ".join(f"^v{number:02}" for number in range(65)), 64 * 5 + 2),
    ],
)
def test_more_than_64_conditions_are_refused(text: str, at: int) -> None:
    with pytest.raises(QueryError, match="at most 64 conditions") as caught:
        parse(text)
    assert caught.value.at == at

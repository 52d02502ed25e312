"""Spack's query language is split into tokens."""

import pytest

from cachesync.errors import QueryError
from cachesync.search.lexer import Kind, tokens


def kinds(text: str) -> list[tuple[str, str]]:
    return [(token.kind.value, token.text) for token in tokens(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t\n", []),
        ("hdf5", [("name", "hdf5")]),
        ("_x-Y9", [("name", "_x-Y9")]),
        ("*", [("name", "*")]),
        ("builtin.zlib", [("dotted_name", "builtin.zlib")]),
        ("zlib-pic", [("name", "zlib-pic")]),
        ("zlib -pic", [("name", "zlib"), ("switch", "-pic")]),
        ("zlib - pic", [("name", "zlib"), ("switch", "- pic")]),
        ("+a~b", [("switch", "+a"), ("switch", "~b")]),
        ("++a~~b --c", [("propagated_switch", "++a"), ("propagated_switch", "~~b"), ("propagated_switch", "--c")]),
        ("@1.2", [("versions", "@1.2")]),
        ("@ 1.2 , 1.3:,:4, =5", [("versions", "@ 1.2 , 1.3:,:4, =5")]),
        ("@:", [("versions", "@:")]),
        ("@1.2:1.4+mpi", [("versions", "@1.2:1.4"), ("switch", "+mpi")]),
        ("@1.2:target=x", [("versions", "@1.2:"), ("key", "target=x")]),
        ("@1.2:build-type=x", [("versions", "@1.2:"), ("key", "build-type=x")]),
        ("@1.2:k:=x", [("versions", "@1.2:"), ("key", "k:=x")]),
        ("@1.2-mpi", [("versions", "@1.2-mpi")]),
        ("@1.2- mpi", [("versions", "@1.2"), ("switch", "- mpi")]),
        ("@git.main", [("git_version", "@git.main")]),
        ("@git.feature/x-1=1.2", [("git_version", "@git.feature/x-1=1.2")]),
        ("@git.main=1.2:1.4", [("git_version", "@git.main=1.2:1.4")]),
        ("@git.main=1.2:os=x", [("git_version", "@git.main=1.2:"), ("key", "os=x")]),
        (f"@{'ab' * 20}=1.2", [("git_version", f"@{'ab' * 20}=1.2")]),
        (f"@{'ab' * 20}-mpi", [("git_version", f"@{'ab' * 20}"), ("switch", "-mpi")]),
        (f"@{'9' * 41}", [("versions", f"@{'9' * 41}")]),
        ("k=v", [("key", "k=v")]),
        ("k:=a,b", [("key", "k:=a,b")]),
        ("k==v", [("propagated_key", "k==v")]),
        ("k:==v", [("propagated_key", "k:==v")]),
        ("k=*", [("key", "k=*")]),
        (r"k=a,:=%^+~/\*b", [("key", r"k=a,:=%^+~/\*b")]),
        ("k=a@1", [("key", "k=a"), ("versions", "@1")]),
        ("k='a b'+c", [("key", "k='a b'"), ("switch", "+c")]),
        (r"k='it\'s'", [("key", r"k='it\'s'")]),
        (r'k="a\"b\c" l=x', [("key", r'k="a\"b\c"'), ("key", "l=x")]),
        ("k=''", [("key", "k=''")]),
        ("/abc", [("hash", "/abc")]),
        ("hdf5/abc", [("name", "hdf5"), ("hash", "/abc")]),
        ("%gcc", [("dependency", "%"), ("name", "gcc")]),
        ("% gcc@11", [("dependency", "%"), ("name", "gcc"), ("versions", "@11")]),
        ("%%gcc", [("dependency", "%%"), ("name", "gcc")]),
        ("%c,cxx=gcc@11", [("dependency", "%c,cxx=gcc"), ("versions", "@11")]),
        ("^ mpi=openmpi", [("dependency", "^ mpi=openmpi")]),
        ("%gcc target=x", [("dependency", "%"), ("name", "gcc"), ("key", "target=x")]),
        (
            "%[virtuals=c] gcc",
            [("edge_start", "%["), ("key", "virtuals=c"), ("edge_end", "]"), ("name", "gcc")],
        ),
        ("^[when=x] c=gcc", [("edge_start", "^["), ("key", "when=x"), ("edge_end", "] c=gcc")]),
        ("a/b.json", [("file", "a/b.json")]),
        ("./x.yaml", [("file", "./x.yaml")]),
        ("hdf5\xa0+mpi", [("name", "hdf5"), ("switch", "+mpi")]),
    ],
)
def test_the_first_pattern_that_matches_is_used(text: str, expected: list[tuple[str, str]]) -> None:
    assert kinds(text) == expected


def test_a_token_has_its_position() -> None:
    assert list(tokens("hdf5  @1.2 +mpi")) == [
        (Kind.NAME, "hdf5", 1),
        (Kind.VERSIONS, "@1.2", 7),
        (Kind.SWITCH, "+mpi", 12),
    ]
    assert [token.end for token in tokens("hdf5  @1.2")] == [5, 11]


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("hdf5@", 5, "expected a version after @"),
        ("hdf5 @+mpi", 6, "expected a version after @"),
        ("hdf5 +", 6, r"expected the name of a variant after \+"),
        ("hdf5 ~=", 6, "expected the name of a variant after ~"),
        ("hdf5 -", 6, "expected the name of a variant after -"),
        ("hdf5 /", 6, "expected the beginning of a hash after /"),
        ("k=", 2, "expected KEY=VALUE without spaces"),
        ("k = v", 3, "expected KEY=VALUE without spaces"),
        ("@git.main==1.2", 10, "expected KEY=VALUE without spaces"),
        ("k='a b", 2, "expected a closing ' after the value"),
        ('k="a b\\"', 2, 'expected a closing " after the value'),
        ("@1.2 : 1.4", 6, "expected ranges after @ or target= and without spaces"),
        ("a, b", 2, "expected lists after @ or ="),
        ("target<=zen3", 7, "expected a range of targets as target=:zen3"),
        ("target>=zen3", 7, "expected a range of targets as target=zen3:"),
        ("% [virtuals=c] gcc", 3, r"expected \[ right after"),
        ("'hdf5'", 1, "expected quotes right after ="),
        ("hdf5 é", 6, "expected a name, @version"),
        ("k='\udce9'", 4, "UTF-8"),
        ("x" * 1001, 1001, "at most 1,000 characters, not 1,001"),
    ],
)
def test_an_unexpected_character_is_named(text: str, at: int, message: str) -> None:
    with pytest.raises(QueryError, match=f"character {at} of the query: .*{message}") as caught:
        list(tokens(text))
    assert caught.value.at == at


def test_tokens_before_an_error_are_yielded() -> None:
    assert next(tokens("hdf5 !")) == (Kind.NAME, "hdf5", 1)

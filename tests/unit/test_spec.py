"""Specs are written as Spack writes them."""

import pytest

from cachesync.search.parser import parse
from cachesync.search.spec import canonical

COMMIT = "0123456789abcdefABCD" * 2


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", "*"),
        ("*", "*"),
        ("@:", "*"),
        ("hdf5 @:", "hdf5"),
        ("hdf5 @1.2:1.2", "hdf5@1.2"),
        ("hdf5 @ 1.2 , :1.4,2:,=5", "hdf5@1.2,:1.4,2:,=5"),
        ("@git.a/b=1.2 +x", "@git.a/b=1.2+x"),
        ("@git.a=1.2:1.2", "@git.a=1.2:1.2"),
        ("@git.git.a", "@git.git.a"),
        ("@1,git.a", "@1,=git.a"),
        ("@=git.a,1", "@=git.a,1"),
        (f"@git.{COMMIT}", f"@{COMMIT}"),
        ("hdf5 /abc", "hdf5/abc"),
        ("hdf5 +mpi /abc", "hdf5+mpi /abc"),
        ("/abc target=zen3", "target=zen3 /abc"),
        ("x k=v -b --a ++d +c", "x~~a~b+c++d k=v"),
        ("k=true l:=FALSE m==true", "+k~l++m"),
        ("l=b,a k:=c k2==d j=*", "j=* k:=c k2==d l=b,a"),
        ("k=c++", "k='c++'"),
        ('k="it\'s"', 'k="it\'s"'),
        (r"""k="it's \"so\"" """, r"""k='it\'s "so"'"""),
        ("k='=a'", "k='=a'"),
        ("k=''", "k=''"),
        ("arch=linux-rhel8-:zen3,m1 x=y", "x=y platform=linux os=rhel8 target=:zen3,m1"),
        ("cflags='-O3 -g' ldlibs==a", "cflags='-O3 -g' ldlibs==a"),
        ("namespace=builtin", "namespace=builtin"),
        ("zlib namespace=builtin", "builtin.zlib"),
        ("cmake %gcc@11 +ncurses target=x", "cmake+ncurses target=x %gcc@11"),
        ("hdf5 %clang@:", "hdf5 %llvm"),
        ("%[virtuals=c,cxx] gcc %% fortran=builtin.gcc@12", "%c,cxx=gcc %%fortran=builtin.gcc@12"),
        ("%[virtuals=c deptypes=build] gcc", "%[deptypes=build virtuals=c] gcc"),
        ("hdf5 ^/ab os=x", "hdf5 ^* os=x /ab"),
        ("hdf5 ^zlib %gcc +pic ^mpi=openmpi /ab", "hdf5 ^zlib+pic %gcc ^mpi=openmpi/ab"),
    ],
)
def test_the_canonical_form_has_the_same_conditions(typed: str, expected: str) -> None:
    assert canonical(parse(typed)) == expected
    assert canonical(parse(expected)) == expected

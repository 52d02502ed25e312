"""Variants: from the notation of pages to the values that queries ask for."""

import pytest

from cachesync.pages.variants import variants


@pytest.mark.parametrize(
    ("written", "name", "values"),
    [
        ("+mpi", "mpi", ["+mpi"]),
        ("~mpi", "mpi", ["~mpi"]),
        ("~a-b-c", "a-b-c", ["~a-b-c"]),
        ("build_type=Release", "build_type", ["build_type=Release"]),
        ("amdgpu_target:=gfx90a", "amdgpu_target", ["amdgpu_target=gfx90a"]),
        ("build_type='dm+sm'", "build_type", ["build_type=dm+sm"]),
        ("languages='c,c++'", "languages", ["languages=c", "languages=c++", "languages:=*", "languages:=c,c++"]),
        ("languages:='c++,c'", "languages", ["languages=c++", "languages=c", "languages:=*", "languages:=c,c++"]),
        ('fabrics="ucx,ofi"', "fabrics", ["fabrics=ucx", "fabrics=ofi", "fabrics:=*", "fabrics:=ofi,ucx"]),
        ("patches:=ad23cca,b56ee82", "patches", ["patches=ad23cca", "patches=b56ee82", "patches:=*", "patches:=ad23cca,b56ee82"]),
        ("cuda_arch=70,70", "cuda_arch", ["cuda_arch=70"]),
        ("flag=a=b", "flag", ["flag=a=b"]),
        ("x=True", "x", ["+x"]),
        ("x=false", "x", ["~x"]),
        ("x=", "x", ["x="]),
        ("x='", "x", ["x='"]),
        ("odd", "odd", []),
        ("", "", []),
    ],
)  # fmt: skip
def test_a_variant_is_split_into_searchable_values(written: str, name: str, values: list[str]) -> None:
    assert variants([written]) == ([name], values)


def test_variants_keep_their_order() -> None:
    assert variants(["~shared", "build_system=cmake", "+mpi"]) == (
        ["shared", "build_system", "mpi"],
        ["~shared", "build_system=cmake", "+mpi"],
    )

"""Spec strings of 2021 and 2022."""

import pytest

from cachesync.pages.spec import Spec
from cachesync.pages.specstring import parse


def spec(
    version: str, compiler: str | None, platform: str | None, os: str | None, target: str | None, *variants: str
) -> Spec:
    return Spec(versions=[version], compiler=compiler, platform=platform, os=os, target=target, variants=list(variants))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "bzip2@1.0.8%gcc@7.5.0~debug~pic+shared arch=linux-ubuntu18.04-x86_64 ^zlib@1.2.12%gcc@7.5.0+pic",
            spec("1.0.8", "gcc@7.5.0", "linux", "ubuntu18.04", "x86_64", "~debug", "~pic", "+shared"),
        ),
        (
            "libiconv@1.16%gcc@7.5.0 libs=shared,static patches=0d38234 arch=linux-ubuntu18.04-x86_64",
            spec("1.16", "gcc@7.5.0", "linux", "ubuntu18.04", "x86_64", "libs=shared,static", "patches=0d38234"),
        ),
        (
            "gcc@=3.1-20210216 languages='c,c++ x' -shared+strip-all target=zen3 os=rhel8",
            spec("3.1-20210216", None, None, "rhel8", "zen3", "languages='c,c++ x'", "~shared", "+strip-all"),
        ),
        (
            "a@1 cflags='-O2 ^x' arch=linux-rhel8-zen3  ^b@2",
            spec("1", None, "linux", "rhel8", "zen3", "cflags='-O2 ^x'"),
        ),
        ("tree-sitter@tr6_forwards", spec("tr6_forwards", None, None, None, None)),
    ],
)
def test_the_root_node_is_parsed(text: str, expected: Spec) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "package's name at character 1"),
        ("@1.2", "package's name at character 1"),
        ("zlib", "expected @version"),
        ("zlib@1.2 !", "at character 9"),
        ("zlib@1.2 word", "at character 9"),
        ("a@1@2", "expected one version, found another at character 4"),
        ("a@1%gcc@9%clang@1", "expected one compiler"),
    ],
)
def test_errors_name_the_character(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(text)

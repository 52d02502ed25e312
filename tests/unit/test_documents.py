"""Documents, field by field."""

import json
from typing import Any

import pytest

from cachesync.documents import FIELDS, MAX_ID_BYTES, document_id, key_of, render, summary
from cachesync.pages.page import Page, Problem, parse
from tests.support.pages import entry, page, path_of


def parsed(data: bytes, path: str) -> Page:
    found = parse(path, data)
    assert isinstance(found, Page)
    return found


def document(path: str = path_of(), tag: str = "develop", title: str = "zlib", **fields: Any) -> dict[str, Any]:
    rendered = render(parsed(page(entry(**fields), title=title, tag=tag), path))
    assert isinstance(rendered, dict)
    (source,) = rendered.values()
    found: dict[str, Any] = json.loads(source)
    return found


def test_every_field_of_a_document() -> None:
    assert document(
        path=path_of("py-pip", "develop-2025-03-23"),
        tag="develop-2025-03-23",
        title="py-pip",
        hash="554nvxw24d22xyhfydntkfwwd4earawr",
        versions=["24.3.1"],
        compiler="gcc@=11.4.0",
        variants=["build_system=generic"],
        size=4711,
    ) == {
        "package": "py-pip",
        "tag": "develop-2025-03-23",
        "tag_date": "2025-03-23",
        "version": "24.3.1",
        "version_key": "2b242a32a10z",
        "compiler": "gcc@11.4.0",
        "compiler_name": "gcc",
        "compiler_version": "11.4.0",
        "compiler_version_key": "2b112a42a00z",
        "hash": "554nvxw24d22xyhfydntkfwwd4earawr",
        "short_hash": "554nvxw",
        "binary": "554nvxw24d22xyhfydntkfwwd4earawr",
        "binary_number": 71702546068923,
        "os": "ubuntu22.04",
        "platform": "linux",
        "target": "x86_64_v3",
        "stacks": ["e4s", "root"],
        "variants": ["build_system=generic"],
        "variant_names": ["build_system"],
        "variant_values": ["build_system=generic"],
        "size": 4711,
        "spec": "py-pip@24.3.1 build_system=generic arch=linux-ubuntu22.04-x86_64_v3 %gcc@11.4.0",
        "page": "_cache/develop-2025-03-23/py-pip/specs.md",
    }


def test_missing_values_are_left_out() -> None:
    found = document(compiler=None, os=None, platform=None, target=None, size=None, variants=None, stacks=None)
    values = {
        "binary",
        "binary_number",
        "hash",
        "package",
        "page",
        "short_hash",
        "spec",
        "tag",
        "version",
        "version_key",
    }
    assert set(found) == values | {"stacks", "variants", "variant_names", "variant_values"}
    assert found["spec"] == "zlib@1.2.3"


@pytest.mark.parametrize(
    ("written", "compiler", "name", "version"),
    [
        ("gcc@=11.4.0", "gcc@11.4.0", "gcc", "11.4.0"),
        ("oneapi@2024.2.1", "oneapi@2024.2.1", "intel-oneapi-compilers", "2024.2.1"),
        ("clang@17", "clang@17", "llvm", "17"),
        ("intel@2021", "intel@2021", "intel-oneapi-compilers-classic", "2021"),
        ("rocmcc@6", "rocmcc@6", "llvm-amdgpu", "6"),
        ("arm@22", "arm@22", "acfl", "22"),
        ("gcc", "gcc", "gcc", None),
        ("none", "none", None, None),
    ],
)
def test_compilers(written: str, compiler: str, name: str | None, version: str | None) -> None:
    found = document(compiler=written)
    assert found["compiler"] == compiler
    assert found.get("compiler_name") == name
    assert found.get("compiler_version") == version
    assert ("compiler_version_key" in found) == (version is not None)
    assert (f"%{compiler}" in found["spec"]) == (name is not None)


def test_the_spec_has_switches_first_as_spack_prints_it() -> None:
    found = document(variants=["+binutils", "build_type=Release", "languages='c,c++'", "~mold", "patches:=1,2"])
    assert found["spec"].startswith("zlib@1.2.3+binutils~mold build_type=Release languages='c,c++' patches:=1,2 arch=")
    assert found["variants"] == ["+binutils", "build_type=Release", "languages='c,c++'", "~mold", "patches:=1,2"]


@pytest.mark.parametrize(
    ("tag", "date"),
    [
        ("develop-2025-03-23", "2025-03-23"),
        ("2025-03-23", "2025-03-23"),
        ("develop", None),
        ("v0.22.4", None),
        ("develop-2025-13-40", None),
        ("x2025-03-23", None),
    ],
)
def test_the_date_of_a_tag(tag: str, date: str | None) -> None:
    assert document(tag=tag).get("tag_date") == date


def test_ids_belong_to_one_page() -> None:
    id = document_id(path_of("py-pip", "v1"), "abc")
    assert id == "v1/py-pip/abc"
    assert key_of(path_of("py-pip", "v1"), id) == "abc"


def test_an_id_that_is_too_long_is_a_problem() -> None:
    room = MAX_ID_BYTES - len("develop/zlib/")
    assert isinstance(render(parsed(page(entry("a" * room)), path_of())), dict)
    for key in ("a" * (room + 1), "é" * (room // 2 + 1)):
        found = render(parsed(page(entry(key)), path_of()))
        assert isinstance(found, Problem)
        assert "over 512 bytes" in found.message
        assert len(found.message) < 300


def test_a_value_longer_than_a_term_is_a_problem() -> None:
    assert isinstance(render(parsed(page(entry(variants=["x" * 32_766])), path_of())), dict)
    found = render(parsed(page(entry(variants=["+a", "é" * 16_384])), path_of()))
    assert isinstance(found, Problem)
    assert found.message == "variants of aaaa: expected values of at most 32,766 bytes"


def test_the_same_page_gives_the_same_bytes() -> None:
    assert render(parsed(page(entry()), path_of())) == render(parsed(page(entry()) + b"\nbody", path_of()))


def test_the_summary_of_a_page() -> None:
    found = summary(
        parsed(
            page(
                entry("a", versions=["1.10"], compiler="gcc@=9", stacks=["b", "a"]),
                entry("b", versions=["1.9"], compiler="none", stacks=[]),
                entry("c", versions=["1.9"], compiler=None),
            ),
            path_of(),
        )
    )
    assert found == (["1.9", "1.10"], ["gcc@9", "none"], ["a", "b", "e4s", "root"])


def test_every_field_is_in_the_table() -> None:
    assert set(document(tag="a-2025-03-23", size=1, versions=["git.main=1.2"])) == set(FIELDS)
    lists = {"stacks", "variants", "variant_names", "variant_values"}
    assert {name for name, field in FIELDS.items() if field.many} == lists
    assert FIELDS["version"].order_by == "version_key"
    assert FIELDS["package"].words

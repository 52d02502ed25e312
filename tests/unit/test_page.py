"""Parsing of valid and broken pages."""

import json

import pytest

from cachesync.pages.page import MAX_SIZE, Page, Problem, identity, parse, parse_fast, parse_safely
from cachesync.pages.spec import Spec
from examples.pages import big_page
from examples.pages import page as example_page
from tests.support.pages import entry, page, path_of, raw_page
from tests.support.shared import REAL_PAGES, needs_real_pages

PATH = path_of()


def good(data: bytes, path: str = PATH) -> Page:
    found = parse(path, data)
    assert isinstance(found, Page), found
    return found


def bad(data: bytes) -> Problem:
    found = parse(PATH, data)
    assert isinstance(found, Problem), found
    return found


def test_each_entry_is_a_spec_under_its_hash() -> None:
    found = good(page(entry("aa"), entry("bb", size=17, compiler=None)))
    assert (found.path, found.package, found.tag) == (PATH, "zlib", "develop")
    assert list(found.specs) == ["aa", "bb"]
    assert found.specs["bb"] == Spec(
        hash="bb",
        versions=["1.2.3"],
        compiler=None,
        os="ubuntu22.04",
        platform="linux",
        target="x86_64_v3",
        variants=["+mpi", "build_system=cmake"],
        stacks=["e4s", "root"],
        size=17,
    )


def test_usual_pages_use_the_fast_parser() -> None:
    assert parse_fast(PATH, big_page(count=5))
    assert parse_fast(PATH, page(entry()))
    assert parse_fast(PATH, example_page("zlib", "v0.18", [entry("x"), entry("y", versions=["2"])], shape="C"))


def reversed_keys(data: bytes) -> bytes:
    first, *keys, last = data.split(b"\n")
    return b"\n".join([first, *reversed(keys), last])


AROUND: dict[str, bytes] = {
    "a line break after": page(entry()) + b"\n",
    "a body": page(entry()) + b"\n\nA body.\n--- \nspec_details: []\n",
    "a BOM": b"\xef\xbb\xbf" + page(entry()),
    "CRLF": page(entry()).replace(b"\n", b"\r\n"),
    "CRLF and a body": page(entry()).replace(b"\n", b"\r\n") + b"\r\n\r\nbody\r\n",
    "spaces after the marks": b"---  " + page(entry())[3:] + b"\t \n",
    "a comment after a value": page(entry()).replace(b"layout: cache", b"layout: cache # a comment"),
    "comments after JSON": page(entry()).replace(b"}\n", b"} # a comment: {\n").replace(b"]\n---", b"]  # b\n---"),
    "spaces after JSON": page(entry()).replace(b"]\n---", b"] \t \n---"),
    "a comment and a blank line": page(entry()).replace(b"layout: cache\n", b"# a comment\n\n"),
    "a comment with a mark": page(entry()).replace(b"layout: cache\n", b"# --- spec_details: []\n"),
    "other keys": page(entry()).replace(b"layout: cache", b"other: {a: [1, 2]}\nmore:\n  - x: |\n      meta: {}\n    y: 1"),
    "anchors and aliases": page(entry()).replace(b"layout: cache", b"a: &a {b: c}\nd: {<<: *a}\ne: *a"),
    "two blank lines at the end": page(entry()).replace(b"\n---", b"\n\n \n---   "),
    "a blank line at the beginning": b"---\n" + page(entry())[3:],
    "dots": page(entry()).replace(b"\n---", b"\n..."),
    "a title without quotes": page(entry()).replace(b'"zlib"', b"zlib"),
    "a title in single quotes": page(entry()).replace(b'"zlib"', b"'zlib'"),
    "a title in escapes": page(entry()).replace(b'"zlib"', b'"\\u007a\\u006Cib"'),
    "no tag": page(entry()).replace(b"[package, develop]", b"[package]"),
    "a list over lines": page(entry()).replace(b"[package, develop]", b"\n  - package\n  - develop"),
    "category": page(entry()).replace(b"categories: [package, develop]", b"category: package"),
    "keys in another order": reversed_keys(page(entry())),
    "no meta": page(entry()).replace(b'meta: {"num_specs": 1}\n', b""),
    "another meta": page(entry()).replace(b'{"num_specs": 1}', b'{"by": {"e4s": 1, "root": 1}, "oss": ["a", "b"]}'),
    "meta in YAML": page(entry()).replace(b'{"num_specs": 1}', b"\n  num_specs: 1"),
    "non-ASCII around": page(entry()).replace(b"layout: cache", "läyout: é😀".encode()),
    "non-ASCII in what isn't read": page(entry(tarball="é😀")).replace(b"num_specs", "nüm".encode()),
    "without spaces": raw_page(json.dumps([entry()], separators=(",", ":"))),
    "many spaces": page(entry()).replace(b'", ', b'" ,   ').replace(b"details: ", b"details:     "),
    "a slash in an escape": page(entry(tarball="https://x")).replace(b"//", b"\\/\\/"),
    "an entry twice": page(entry(), entry()),
    "tarballs": page(entry(tarball="https://example.org/x")),
    "other keys in entries": page(entry(tarball=["x"], external={"a": [{"b": [1]}], "c": None}, built=True)),
}  # fmt: skip


@pytest.mark.parametrize("shape", AROUND)
def test_yaml_around_one_line_json_does_not_prevent_the_fast_parser(shape: str) -> None:
    assert good(AROUND[shape]) == good(page(entry())) == parse_fast(PATH, AROUND[shape])


@pytest.mark.parametrize(
    "entries",
    [
        [entry("a", stacks=[]), entry("b", variants=[])],
        [entry("a", size=None, compiler=None), entry("b", os=None, variants=None)],
        [entry("a", size=7), entry("b", size="8")],
        [entry("a", os="é", variants=["+é", "x='\"'", "a\\b", "c=  d "]), entry("b", stacks=["😀"])],
        [],
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("more", [{}, {"tarball": "x"}])
def test_all_valid_json_entries_use_the_fast_parser(
    entries: list[dict[str, object]], ascii_only: bool, more: dict[str, str]
) -> None:
    data = raw_page(json.dumps([{**each, **more} for each in entries], ensure_ascii=ascii_only))
    assert parse_fast(PATH, data) == parse_safely(PATH, data)


IN_DOUBT: dict[str, bytes] = {
    "in a block": b"---\n|\ntitle: x\nspec_details: []\n---",
    "in a string over lines": raw_page('[]\n"').replace(b"layout: cache\n", b'x: "a\nspec_details: [1]\n", y: "\n'),
    "in a mapping in braces": b'---\ntitle: "zlib"\nx: {\nspec_details: []\n}\n---',
    "a list of lines in braces": b"---\n{title: x,\nspec_names:\n - 'a@1'\n}\n---",
    "below the real one": b'---\ntitle: "zlib"\nx: 1\rz: 1\rspec_details: []\ny: \'\nspec_details: [{"hash": "a", "versions": ["1"]}]\n\'\n---',
    "after other line breaks": (
        b"---\ntitle: x\nx: 1\xc2\x85z: 1\xe2\x80\xa8spec_details: []\n"
        b"y: '\nspec_details: [{\"hash\": \"a\", \"versions\": [\"1\"]}]\n'\n---"
    ),
    "beside spec_names": b"---\ntitle: x\nspec_names:\n - 'a@1'\nspec_details:\n- {hash: a, versions: [1]}\n---",
    "on two lines": page(entry("a"), entry("b")).replace(b"}, {", b"},\n {"),
    "with a tag": page(entry()).replace(b"spec_details: ", b"spec_details: !!seq "),
    "with an anchor": page(entry()).replace(b"spec_details: ", b"spec_details: &a "),
    "a tab": page(entry()).replace(b'", ', b'",\t'),
    "a lone CR": page(entry()).replace(b'", ', b'",\r'),
    "a DEL": raw_page(json.dumps([entry(tarball="\x7f")], ensure_ascii=False)),
    "a next line": raw_page(json.dumps([entry(tarball="a\x85b")], ensure_ascii=False)),
    "a separator": raw_page(json.dumps([entry(tarball="a\u2028b")], ensure_ascii=False)),
    "a BOM inside": raw_page(json.dumps([entry(tarball="a\ufeffb")], ensure_ascii=False)),
    "a key over 1,024 characters": page(entry(**{"a" * 1_025: "b"})),
    "a key of 1,026 in escapes": raw_page(json.dumps([entry()]).replace('"os"', '"' + "\\u0061" * 171 + '": 1, "os"')),
    "a colon far after its key": page(entry()).replace(b'"os":', b'"os"' + b" " * 1_024 + b":"),
    "nested deeper than YAML may be": raw_page(json.dumps([entry()])[:-2] + ', "x": ' + "[" * 62 + "]" * 62 + "}]"),
    "a number with a fraction": raw_page('[{"hash": "a", "versions": [1.10]}]'),
    "half a surrogate pair in meta": page(entry()).replace(b'"num_specs"', b'"\\ud83d"'),
    "text after JSON": page(entry()).replace(b"]\n---", b"] x\n---"),
    "a colon after JSON": page(entry()).replace(b"]\n---", b"]: x\n---"),
    "a comment without a space": page(entry()).replace(b"]\n---", b"]#x\n---"),
    "a continued value": page(entry()).replace(b"]\n---", b"]\n  x\n---"),
    "a directive": page(entry()).replace(b"layout: cache", b"%YAML 1.1"),
    "a second document": page(entry()).replace(b"layout: cache", b"--- x"),
    "an undefined alias": page(entry()).replace(b"layout: cache", b"x: *a"),
}  # fmt: skip


@pytest.mark.parametrize("shape", IN_DOUBT)
def test_the_fast_parser_leaves_doubtful_pages_to_yaml(shape: str) -> None:
    assert parse_fast(PATH, IN_DOUBT[shape]) is None
    parse(PATH, IN_DOUBT[shape])


def test_handwritten_yaml_is_the_same_as_json() -> None:
    by_hand = b"""---
title: zlib
categories: [package, develop]
spec_details:
  - hash: aaaa
    versions: [1.10]
    compiler: gcc@=11.4.0
    os: ubuntu22.04
    platform: linux
    target: x86_64
    variants: [+mpi, 'build_system=cmake']
    stacks: []
    size: "-"
  - {hash: 1234, versions: ["2"], size: 0017}
---
"""
    by_generator = page(
        entry("aaaa", versions=["1.10"], compiler="gcc@=11.4.0", target="x86_64", stacks=[]),
        {"hash": "1234", "versions": ["2"], "size": 17},
    )
    assert good(by_hand) == good(by_generator)


def test_numbers_in_json_keep_their_text() -> None:
    found = good(raw_page('[{"hash": "a", "versions": [1.10], "os": 7, "size": 3}]'))
    assert found.specs["a"] == Spec(hash="a", versions=["1.10"], os="7", size=3)


def test_the_key_of_a_spec_string_is_a_digest() -> None:
    found = good(example_page("zlib", "v0.18", [entry("x"), entry("y", versions=["2"])], shape="C"))
    assert [spec.hash for spec in found.specs.values()] == [None, None]
    assert [spec.versions for spec in found.specs.values()] == [["1.2.3"], ["2"]]
    assert all(len(key) == 32 for key in found.specs)
    again = good(example_page("zlib", "v0.18", [entry("y", versions=["2"])], shape="C"))
    assert list(again.specs) == list(found.specs)[1:]


@pytest.mark.parametrize(
    ("path", "tag"),
    [
        ("_cache/v0.18/zlib/specs.md", "v0.18"),
        ("_cache/zlib/specs.md", None),
        ("v1/a/b/specs.md", "v1"),
        ("specs.md", None),
    ],
)
def test_without_categories_the_path_has_the_tag(path: str, tag: str | None) -> None:
    data = page(entry()).replace(b"categories: [package, develop]\n", b"")
    assert good(data, path).tag == tag


@pytest.mark.parametrize(
    ("path", "start"),
    [
        ("_cache/a/b/specs.md", "a/b"),
        ("a/b/specs.md", "a/b"),
        ("_cache/a/index.md", "a/index.md"),
        ("specs.md", "specs.md"),
    ],
)
def test_the_prefix_of_ids_is_the_path_without_its_usual_ends(path: str, start: str) -> None:
    assert identity(path) == start


BROKEN: dict[str, tuple[bytes, int | None, str]] = {
    "empty": (b"", 1, "no front matter"),
    "no front matter": (b"# zlib\n", 1, "no front matter"),
    "half-written": (page(entry())[:-60], 6, "half-written"),
    "half-written after a line": (page(entry()).removesuffix(b"---"), 6, "half-written"),
    "half-written in the head": (page(entry())[:30], 3, "half-written"),
    "half-written with CRLF and a BOM": (b"\xef\xbb\xbf" + page(entry()).replace(b"\n", b"\r\n")[:-60], 6, "half-written"),
    "half-written with other ends of lines": (page(entry(os="a\x0bb\u2028c"))[:-60], 6, "half-written"),
    "only an opening": (b"---", 1, "half-written"),
    "only an opening line": (b"---\n", 1, "half-written"),
    "not UTF-8": (page(entry()).replace(b"zlib", b"zl\xefb"), 2, "not UTF-8: expected text in UTF-8, found byte 0xef"),
    "UTF-16": (page(entry()).decode().encode("utf-16"), 1, "not UTF-8"),
    "NUL bytes": (page(entry()).replace(b"cache", b"c\0che"), 3, "NUL byte"),
    "NUL bytes after": (page(entry()) + b"\0\0\0", 7, "NUL byte"),
    "broken JSON": (raw_page('[{"hash": "a", "versions": ["1"}]'), 6, "broken YAML"),
    "broken meta": (page(entry()).replace(b'{"num_specs": 1}', b'{"num_specs": 1'), 6, "broken YAML"),
    "broken YAML": (b"---\ntitle: x\n\tlayout: y\n---", 3, "broken YAML"),
    "no mapping": (b"---\n- a\n---", 2, "found a list"),
    "no title": (page(entry()).replace(b'title: "zlib"', b"a: b"), 2, "title: expected the package's name, found no such key"),
    "a list for a title": (page(entry(), title="x").replace(b'"x"', b"[x]"), 2, "title: expected the package's name, found a list"),
    "text for categories": (page(entry()).replace(b"[package, develop]", b"package"), 4, "categories: expected"),
    "no specs": (page().replace(b"spec_details", b"spec_detail"), 2, "neither spec_details nor spec_names"),
    "specs are a mapping": (raw_page("{}"), 6, "spec_details: expected a list, found a mapping"),
    "specs are nothing": (raw_page(""), 6, "spec_details: expected a list, found nothing"),
    "a spec is text": (raw_page('["x"]'), 6, "spec_details[0]: expected a mapping, found text"),
    "no hash": (page(entry(), {"versions": ["1"]}), 6, "spec_details[1].hash: missing"),
    "a null hash": (raw_page('[{"hash": null, "versions": ["1"]}]'), 6, "spec_details[0].hash: missing"),
    "an empty hash": (page(entry("")), 6, "hash: missing"),
    "an empty hash beside another": (page(entry("a"), entry("")), 6, "spec_details[1].hash: missing"),
    "a slash in the hash": (page(entry("a/b")), 6, "expected letters and digits, found 'a/b'"),
    "a space in the hash": (page(entry("a b")), 6, "expected letters and digits"),
    "a list for a hash": (raw_page('[{"hash": ["a"], "versions": ["1"]}]'), 6, "spec_details[0].hash: expected text, found a list"),
    "no version": (page(entry(versions=None)), 6, "spec_details[0].versions: expected a list of exactly one version"),
    "two versions": (page(entry(versions=["1", "2"])), 6, "exactly one version, found ['1', '2']"),
    "an empty version": (page(entry(versions=[""])), 6, "exactly one version"),
    "text for versions": (page(entry(versions="1")), 6, "spec_details[0].versions: expected a list, found text"),
    "text for variants": (page(entry(variants="+x")), 6, "spec_details[0].variants: expected a list, found text"),
    "a list in stacks": (page(entry(stacks=[["x"]])), 6, "spec_details[0].stacks[0]: expected text, found a list"),
    "a mapping for os": (page(entry(os={"a": 1})), 6, "spec_details[0].os: expected text, found a mapping"),
    "a blank version": (page(entry(versions=[" "])), 6, "exactly one version"),
    "spaces around the title": (page(entry(), title=" x "), 2, "title: expected no space at either end, found U+0020 SPACE at character 1 of ' x '"),
    "a size in words": (page(entry(size="big")), 6, "expected a number of bytes or '-', found 'big'"),
    "a negative size": (page(entry(size=-1)), 6, "expected a number of bytes"),
    "a size beyond long": (page(entry(size=MAX_SIZE + 1)), 6, "expected a number of bytes"),
    "a size with a fraction": (raw_page('[{"hash": "a", "versions": ["1"], "size": 1.5}]'), 6, "expected a number of bytes"),
    "one hash twice": (page(entry("a"), entry("a", os="rhel8")), 6, "spec_details[1].hash: a occurs twice"),
    "half a surrogate pair": (raw_page('[{"hash": "\\ud800", "versions": ["1"]}]'), 6, "broken YAML"),
    "open brackets": (raw_page("[" * 100_000), 6, "nested deeper"),
    "deep in a field that isn't read": (
        raw_page('[{"hash":"a","versions":["1"],"x":' + "[" * 100_000 + "]" * 100_000 + "}]"), 6, "nested deeper"
    ),
    "an alias bomb": (
        raw_page("x\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}' if n else 'x'] * 10)}]\n" for n in range(9))),
        11, "alias bomb",
    ),
    "a python tag": (raw_page("!!python/object/apply:os.system [id]"), 6, "a YAML tag is not accepted"),
    "a spec string without a version": (b"---\ntitle: x\nspec_names:\n - 'x@1'\n - 'x'\n---", 5, "spec_names[1]: expected @version"),
    "a list for a spec string": (b"---\ntitle: x\nspec_names:\n - [x]\n---", 4, "spec_names[0]: expected a spec string"),
    "a mapping for spec strings": (b"---\ntitle: x\nspec_names: {a: b}\n---", 3, "spec_names: expected a list"),
}  # fmt: skip


TWICE: dict[str, tuple[bytes, int, str, int]] = {
    "spec_details": (page(entry("a")).replace(b"\n---", b'\nspec_details: [{"hash": "b", "versions": ["1"]}]\n---'), 7, "spec_details", 6),
    "spec_details by hand": (page(entry("a")).replace(b"\n---", b"\nspec_details:\n- hash: b\n---"), 7, "spec_details", 6),
    "a title": (page(entry()).replace(b"layout: cache", b'title: "zstd"'), 3, "title", 2),
    "a key of no interest": (page(entry()).replace(b"layout: cache", b"a: b\nlayout: c\na: b"), 5, "a", 3),
    "spec_names": (b"---\ntitle: x\nspec_names:\n - 'x@1'\nspec_names:\n - 'x@2'\n---", 5, "spec_names", 3),
    "in meta": (page(entry()).replace(b'"num_specs": 1', b'"num_specs": 1, "a": 1, "num_specs": 2'), 5, "meta.num_specs", 5),
    "deep in meta": (page(entry()).replace(b'"num_specs": 1', b'"by": {"a": 1, "a": 1}'), 5, "meta.by.a", 5),
    "deeper in meta": (page(entry()).replace(b'"num_specs": 1', b'"a": [{"b": {"c": 1}}, {"b": {"c": 1, "c": 1}}]'), 5, "meta.a[1].b.c", 5),
    "in meta by hand": (page(entry()).replace(b'{"num_specs": 1}', b"\n  a: 1\n  a: 1"), 7, "meta.a", 6),
    "in an entry by hand": (b"---\ntitle: x\nspec_details:\n- hash: a\n  versions: [1]\n  hash: b\n---", 6, "spec_details[0].hash", 4),
    "in escapes": (page(entry("a"), entry("b")).replace(b'"size"', b'"o\\u0073"'), 6, "spec_details[0].os", 6),
    "in a mapping that isn't read": (raw_page('[{"hash": "a", "versions": ["1"], "x": {"y": 1, "z": 2, "y": 1}}]'), 6, "spec_details[0].x.y", 6),
    "an empty list where another entry has none": (
        page(entry("a", variants=None), entry("b", stacks=[])).replace(b'"stacks": []', b'"stacks": [], "stacks": []'), 6, "spec_details[1].stacks", 6
    ),
    "a tarball where another entry has none": (
        page(entry("a", tarball="x"), entry("b")).replace(b'"tarball": "x"', b'"tarball": "x", "tarball": "x"'), 6, "spec_details[0].tarball", 6
    ),
    "a tarball that is no text": (
        page(entry("a", tarball=1), entry("b", tarball=1)).replace(b'"tarball": 1', b'"tarball": "x", "tarball": 1', 1), 6, "spec_details[0].tarball", 6
    ),
    "beside escaped quotes": (
        page(entry("a", variants=['"']), entry("b")).replace(b'"os"', b'"size": 1, "os"', 1), 6, "spec_details[0].size", 6
    ),
    "beside escaped backslashes": (
        page(entry("a", variants=["\\", "\\"])).replace(b'"os"', b'"size": 1, "os"', 1), 6, "spec_details[0].size", 6
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TWICE)
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_a_duplicate_key_is_a_problem_with_both_lines(kind: str, ends: bytes) -> None:
    data, line, key, first = TWICE[kind]
    problem = bad(data.replace(b"\n", ends))
    assert f"'{key}' is given twice, first on line {first}" in problem.message
    assert problem.line == line


@pytest.mark.parametrize("field", [*entry(), "tarball", "unknown"])
@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("same", [True, False])
def test_any_duplicate_key_in_an_entry_is_a_problem(field: str, position: int, same: bool) -> None:
    """Whether all entries have a duplicate key or only one of them."""
    written = [json.dumps({**entry(hash), "tarball": "x", "unknown": "y"}) for hash in "ab"]
    again = written[position].replace(f'"{field}"', f'"{field}": {json.dumps(entry().get(field, "x"))}, "{field}"')
    written = [again, again.replace('"a"', '"b"')] if same else [*written[:position], again, *written[position + 1 :]]
    problem = bad(raw_page(f"[{', '.join(written)}]"))
    assert f"spec_details[{0 if same else position}].{field}' is given twice" in problem.message
    assert problem.line == 6


def test_a_merged_key_is_not_a_duplicate() -> None:
    data = b"""---
title: zlib
usual: &usual {hash: x, os: ubuntu22.04, size: 3}
spec_details:
- {<<: *usual, hash: a, versions: [1]}
- <<: *usual
  <<: {platform: linux}
  versions: [2]
  hash: b
---"""
    found = good(data)
    assert [(spec.hash, spec.os, spec.platform, spec.size) for spec in found.specs.values()] == [
        ("a", "ubuntu22.04", None, 3),
        ("b", "ubuntu22.04", "linux", 3),
    ]


HIDDEN = {
    "a zero-width space": "\u200b",
    "a zero-width joiner": "\u200d",
    "a word joiner": "\u2060",
    "a BOM": "\ufeff",
    "a bidi mark": "\u200f",
    "a bidi override": "\u202e",
    "a bidi isolate": "\u2066",
    "a soft hyphen": "\xad",
    "no-break space": "\xa0",
    "an en space": "\u2002",
    "an ideographic space": "\u3000",
    "a line separator": "\u2028",
    "a tab": "\t",
    "a line break": "\n",
    "NUL": "\0",
    "ESC": "\x1b",
    "DEL": "\x7f",
    "an unassigned character": "\u0378",
    "no character": "\ufffe",
    "private use": "\ue000",
    "a tag character": "\U000e0041",
    "a variation selector": "\ufe0f",
    "a Hangul filler": "\u3164",
    "a grapheme joiner": "\u034f",
    "a Braille blank": "\u2800",
}
PLACES = (
    "title",
    "tag",
    "hash",
    "versions",
    "compiler",
    "os",
    "platform",
    "target",
    "stacks",
    "variants",
    "spec_names",
)


def page_with(place: str, text: str, *, ascii_only: bool) -> bytes:
    """Return a page with a text as one of its values."""
    if place == "spec_names":
        front: dict[str, object] = {"title": "zlib", "spec_names": ["zlib@1", f"zlib@2 x={text}"]}
    else:
        value = [text] if place in {"versions", "stacks", "variants"} else text
        wrong = entry("b") if place in {"title", "tag"} else {**entry("b"), place: value}
        front = {"title": text if place == "title" else "zlib"}
        front["categories"] = ["package", text if place == "tag" else "develop"]
        front["spec_details"] = [entry("a"), wrong]
    lines = "".join(f"{key}: {json.dumps(value, ensure_ascii=ascii_only)}\n" for key, value in front.items())
    return f"---\n{lines}---".encode()


@pytest.mark.parametrize("kind", HIDDEN)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_an_invisible_character_is_a_problem(kind: str, place: str, ascii_only: bool) -> None:
    character = HIDDEN[kind]
    problem = bad(page_with(place, f"1.2{character}3", ascii_only=ascii_only))
    if ascii_only or character not in "\0\x1b\x7f\ufffe\u2028\ufeff":  # YAML itself rejects or folds these
        position = 4 + len("zlib@2 x=") if place == "spec_names" else 4
        assert f"found U+{ord(character):04X}" in problem.message
        assert f" at character {position} of " in problem.message
        assert problem.line
        assert problem.message.isprintable()


@pytest.mark.parametrize("place", ["title", "tag", "hash", "versions", "compiler", "os", "platform", "target"])
@pytest.mark.parametrize("text", [" x", "x ", "  x"])
def test_a_space_at_either_end_is_a_problem(place: str, text: str) -> None:
    problem = bad(page_with(place, text, ascii_only=True))
    assert (
        f"expected no space at either end, found U+0020 SPACE at character {1 if text[0] == ' ' else 2} of"
        in problem.message
    )


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_text_that_is_not_in_nfc_is_a_problem(place: str, ascii_only: bool) -> None:
    problem = bad(page_with(place, "re\u0301", ascii_only=ascii_only))
    position = 11 if place == "spec_names" else 2
    assert f"found another one from U+0065 LATIN SMALL LETTER E at character {position} of" in problem.message


@pytest.mark.parametrize(
    "place", ["title", "tag", "versions", "compiler", "os", "platform", "target", "stacks", "variants"]
)
@pytest.mark.parametrize("text", ["é", "a b", "😀", "中文", "x\u0301", "\u0915\u093f", "+a=' b'"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_visible_text_is_kept(place: str, text: str, ascii_only: bool) -> None:
    data = page_with(place, text, ascii_only=ascii_only)
    found = good(data)
    specs = [getattr(spec, place, None) for spec in found.specs.values()]
    assert text in [found.package, found.tag, specs[1]] or specs[1] == [text]
    assert found == parse_safely(PATH, data)


@pytest.mark.parametrize("tag", ["develop\u200b", " develop", "e\u0301"])
def test_invisible_characters_in_a_tags_folder_are_a_problem(tag: str) -> None:
    data = page(entry()).replace(b"categories: [package, develop]\n", b"")
    problem = parse(path_of(tag=tag), data)
    assert isinstance(problem, Problem)
    assert problem.message.startswith("the folder of the tag: expected ")


@needs_real_pages
def test_every_real_page_uses_the_fast_parser() -> None:
    for file in REAL_PAGES.rglob("specs.md"):
        path, data = file.relative_to(REAL_PAGES).as_posix(), file.read_bytes()
        assert parse_fast(path, data) == parse_safely(path, data)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_page_is_one_problem_with_its_line(kind: str) -> None:
    data, line, says = BROKEN[kind]
    problem = bad(data)
    assert says in problem.message
    assert (problem.page, problem.line) == (PATH, line)
    assert len(problem.message) < 300


def test_a_problem_in_handwritten_yaml_has_the_line_of_its_entry() -> None:
    data = b"---\ntitle: x\nspec_details:\n- hash: a\n  versions: [1]\n- hash: b\n  versions: [1]\n  size: big\n---"
    assert bad(data).line == 8


def test_keys_too_long_for_yaml_are_a_problem() -> None:
    key = "zlib@1.2.11%gcc " + "^dependency@1.0 " * 100
    data = f'---\ntitle: "zlib"\ncategory: package\nspec_files:\n - {key}: spec-0.json\n\n---'.encode()
    assert "broken YAML" in bad(data).message


def test_the_biggest_page_is_parsed_completely() -> None:
    data = big_page()
    assert len(data) > 2_000_000
    details = json.loads(data.decode().split("spec_details: ")[1].rsplit("\n", 1)[0])
    found = good(data)
    assert len(found.specs) == len(details) == 4_663
    assert [spec.variants for spec in found.specs.values()] == [each["variants"] for each in details]

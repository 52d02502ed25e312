"""Pages, good and broken."""

import json

import pytest

from cachesync.pages import page as pages
from cachesync.pages.page import MAX_SIZE, Page, Problem, identity, parse
from cachesync.pages.spec import Spec
from examples.pages import big_page
from examples.pages import page as example_page
from tests.support.pages import entry, page, path_of, raw_page

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


def test_the_usual_shape_takes_the_fast_way() -> None:
    assert pages._fast(PATH, big_page(count=5))
    assert pages._fast(PATH, page(entry()))
    assert pages._fast(PATH, example_page("zlib", "v0.18", [entry("x"), entry("y", versions=["2"])], shape="C"))


@pytest.mark.parametrize(
    "data",
    [
        page(entry()) + b"\n",
        page(entry()) + b"\n\nA body.\n--- \nmore\n",
        b"\xef\xbb\xbf" + page(entry()),
        page(entry()).replace(b"\n", b"\r\n"),
        page(entry()).replace(b"layout: cache", b"layout: cache # a comment"),
        page(entry()).replace(b"layout: cache\n", b"# a comment\n\n"),
        page(entry()).replace(b"layout: cache", b"other: {a: [1, 2]}"),
        page(entry()).replace(b"\n---", b"\n\n---   "),
        page(entry()).replace(b"\n---", b"\n..."),
        page(entry()).replace(b'"zlib"', b"zlib"),
        page(entry()).replace(b"[package, develop]", b"[package]"),
        page(entry()).replace(b"[package, develop]", b"\n  - package\n  - develop"),
        page(entry()).replace(b"categories: [package, develop]", b"category: package"),
        page(entry(), entry()),
        page(entry(tarball="https://example.org/x")),
    ],
)
def test_what_stands_around_the_specs_changes_nothing(data: bytes) -> None:
    assert good(data) == good(page(entry()))


def test_yaml_by_hand_gives_what_json_gives() -> None:
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


def test_spec_strings_have_a_digest_for_a_key() -> None:
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
def test_ids_start_with_the_path_without_its_usual_ends(path: str, start: str) -> None:
    assert identity(path) == start


BROKEN: dict[str, tuple[bytes, int | None, str]] = {
    "empty": (b"", 1, "no front matter"),
    "no front matter": (b"# zlib\n", 1, "no front matter"),
    "half-written": (page(entry())[:-60], 6, "half-written"),
    "half-written behind a line": (page(entry()).removesuffix(b"---"), 6, "half-written"),
    "half-written in the head": (page(entry())[:30], 3, "half-written"),
    "half-written with CRLF and a BOM": (b"\xef\xbb\xbf" + page(entry()).replace(b"\n", b"\r\n")[:-60], 6, "half-written"),
    "half-written with other ends of lines": (page(entry(os="a\x0bb\u2028c"))[:-60], 6, "half-written"),
    "only an opening": (b"---", 1, "half-written"),
    "only an opening line": (b"---\n", 1, "half-written"),
    "not UTF-8": (page(entry()).replace(b"zlib", b"zl\xefb"), 2, "not UTF-8: expected text in UTF-8, found byte 0xef"),
    "UTF-16": (page(entry()).decode().encode("utf-16"), 1, "not UTF-8"),
    "NUL bytes": (page(entry()).replace(b"cache", b"c\0che"), 3, "NUL byte"),
    "NUL bytes behind": (page(entry()) + b"\0\0\0", 7, "NUL byte"),
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
    "a slash in the hash": (page(entry("a/b")), 6, "expected letters and digits, found 'a/b'"),
    "a blank in the hash": (page(entry("a b")), 6, "expected letters and digits"),
    "a list for a hash": (raw_page('[{"hash": ["a"], "versions": ["1"]}]'), 6, "spec_details[0].hash: expected text, found a list"),
    "no version": (page(entry(versions=None)), 6, "spec_details[0].versions: expected a list of exactly one version"),
    "two versions": (page(entry(versions=["1", "2"])), 6, "exactly one version, found ['1', '2']"),
    "an empty version": (page(entry(versions=[""])), 6, "exactly one version"),
    "text for versions": (page(entry(versions="1")), 6, "spec_details[0].versions: expected a list, found text"),
    "text for variants": (page(entry(variants="+x")), 6, "spec_details[0].variants: expected a list, found text"),
    "a list in stacks": (page(entry(stacks=[["x"]])), 6, "spec_details[0].stacks[0]: expected text, found a list"),
    "a mapping for os": (page(entry(os={"a": 1})), 6, "spec_details[0].os: expected text, found a mapping"),
    "a blank version": (page(entry(versions=[" "])), 6, "exactly one version"),
    "blanks around the title": (page(entry(), title=" x "), 2, "title: expected the package's name, found the text ' x '"),
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


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_page_is_one_problem_with_its_line(kind: str) -> None:
    data, line, says = BROKEN[kind]
    problem = bad(data)
    assert says in problem.message
    assert (problem.page, problem.line) == (PATH, line)
    assert len(problem.message) < 300


def test_the_line_of_an_entry_by_hand_is_its_own() -> None:
    data = b"---\ntitle: x\nspec_details:\n- hash: a\n  versions: [1]\n- hash: b\n  versions: [1]\n  size: big\n---"
    assert bad(data).line == 8


def test_a_shape_a_page_is_a_problem_where_yaml_refuses_its_keys() -> None:
    key = "zlib@1.2.11%gcc " + "^dependency@1.0 " * 100
    data = f'---\ntitle: "zlib"\ncategory: package\nspec_files:\n - {key}: spec-0.json\n\n---'.encode()
    assert "broken YAML" in bad(data).message


def test_the_biggest_page_is_read_whole() -> None:
    data = big_page()
    assert len(data) > 2_000_000
    details = json.loads(data.decode().split("spec_details: ")[1].rsplit("\n", 1)[0])
    found = good(data)
    assert len(found.specs) == len(details) == 4_663
    assert [spec.variants for spec in found.specs.values()] == [each["variants"] for each in details]

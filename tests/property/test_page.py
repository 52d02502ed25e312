"""The fast and the safe way read the same page."""

import json
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from cachesync.documents import FIELDS, encoded, render, todays_name
from cachesync.pages.page import Page, parse, parse_fast, parse_safely
from cachesync.pages.spec import Spec
from cachesync.pages.version import git_ref, version_key
from examples.pages import page as example_page
from tests.support.pages import entry, page, path_of
from tests.support.said import said

PATH = path_of()
text = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x7f\x85\u2028\ufffe"), max_size=8)
hashes = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=1, max_size=4)
entries = st.fixed_dictionaries(
    {"hash": hashes, "versions": st.lists(text.filter(bool), min_size=1, max_size=1)},
    optional={
        "compiler": text | st.sampled_from(["gcc@=1", "clang@2", "none", "@1", "oneapi"]),
        "os": text,
        "target": text,
        "platform": st.none() | text,
        "variants": st.lists(text | st.sampled_from(["+mpi", "~mpi", "a=+b"]), max_size=4),
        "stacks": st.lists(text, max_size=3),
        "size": st.just("-") | st.integers(0, 2**63 - 1) | st.integers(0, 99).map(str),
        "tarball": st.recursive(text | st.integers(), lambda inner: st.lists(inner, max_size=3), max_leaves=5),
    },
)


texts = st.sampled_from(
    ["a", "zlib", "1.10", "null", "gcc@=1", "é", "😀", "a/b", "k='x y'", "https://x", "~", "#", "a: b"]
)
odd_characters = st.sampled_from(
    ["\x7f", "\x85", "\u2028", "\ufeff", "\u200b", "\xa0", "\u0301", "\ud83d", " ", "\t", "\0", '"', "\\"]
)
"""Characters that YAML refuses or folds, or that no value may have."""


class Pairs(list[tuple[str, Any]]):
    """A mapping in which a key may stand twice."""


def plain_entry(hash: str, fields: dict[str, Any]) -> Pairs:
    """An entry as the site writes them, but for some fields."""
    return Pairs({**entry(hash), "tarball": "https://x", **fields}.items())


plain_entries = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "os": texts | st.none(),
            "versions": texts.map(lambda text: [text]),
            "variants": st.lists(texts, max_size=2),
            "stacks": st.lists(texts, max_size=2),
            "size": st.sampled_from(["-", None, 7, "7", -1, 2**70]),
            "tarball": texts | st.none() | st.just({"a": [{"b": 1.5}], "c": True}),
            "a" * 80: st.just(1),
        },
    ),
    max_size=3,
).map(lambda many: [plain_entry("abc"[number], fields) for number, fields in enumerate(many)])
metas = st.sampled_from(
    [
        Pairs(),
        Pairs([("versions", ["1", "é"]), ("num_specs", 2), ("by", Pairs([("root", 1), ("e4s", 1)]))]),
        ["a"],
        "x",
        7,
        None,
    ]
)


@st.composite
def changed(draw: st.DrawFn, node: Any) -> Any:
    """JSON with one change that makes YAML, or a rule about pages, refuse it or read it otherwise."""
    if isinstance(node, list) and node and draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(node) - 1))
        inner = node[at]
        inner = (inner[0], draw(changed(inner[1]))) if isinstance(node, Pairs) else draw(changed(inner))
        return type(node)([*node[:at], inner, *node[at + 1 :]])
    if isinstance(node, Pairs) and node:
        key, value = draw(st.sampled_from(node))
        match draw(st.sampled_from(["twice", "drop", "moved", "long"])):
            case "twice":
                return Pairs([*node, (key, draw(st.sampled_from([value, "x", [], None])))])
            case "drop":
                return Pairs(pair for pair in node if pair[0] != key)
            case "moved":
                return Pairs([*(pair for pair in node if pair[0] != key), ("x", Pairs([(key, 1), (key, value)]))])
            case _:
                return Pairs([*node, ("k" * draw(st.sampled_from([79, 81, 1_021, 1_025])), 1)])
    if isinstance(node, str):
        at = draw(st.integers(0, len(node)))
        return node[:at] + draw(odd_characters) + node[at:]
    deep: Any = node
    for _ in range(draw(st.sampled_from([1, 7, 60, 64]))):
        deep = [deep]
    return draw(st.sampled_from([deep, 1.10, True, None, "", [node, node], Pairs([("a", node)])]))


@st.composite
def written(draw: st.DrawFn, node: Any) -> str:
    """JSON in one line, as some program writes it."""
    blank, ascii_only = draw(st.sampled_from([" ", " ", "", "  "])), draw(st.booleans())

    def text(node: Any) -> str:
        match node:
            case Pairs():
                return "{" + f",{blank}".join(f"{text(key)}:{blank}{text(item)}" for key, item in node) + "}"
            case dict():
                return text(Pairs(node.items()))
            case list():
                return "[" + f",{blank}".join(map(text, node)) + "]"
            case _:
                return json.dumps(node, ensure_ascii=ascii_only)

    return text(node).encode("utf-8", "replace").decode()


between = st.sampled_from(
    ["", "\n", " \n\n", "# a comment\n", "# spec_details: []\n", "layout: cache\n", "other: {a: [b, 'c']}\n", "é: 😀\n",
     "more:\n  - |\n    spec_details: []\n  - x\n", "a: &a {b: c}\n", "d: {<<: {e: f}}\n", "spec_files: \n - a.json\n"]
)  # fmt: skip
odd_between = st.sampled_from(
    ["x: |\n", 'x: "\n', "x: '\n", '"\n', "x: {\n", "}\n", "{\n", "[\n", "- x\n", " x\n", "  y: z\n", "? x\n", ": x\n", ",\n", "*a\n",
     "x: *a\n", "<<: *a\n", "a: 1\na: 2\n", "title: b\n", "spec_details: []\n", 'meta: {"a": 1}\n', "%YAML 1.1\n", "--- x\n", "|\n",
     "x: 1\r", "x: 1\x85", "x: 1\u2028", "\t\n", "\ufeff", "\x07\n", "x: !y z\n", "spec_names:\n - 'a@1'\n", "y: # z\n", "---\n"]
)  # fmt: skip
behind = st.sampled_from(["", "", "", " ", " # a comment", "\t# a: b", "  "])
odd_behind = st.sampled_from(
    [
        "#x",
        " x",
        ":",
        ": x",
        ",",
        " ,",
        "]",
        " }",
        '"',
        " 'x",
        "\n  x",
        "\n- x",
        "\n }",
        " # \x85x: y",
        "\r",
        " &a",
        "\n, x: []",
    ]
)
before = st.sampled_from(["", "", "", " "])
odd_before = st.sampled_from(["\n ", "\n", "\t", "!!seq ", "&a ", "? ", "- ", "| "])


@st.composite
def pages_of_json(draw: st.DrawFn) -> tuple[bytes, bool]:
    """A page with its large values in one line of JSON, of which at most one thing is odd, and whether none is."""
    odd = draw(
        st.sampled_from(
            ["nothing"] * 6 + ["details", "details", "meta", "between", "between", "behind", "before", "order"]
        )
    )
    details, meta = draw(plain_entries), draw(metas)
    if odd == "details":
        details = draw(changed(details))
    if odd == "meta":
        meta = draw(changed(meta))
    values = {
        "title": draw(st.sampled_from(['"zlib"', "zlib", "'zlib'", '"z\\u006cib"', '"zl ib"', '"é"'])),
        "categories": draw(st.sampled_from(["[package, develop]", '["package", "v1"]', "\n - package\n - v1"])),
        "meta": draw(written(meta)),
        "spec_details": draw(written(details)),
    }
    if odd == "order":
        values = {key: values[key] for key in draw(st.lists(st.sampled_from(sorted(values)), max_size=5))}
    at = draw(st.sampled_from(sorted(values) or [""]))
    lines = ""
    for key in draw(st.permutations(sorted(values))):
        is_odd = key == at
        lines += draw(odd_between if is_odd and odd == "between" else between)
        value = draw(odd_before if is_odd and odd == "before" else before) + values[key]
        lines += f"{key}: {value}{draw(odd_behind if is_odd and odd == 'behind' else behind)}\n"
    lines += draw(odd_between if odd == "between" and draw(st.booleans()) else between)
    text = draw(st.sampled_from(["---\n", "---\n", "\ufeff--- \n"])) + lines
    text += draw(st.sampled_from(["---", "---", "---\n", "--- \t\n\nA body.\n---\n", "..."]))
    return text.replace("\n", draw(st.sampled_from(["\n", "\n", "\n", "\r\n"]))).encode(
        "utf-8", "replace"
    ), odd == "nothing"


@settings(deadline=None)
@given(pages_of_json())
def test_both_ways_read_the_same_page(case: tuple[bytes, bool]) -> None:
    data, usual = case
    safe, fast = parse_safely(PATH, data), parse_fast(PATH, data)
    assert fast in (safe, None)
    assert parse(PATH, data) == safe
    if usual and isinstance(safe, Page):
        assert fast is not None


@given(st.lists(entries, max_size=4), st.booleans())
def test_both_ways_read_the_same_entries(details: list[dict[str, object]], ascii_only: bool) -> None:
    data = page().replace(b"[]", json.dumps(details, ensure_ascii=ascii_only).encode())
    safe = parse_safely(PATH, data)
    assert parse_fast(PATH, data) in (safe, None)
    assert parse(PATH, data) == safe


often = {
    "dash": " - ",
    "quote": "'",
    "files": "spec_files: \n - spec-0.json\n",
    "names": "spec_names:\n",
    "between": "\n",
    "end": "---",
}
seldom = {
    "dash": [" -", "- ", "  - ", " -  ", " - - ", " - !!str ", " - &a ", " - k: "],
    "quote": ['"', "", "''", "' ", " '"],
    "files": [
        "",
        "spec_files: []\n",
        "spec_files:\n - a.json # b\n",
        "spec_files: \n - null\n - -1\n",
        "spec_files: \n- a\n",
    ],
    "names": ["spec_names: \n", "spec_names: # all\n", "spec_names: >\n", "other:\n", "spec_names:\n\n"],
    "between": ["\r\n", "\n\n", " \n", "\n---\n", "\n # x\n", "\r", "\x85"],
    "end": ["---\n", "--- \nbody", "...", "---\nbody\n---", "----", "--", " ---"],
}
odd_text = st.text("a1@%+~ ^=-'\"\\#:\t,[]{}&*!|>é\n\x7f", max_size=12)
names = st.text('a1@%+~ ^=-"\\#:,[]{}&*!|>', max_size=12).map("a@1 ^".__add__) | odd_text | odd_text.map("a@1".__add__)


@st.composite
def pages_of_names(draw: st.DrawFn) -> bytes:
    """A page of 2022, of which at most one part is as no such page has it."""
    parts = dict(often)
    if draw(st.booleans()):
        kind = draw(st.sampled_from(sorted(often)))
        parts[kind] = draw(st.sampled_from(seldom[kind]))
    lines = [f"{parts['dash']}{parts['quote']}{name}{parts['quote']}" for name in draw(st.lists(names, max_size=3))]
    listed = "".join(f"{line}{parts['between']}" for line in lines)
    head = '---\ntitle: "zlib"\nlayout: cache\ncategories: [package, v0.18]\n'
    return f"{head}{parts['files']}{parts['names']}{listed}{parts['end']}".encode()


@given(pages_of_names())
@example(example_page("zlib", "v0.18", [entry("x"), entry("y", versions=["2"])], shape="C"))
def test_both_ways_read_the_same_spec_names(data: bytes) -> None:
    safe = parse_safely(PATH, data)
    assert parse_fast(PATH, data) in (safe, None)
    assert parse(PATH, data) == safe


def composed(page: Page, key: str, spec: Spec) -> dict[str, Any]:
    """A document field by field, by the contract's table."""
    compiler = (spec.compiler or "").replace("@=", "@", 1)
    name, _, compiler_version = compiler.partition("@")
    is_compiler = bool(name) and compiler != "none"
    switches = [each for each in spec.variants if each.startswith(("+", "~"))]
    values = [f" {each}" for each in spec.variants if each not in switches]
    asked = said(key, spec.hash, spec.variants)
    place = {"platform": spec.platform, "os": spec.os, "target": spec.target}
    arch = f" arch={'-'.join(str(each) for each in place.values())}" if all(place.values()) else ""
    arch = arch or "".join(f" {name}={value}" for name, value in place.items() if value)
    fields = {
        "package": page.package,
        "tag": page.tag or UNSET,
        "version": spec.versions[0],
        "version_key": version_key(spec.versions[0]),
        "git_ref": git_ref(spec.versions[0]) or UNSET,
        "compiler": compiler or UNSET,
        "compiler_name": todays_name(name) if is_compiler else UNSET,
        "compiler_version": (compiler_version or UNSET) if is_compiler else UNSET,
        "compiler_version_key": version_key(compiler_version) if is_compiler and compiler_version else UNSET,
        "hash": spec.hash or UNSET,
        "short_hash": spec.hash[:7] if spec.hash else UNSET,
        "binary": key,
        "binary_number": asked["binary_number"],
        "os": spec.os or UNSET,
        "platform": spec.platform or UNSET,
        "target": spec.target or UNSET,
        "stacks": spec.stacks,
        "variants": spec.variants,
        "variant_names": asked["variant_names"],
        "variant_values": asked["variant_values"],
        "size": spec.size if isinstance(spec.size, int) else UNSET,
        "spec": f"{page.package}@{spec.versions[0]}{''.join([*switches, *values])}{arch}"
        + (f" %{compiler}" if is_compiler else ""),
        "page": page.path,
    }
    return {name: value for name, value in fields.items() if value is not UNSET}


@given(st.lists(entries, max_size=4))
def test_a_document_is_what_its_fields_encode_to(details: list[dict[str, object]]) -> None:
    found = parse(PATH, page().replace(b"[]", json.dumps(details).encode()))
    if isinstance(found, Page):
        rendered = render(found)
        assert isinstance(rendered, dict)
        assert list(rendered) == list(found.specs)
        for key, source in rendered.items():
            expected = composed(found, key, found.specs[key])
            assert list(expected) == [name for name in FIELDS if name in expected]
            assert source == encoded(expected) == msgspec.json.encode(expected)


@given(st.text("0123456789.-_abrcdevlopmstihn", max_size=20), st.text("0123456789.-_", max_size=12))
@example("", "")
def test_keys_take_any_version(one: str, number: str) -> None:
    assert version_key(one).isalnum()
    assert version_key(number + "rc1") <= version_key(number) or not any(map(str.isdigit, number))

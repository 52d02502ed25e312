"""The fast and the safe way read the same page."""

import json

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from cachesync.documents import _TODAYS_NAME, Document, render
from cachesync.pages import page as pages
from cachesync.pages.page import Page, Problem, parse
from cachesync.pages.spec import Spec
from cachesync.pages.version import version_key
from cachesync.yamltext import YamlError
from examples.pages import page as example_page
from tests.support.pages import entry, page, path_of

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


@given(st.lists(entries, max_size=4), st.booleans())
def test_both_ways_read_the_same_page(details: list[dict[str, object]], ascii_only: bool) -> None:
    data = page().replace(b"[]", json.dumps(details, ensure_ascii=ascii_only).encode())
    try:
        safe = pages._safe(PATH, data)
    except (pages._FaultError, YamlError):
        assert isinstance(parse(PATH, data), Problem)
        return
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
    try:
        safe: Page | Problem = pages._safe(PATH, data)
    except (pages._FaultError, YamlError) as error:
        safe = Problem(PATH, error.message, error.line)
    assert pages._fast(PATH, data) in (safe, None)
    assert parse(PATH, data) == safe


def composed(page: Page, key: str, spec: Spec) -> Document:
    """A document field by field, by the contract's table."""
    compiler = (spec.compiler or "").replace("@=", "@", 1)
    name, _, compiler_version = compiler.partition("@")
    is_compiler = bool(name) and compiler != "none"
    switches = [each for each in spec.variants if each.startswith(("+", "~"))]
    values = [f" {each}" for each in spec.variants if each not in switches]
    place = {"platform": spec.platform, "os": spec.os, "target": spec.target}
    arch = f" arch={'-'.join(str(each) for each in place.values())}" if all(place.values()) else ""
    arch = arch or "".join(f" {name}={value}" for name, value in place.items() if value)
    return Document(
        package=page.package,
        tag=page.tag or UNSET,
        version=spec.versions[0],
        version_key=version_key(spec.versions[0]),
        compiler=compiler or UNSET,
        compiler_name=_TODAYS_NAME.get(name, name) if is_compiler else UNSET,
        compiler_version=(compiler_version or UNSET) if is_compiler else UNSET,
        compiler_version_key=version_key(compiler_version) if is_compiler and compiler_version else UNSET,
        hash=spec.hash or UNSET,
        digest=UNSET if spec.hash else key,
        os=spec.os or UNSET,
        platform=spec.platform or UNSET,
        target=spec.target or UNSET,
        stacks=spec.stacks,
        variants=spec.variants,
        size=spec.size if isinstance(spec.size, int) else UNSET,
        spec=f"{page.package}@{spec.versions[0]}{''.join([*switches, *values])}{arch}"
        + (f" %{compiler}" if is_compiler else ""),
        page=page.path,
    )


@given(st.lists(entries, max_size=4))
def test_a_document_is_what_its_struct_encodes_to(details: list[dict[str, object]]) -> None:
    found = parse(PATH, page().replace(b"[]", json.dumps(details).encode()))
    if isinstance(found, Page):
        rendered = render(found)
        assert isinstance(rendered, dict)
        assert list(rendered) == list(found.specs)
        for key, source in rendered.items():
            assert source == msgspec.json.encode(composed(found, key, found.specs[key]))


@given(st.text("0123456789.-_abrcdevlopmstihn", max_size=20), st.text("0123456789.-_", max_size=12))
@example("", "")
def test_keys_take_any_version(one: str, number: str) -> None:
    assert version_key(one).isalnum()
    assert version_key(number + "rc1") <= version_key(number) or not any(map(str.isdigit, number))

"""Pages, damaged in all the ways that machines and people damage them: documents or a problem, soon, and the same again."""

import json
import random
import re
import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from cachesync.documents import document_id, render
from cachesync.pages.page import Problem, parse, parse_fast, parse_safely
from examples.pages import BIGGEST_PAGE, Shape, big_page, spec
from examples.pages import page as example_page
from tests.contract.conftest import ENGINES
from tests.hostile.effort import effort
from tests.hostile.fuzz import Data, fuzzed, within
from tests.support.pages import entry, page, path_of
from tests.support.sandbox import Sandbox
from tests.support.service import documents, expected_documents, index_of
from tests.support.shared import REAL_PAGES, needs_real_pages

PATH: Final = path_of()
MEGABYTE: Final = 1_000_000
REPEATED: Final = effort((50_000,), (20_000, 300_000))
"""Characters of one text repeated."""

SECONDS_PER_BYTE: Final = 20e-6
"""What a page may cost beyond a second: YAML of nothing but brackets takes about half of it."""

MAX_MESSAGE: Final = 500
"""Characters of a problem's sentence: it stands on one line of a terminal and of the log."""


# --- pages --------------------------------------------------------------------------------------------------------


def _made() -> dict[str, bytes]:
    """A page of each shape since 2021, small enough to be written and read some thousand times, and some of usual size."""
    random_ = random.Random(0)
    shapes: dict[str, Shape] = {"C": "C", "D": "D", "F": "F", "G": "G"}
    found = {
        name: example_page("zlib", "v0.18", [spec(random_, shape, "zlib") for _ in range(3)], shape)
        for name, shape in shapes.items()
    }
    found["E"] = example_page("zlib", "v0.22.4", [entry("b", tarball="https://m.example.org/b"), entry("a")], "D")
    found["B"] = found["C"].replace(b"categories: [package, v0.18]", b"category: package")
    names = "".join(f" - {each}:\n   - spec.json\n" for each in ("zlib@1.2.11%gcc@7.5.0", "zlib@1.2.8%gcc@7.5.0+pic"))
    found["A"] = (
        '---\ntitle: "zlib"\nlayout: cache\ncategory: package\nmeta:\n  versions:\n   - 1.2.11\n'
        f"  compilers:\n   - gcc@7.5.0\nspec_files:\n{names}\n---"
    ).encode()
    found |= {
        f"usual {shape}": example_page("hdf5", "develop", [spec(random_, shape) for _ in range(20)], shape)
        for shape in (shapes["D"], shapes["F"], shapes["G"])
    }
    found["numbers"] = page(entry("a", size=7, versions=["1.10"]), entry("b", stacks=[], compiler="none"))
    return found


def _real() -> list[bytes]:
    files = sorted(REAL_PAGES.rglob("specs.md")) if REAL_PAGES.is_dir() else []
    return [data for data in map(Path.read_bytes, files) if len(data) < 20_000]


BASES: Final = list(_made().values())
REAL: Final = _real()


class Raw(str):
    """JSON as it is written, whatever that is."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """A mapping in which a key may stand twice."""


def _tree(value: Any) -> Any:
    match value:
        case dict():
            return Pairs((key, _tree(item)) for key, item in value.items())
        case list():
            return [_tree(item) for item in value]
        case _:
            return value


def _front(data: bytes) -> Pairs:
    """What stands between the marks of a good page."""
    front = yaml.load(data.decode().split("---")[1], Loader=yaml.CBaseLoader)
    details = data.partition(b"\nspec_details: ")[2].partition(b"\n")[0]
    if details:
        front["spec_details"] = json.loads(details)
    return Pairs(_tree(front))


FRONTS: Final = [_front(data) for data in BASES]
REAL_FRONTS: Final = [_front(data) for data in REAL]

_ODD_TEXTS: Final = (
    "", " ", "-", "~", "null", "none", "@", "@1", "a@", "é", "😀", "\u2028", "\x85", "\ufeff", "\0", "\x7f", "\ufffe",
    "\u200b", "a\u200b", "a\xa0", " a", "a ", "\u3164", "e\u0301", "a/b", "..", "a\nb", "\t", "\r", "+", "~", "=", ":=", "'", '"', "#", "1.10", "0x10", "1e3", "2025-01-01", "true",
    "a" * 513, "é" * 300, "a" * 32_766, "a" * 32_767, "é" * 16_384, "/" * 600, "1" * 5_000, "1." * 5_000,
)  # fmt: skip
_ODD_JSON: Final = (
    "NaN", "-Infinity", "1e400", "-0", "01", "1.10", '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"',
    '{"hash":"a","hash":"b"}', '{"a":{"b":1,"b":2}}', '[{"a":1,"\\u0061":1}]', '{"":1,"":2}', '{"<<":{},"<<":{}}', "", "'a'", "[1,]", "{,}", "// a", '"a', "[", "}", '"\\x"', "\t", "tru", "&a", "*a",
    "[" * 100_000, '{"a":' * 100_000, "[" * 60 + "]" * 60, "[" * 2_000 + "]" * 2_000, "[]," * 50_000 + "[]",
    "9" * 5_000, "1" + "0" * 400, '"' + "a" * 200_000 + '"', '"' + "\\u0041" * 50_000 + '"',
)  # fmt: skip
_ODD_YAML: Final = (
    "&a ", "*a", "*b ", "&a", "!!python/object/apply:os.system [id]", "!!python/name:os.system", "!!binary aGk=", "!x ",
    "!!str ", "!!int 1", "!!set {a}", "!<tag:yaml.org,2002:str> a", "<<: *a\n", "<<: [*a, *a]\n", "<<: a\n", "<<: ",
    "|\n", "|2-\n", ">+\n", "|\n\n\n", "\t", "\t- a\n", "%YAML 1.2\n---\n", "%TAG ! tag:x,2000:\n", "%", "\n---\n",
    "\n...\n", "\r", "\r\n", "\u2028", "\u2029", "\x85", "\ufeff", "\0", "\x07", "? ", ": ", "- ", "-\n", ", ", "# a\n",
    "[", "]", "{", "}", "'", '"', "`", "@", "\\", '"\\x41\\u00e9\\U0001F600"', '"\\ud83d\\ude00"', '"\\ud83d"', "? [a]\n",
    "a: 1\na: 2\n", "{a: &x [b], c: *x}\n", "&x [*x]\n", "~", "null", "  ", "     ", "é", "😀", '"\\\n  a"',
    "x: &a [" + "b," * 50 + "]\ny: &b [" + "*a," * 50 + "]\nz: [" + "*b," * 50 + "]\n",
    "l0: &l0 [x,x]\n" + "".join(f"l{n}: &l{n} [*l{n - 1},*l{n - 1}]\n" for n in range(1, 40)),
    "m0: &m0 {a: b}\n" + "".join(f"m{n}: &m{n} {{<<: [*m{n - 1},*m{n - 1}]}}\n" for n in range(1, 30)),
)  # fmt: skip

odd_text = st.sampled_from(_ODD_TEXTS) | st.text(max_size=5)
odd_keys = odd_text.filter(lambda text: len(text) < 100)
"""YAML has no keys over 1,024 characters as they are written, whatever JSON has."""

odd_json = st.sampled_from(_ODD_JSON).map(Raw)
odd_values = (
    st.sampled_from([None, True, 0, -1, 2**63 - 1, 2**63, 2**64, 1.5, [], Pairs(), ["a"], Pairs([("a", "b")])])
    | odd_text
)


@st.composite
def edited(draw: st.DrawFn, node: Any, odd: st.SearchStrategy[Any]) -> Any:
    """A tree with one edit somewhere in it."""
    if isinstance(node, list) and node and draw(st.integers(0, 5)):
        at = draw(st.integers(0, len(node) - 1))
        return type(node)([*node[:at], *draw(_changed(node, node[at], odd)), *node[at + 1 :]])
    match draw(st.sampled_from(["odd", "odd", "in a list", "in a mapping", "first", "text"])):
        case "in a list":
            return [node, node]
        case "in a mapping":
            return Pairs([("a", node)])
        case "first" if isinstance(node, list) and node:
            return node[0][1] if isinstance(node, Pairs) else node[0]
        case "text":
            return json_text(node)[:200]
        case _:
            return draw(odd)


@st.composite
def _changed(draw: st.DrawFn, node: list[Any], item: Any, odd: st.SearchStrategy[Any]) -> list[Any]:
    """What stands in place of an item of a list or a mapping."""
    is_pair = isinstance(node, Pairs)
    match draw(st.sampled_from(["inside"] * 6 + ["drop", "twice", "key", "last"])):
        case "drop":
            return []
        case "twice":
            return [item, item]
        case "last":
            return [item, node[-1]]
        case "key" if is_pair:
            return [(draw(odd_keys), item[1])]
        case _ if is_pair:
            return [(item[0], draw(edited(item[1], odd)))]
        case _:
            return [draw(edited(item, odd))]


def json_text(node: Any, *, ascii_only: bool = True) -> str:
    match node:
        case Raw():
            return str(node)
        case Pairs():
            items = (f"{json.dumps(key)}: {json_text(item, ascii_only=ascii_only)}" for key, item in node)
            return "{" + ", ".join(items) + "}"
        case list():
            return "[" + ", ".join(json_text(item, ascii_only=ascii_only) for item in node) + "]"
        case _:
            return json.dumps(node, ensure_ascii=ascii_only).replace("\x7f", "\\u007f" if ascii_only else "\x7f")


_PLAIN: Final = re.compile(r"(?!null|Null|NULL)[A-Za-z][A-Za-z0-9_.+-]*")
_QUOTABLE: Final = re.compile(r"[!-&(-~](?:[ -&(-~]*[!-&(-~])?")


def _texts(values: list[Any]) -> list[str]:
    """Texts as they are, and for all else one that can't be written without quotes."""
    return [each if isinstance(each, str) and not isinstance(each, Raw) else "'" for each in values]


def site_text(front: Pairs, *, ascii_only: bool = True) -> str:
    """Front matter as the site writes it, as far as that is possible."""
    text = ""
    for name, value in front:
        key = name if _PLAIN.fullmatch(name) else json_text(name)
        if (
            key in {"spec_files", "spec_names"}
            and value
            and isinstance(value, list)
            and all(map(_QUOTABLE.fullmatch, _texts(value)))
        ):
            text += f"{key}:\n" + "".join(f" - '{item}'\n" for item in value)
        elif key == "categories" and type(value) is list and all(map(_PLAIN.fullmatch, _texts(value))):
            text += f"{key}: [{', '.join(value)}]\n"
        elif key == "layout" and _PLAIN.fullmatch(_texts([value])[0]):
            text += f"{key}: {value}\n"
        else:
            text += f"{key}: {json_text(value, ascii_only=ascii_only)}\n"
    return text


opening = st.sampled_from(
    ["---\n"] * 12 + ["--- \n", "---\r\n", "\ufeff---\n", "\n---\n", "----\n", "--- # x\n", "---", ""]
)
closing = st.sampled_from(
    ["---"] * 12 + ["---\n", "...", "--- ", "\n---", "----", "", "--", "---\nbody\n---\n", "--- x", "---\r\n", "\r---"]
)


between = st.sampled_from(
    ["\n", "  \n", "# a\n", "# meta: {}\n", "a: b\n", "é: [😀]\n", "a:\n- b\n", "a: &a {b: c}\n", "d: *a\n", "<<: {a: b}\n", "a: |\n", 'a: "\n', "{\n", "}\n", "- a\n", " a\n", "meta: {}\n", 'title: "a"\n', "spec_details: []\n", "a: 1\r", "a: 1\x85"]
)  # fmt: skip
"""Lines between those of a page, and beginnings of what makes all below it something else."""

line_breaks = st.sampled_from(["\n"] * 5 + ["\r\n"])


@st.composite
def trees(draw: st.DrawFn, fronts: Sequence[Pairs] = FRONTS) -> bytes:
    """A page with one to three edits in its tree."""
    front = draw(st.sampled_from(fronts))
    for _ in range(draw(st.integers(1, 3))):
        front = draw(edited(front, odd_values | odd_json))
    if not isinstance(front, Pairs):
        return draw(opening).encode() + json_text(front).encode() + b"\n" + draw(closing).encode()
    text = site_text(front, ascii_only=draw(st.booleans()))
    for _ in range(draw(st.sampled_from([0] * 6 + [1, 2]))):
        at = text.find("\n", draw(st.integers(0, len(text)))) + 1
        text = text[:at] + draw(between) + text[at:]
    return (draw(opening) + text + draw(closing)).replace("\n", draw(line_breaks)).encode()


def plain(node: Any) -> Any:
    """A tree in Python's own terms."""
    match node:
        case Pairs():
            return {key: plain(item) for key, item in node}
        case list():
            return [plain(item) for item in node]
        case _:
            return node


styles: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "default_style": st.sampled_from([None, None, "'", '"', "|", ">"]),
        "default_flow_style": st.sampled_from([None, True, False]),
        "allow_unicode": st.booleans(),
        "width": st.sampled_from([20, 80, 10**9]),
        "indent": st.sampled_from([2, 5]),
        "line_break": st.sampled_from(["\n", "\r\n"]),
        "sort_keys": st.booleans(),
    }
)
seldom_yaml = st.sampled_from(_ODD_YAML)


@st.composite
def yamls(draw: st.DrawFn, fronts: Sequence[Pairs] = FRONTS) -> bytes:
    """A page as a person or another tool would write it, with a few places where YAML is subtle."""
    front = plain(draw(st.sampled_from(fronts)))
    text: str = yaml.dump(front, Dumper=yaml.CSafeDumper, **draw(styles))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        if draw(st.booleans()):  # where a line or a value begins, YAML is at its most subtle
            at = text.rfind(draw(st.sampled_from(["\n", ": ", "- ", "[", ", "])), 0, at) + 1
        text = text[:at] + draw(seldom_yaml) + text[at + draw(st.sampled_from([0, 0, 0, 1, 5])) :]
    return (draw(opening) + text + draw(closing)).encode()


@st.composite
def damaged(draw: st.DrawFn, bases: Sequence[bytes] = BASES) -> bytes:
    """A page that a disk, a copy or a merge has damaged."""
    data = draw(st.sampled_from(bases))
    for _ in range(draw(st.integers(1, 4))):
        place = st.integers(0, len(data))
        start, end = sorted((draw(place), draw(place)))
        match draw(st.sampled_from(["cut", "short", "replace", "insert", "splice", "repeat", "lines", "zero"])):
            case "cut":
                data = data[:start]
            case "short":
                data = data[:start] + data[min(end, start + 30) :]
            case "replace":
                data = data[:start] + draw(st.binary(max_size=10)) + data[start + draw(st.integers(0, 30)) :]
            case "insert":
                data = data[:start] + draw(seldom_yaml).encode() + data[start:]
            case "splice":
                other = draw(st.sampled_from(bases))
                data = data[:start] + other[draw(st.integers(0, len(other))) :]
            case "repeat":
                part = data[start : start + 50] if draw(st.booleans()) else data[start:end]
                data = data[:start] + part * draw(st.sampled_from([2, 3, 20])) + data[end:]
            case "lines":
                data = data.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r", b"\n\n", b"\xe2\x80\xa8", b" \n"])))
            case "zero":
                data = data[:start] + bytes(end - start) + data[end:]
    return bytes(data[:MEGABYTE])


anything = (
    st.binary()
    | st.binary().map(lambda rest: b"---\n" + rest)
    | st.text().map(lambda rest: f"---\n{rest}\n---".encode())
)

_HEAD: Final = '---\ntitle: "zlib"\nlayout: cache\ncategories: [package, develop]\n'
_PLACES: Final = [
    ("", ""),
    ("---\n", "\n---"),
    ("---\ntitle: !", " a\n---"),
    ("---\ntitle: *", "\n---"),
    ("---\ntitle: &", " a\n---"),
    (_HEAD, "\n---"),
    (_HEAD, ""),
    ('---\ntitle: "', '"\nspec_details: []\n---'),
    ("---\ntitle: a\ncategories: [", "]\nspec_details: []\n---"),
    (f"{_HEAD}meta: ", "\nspec_details: []\n---"),
    (f'{_HEAD}meta: "', '"\nspec_details: []\n---'),
    (f"{_HEAD}spec_details: ", "\n---"),
    (f'{_HEAD}spec_details: [{{"versions":["1"],"hash":"', '"}]\n---'),
    (f'{_HEAD}spec_details: [{{"hash":"a","versions":["', '"]}]\n---'),
    (f'{_HEAD}spec_details: [{{"hash":"a","versions":["1"],"compiler":"', '"}]\n---'),
    (f"{_HEAD}spec_names:\n - '", "'\n---"),
    (f"{_HEAD}spec_names:\n - 'a@1", "'\n---"),
    (f"{_HEAD}spec_names:\n - a@1 ", "\n---"),
]
"""What stands before and after a text that is repeated: there is a scanner of its own for each of these places."""

units = st.text("""[]{}-?:,'"\\&*!|>%@`~#<=+.^_$u \t\n\r/0d8a\u2028é""", min_size=1, max_size=6) | seldom_yaml


class Row(NamedTuple):
    """A page with a long row of one text: whatever looks again at what it has seen takes its time now."""

    before: str
    unit: str
    after: str
    length: int

    @property
    def data(self) -> bytes:
        return (self.before + self.unit * (self.length // len(self.unit)) + self.after).encode()


rows = st.builds(
    lambda place, *row: Row(place[0], row[0], place[1], row[1]),
    st.sampled_from(_PLACES),
    units,
    st.sampled_from(REPEATED),
)


# --- what is expected ---------------------------------------------------------------------------------------------


def outcome(path: str, data: bytes) -> Problem | dict[str, bytes]:
    """What comes of a page: its documents by id, or a problem."""
    found = parse(path, data)
    if isinstance(found, Problem):
        return found
    rendered = render(found)
    if isinstance(rendered, Problem):
        return rendered
    return {document_id(path, key): source for key, source in rendered.items()}


def line_count(data: bytes) -> int:
    """Lines as YAML counts them, and at least as an editor does."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    return 1 + sum(text.count(each) for each in "\n\r\x85\u2028\u2029")


def judge(data: bytes) -> Problem | dict[str, bytes]:
    """Read a page in all ways, and expect what is promised of any bytes."""
    found = within(1 + SECONDS_PER_BYTE * len(data), lambda: outcome(PATH, data))
    assert outcome(PATH, data) == found, "not the same again"
    if isinstance(found, Problem):
        assert found.page == PATH
        assert 10 < len(found.message) <= MAX_MESSAGE, f"{len(found.message)} characters"
        assert "\n" not in found.message
        found.message.encode()
        assert found.line is None or 1 <= found.line <= line_count(data)
    else:
        for id, source in found.items():
            assert len(id.encode()) <= 512
            document = json.loads(source)
            assert document["page"] == PATH
            assert id.endswith(document["binary"])
    both_ways_agree(data)
    return found


def both_ways_agree(data: bytes) -> None:
    """What the fast parser returns, the safe one returns, too."""
    assert parse_fast(PATH, data) in (None, parse_safely(PATH, data))


@fuzzed(200, 1500)
@given(trees().map(Data))
def test_a_page_with_another_tree(data: bytes) -> None:
    judge(data)


@fuzzed(200, 1500)
@given(yamls().map(Data))
def test_a_page_in_unusual_yaml(data: bytes) -> None:
    judge(data)


@fuzzed(200, 2500)
@given(damaged().map(Data))
def test_a_damaged_page(data: bytes) -> None:
    judge(data)


@needs_real_pages
@fuzzed(60, 1_000)
@given((trees(REAL_FRONTS) | yamls(REAL_FRONTS) | damaged(REAL)).map(Data))
def test_a_real_page_that_is_edited_or_damaged(data: bytes) -> None:
    judge(data)


@fuzzed(100, 1_000)
@given(anything)
@example(b"---\ntitle: !%0a a\n---")
def test_any_bytes(data: bytes) -> None:
    judge(data)


@fuzzed(60, 400)
@given(rows)
@example(Row("---\ntitle: !", "x", " a\n---", 20_000))
@example(Row("---\ntitle: *", "x", "\n---", 20_000))
def test_a_long_row_of_one_text(row: Row) -> None:
    judge(row.data)


def _only_texts(node: Any) -> bool:
    match node:
        case dict():
            return all(map(_only_texts, node.values()))
        case list():
            return all(map(_only_texts, node))
        case _:
            return isinstance(node, str)


@st.composite
def twice_written(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """The same data as the site writes it and as YAML."""
    front = draw(st.sampled_from(FRONTS))
    for _ in range(draw(st.integers(0, 2))):
        front = draw(edited(front, odd_values))
    data, style = plain(front), draw(styles)
    if not _only_texts(data):
        style["default_style"] = None  # PyYAML would write tags beside numbers
    text: str = yaml.dump(data, Dumper=yaml.CSafeDumper, **style)
    site = site_text(_tree(data)) if isinstance(data, dict) else json_text(front)
    return Data(f"---\n{site}---".encode()), Data(f"---\n{text}---".encode())


@fuzzed(200, 1_500)
@given(twice_written())
def test_yaml_and_json_of_the_same_data_give_the_same_documents(both: tuple[bytes, bytes]) -> None:
    one, other = map(judge, both)
    assert one == other or (isinstance(one, Problem) and isinstance(other, Problem))


# --- many at once -------------------------------------------------------------------------------------------------


@pytest.fixture
def embedded(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


@pytest.fixture(params=ENGINES)
def sandbox(request: pytest.FixtureRequest, tmp_path: Path, index_name: str) -> Sandbox:
    if request.param == "elasticsearch":
        return Sandbox(tmp_path, request.getfixturevalue("elasticsearch_index"), index_name)
    return Sandbox(tmp_path)


def _kept(root: Path) -> dict[str, Problem]:
    """Write mutated pages, each of a package of its own, and return those that can't be used."""
    problems: dict[str, Problem] = {}
    count = 0

    @fuzzed(400, 1_000)
    @given(trees() | yamls() | damaged() | twice_written().map(lambda both: both[0]))
    def page_for_an_index(data: bytes) -> None:
        nonlocal count
        path = path_of(f"p{count}")
        count += 1
        (root / path).parent.mkdir(parents=True)
        (root / path).write_bytes(data)
        found = outcome(path, data)
        if isinstance(found, Problem):
            problems[path] = found

    page_for_an_index()
    return problems


def test_what_can_be_read_every_engine_takes(sandbox: Sandbox) -> None:
    """The mapping is strict, and one document that is refused would make its page a problem."""
    expected = _kept(sandbox.root)
    sandbox.json("sync", expect=1)
    records = index_of(sandbox).reader(refresh=True).records()
    told = {each.page: (each.problem, each.line) for each in records if each.problem}
    assert told == {page: (problem.message, problem.line) for page, problem in expected.items()}
    found = documents(sandbox)
    assert len(found) > 100
    assert found == expected_documents(sandbox.root)


_BOUND: Final = 600_000_000
"""Bytes of address space that a command may use for pages of up to three megabytes; half of it are libraries."""


def _large() -> dict[str, bytes]:
    names = "\n".join(f" - {number}@1" for number in range(effort(10_000, 100_000)))
    bomb = f"a: &a [{'x,' * 9}x]\n" + "".join(f"a{n}: &a{n} [{'*a,' * 9}*a]\n" for n in range(9))
    size = effort(MEGABYTE // 5, MEGABYTE)
    broken = {
        "brackets": f"spec_details: {'[' * size}",
        "items": f"spec_details: [{'[],' * (size // 3)}]",
        "entries": f"spec_details: [{'{},' * (size // 3)}{{}}]",
        "text": f'spec_details: [{{"hash":"{"a" * size}","versions":["1"]}}]',
        "bomb": bomb,
    }
    real = big_page(count=effort(1_000, BIGGEST_PAGE))
    good = {
        "real": real,
        "real-yaml": real.replace(b"}, {", b"},\n {"),
        "names": f"{_HEAD}spec_names:\n{names}\n---".encode(),
    }
    return {name: f"{_HEAD}{text}\n---".encode() for name, text in broken.items()} | good


def test_large_pages_take_bounded_memory(embedded: Sandbox) -> None:
    """A page may be of any size up to ``pages.max_bytes``, and no byte of it may cost many."""
    large = _large()
    for name, data in large.items():
        (embedded.root / path_of(name)).parent.mkdir(parents=True)
        (embedded.root / path_of(name)).write_bytes(data)
    done = subprocess.run(
        embedded.command("check", embedded.root, "--json"),
        capture_output=True,
        text=True,
        check=False,
        cwd=embedded.folder,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (_BOUND, _BOUND)),
    )
    assert done.returncode == 1, done.stderr
    assert "Error" not in done.stderr
    told = json.loads(done.stdout)
    assert {Path(each["page"]).parent.name for each in told["problems"]} == large.keys() - {
        "real",
        "real-yaml",
        "names",
    }

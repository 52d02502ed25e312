"""The fast and the safe way read the same page; no bytes at all are more than a problem."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from cachesync.documents import render
from cachesync.pages import page as pages
from cachesync.pages.page import Page, Problem, parse
from cachesync.pages.version import version_key
from cachesync.yamltext import YamlError
from examples.pages import big_page
from tests.support.pages import page, path_of

PATH = path_of()
text = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x7f\x85\u2028\ufffe"), max_size=8)
hashes = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=1, max_size=4)
entries = st.fixed_dictionaries(
    {"hash": hashes, "versions": st.lists(text.filter(bool), min_size=1, max_size=1)},
    optional={
        "compiler": text,
        "os": text,
        "target": text,
        "platform": st.none() | text,
        "variants": st.lists(text, max_size=4),
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


@given(
    st.binary()
    | st.binary().map(lambda rest: b"---\n" + rest)
    | st.text().map(lambda rest: f"---\n{rest}\n---".encode())
)
def test_any_bytes_are_a_page_or_a_problem(data: bytes) -> None:
    found = parse(PATH, data)
    if isinstance(found, Page):
        assert isinstance(render(found), list | Problem)


@given(st.data())
def test_a_damaged_page_is_a_page_or_a_problem(data: st.DataObject) -> None:
    damaged = bytearray(big_page(count=3))
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place : place + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=10))
    found = parse(PATH, bytes(damaged))
    assert isinstance(found, Page | Problem)


@given(st.text("0123456789.-_abrcdevlopmstihn", max_size=20), st.text("0123456789.-_", max_size=12))
@example("", "")
def test_keys_take_any_version(one: str, number: str) -> None:
    assert version_key(one).isalnum()
    assert version_key(number + "rc1") <= version_key(number) or not any(map(str.isdigit, number))

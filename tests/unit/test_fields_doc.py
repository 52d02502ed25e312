"""docs/fields.md is made from the table of fields, and what it says is so."""

import json
import os
import re
import subprocess
import sys
from typing import Any

from cachesync.documents import FIELDS, render
from cachesync.pages.page import Page, parse
from cachesync.pages.version import INFINITY_WORDS, version_key, version_range
from tests.support.fields_doc import DOC, EXAMPLES, PROJECT, example_page, rows


def documents() -> dict[str, dict[str, Any]]:
    """The documents of the examples' page by hash."""
    read = parse(EXAMPLES["page"], example_page())
    assert isinstance(read, Page), read
    rendered = render(read)
    assert isinstance(rendered, dict), rendered
    return {key: json.loads(source) for key, source in rendered.items()}


def test_it_is_what_is_made_now() -> None:
    environment = {**os.environ, "PYTHONUTF8": "1"}
    command = [sys.executable, "docs/fields.py"]
    made = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, check=True).stdout.decode()
    assert made == DOC, "python docs/fields.py > docs/fields.md"


def test_it_has_every_field_and_says_of_each_what_it_is() -> None:
    assert [row[0] for row in rows("Fields")] == [f"`{name}`" for name in FIELDS]
    assert [row for row in rows("Fields") if len(row) != 5 or not all(cell.strip("` ") for cell in row)] == []
    assert {row[0].strip("`").removesuffix(".text") for row in rows("How to ask")} == set(FIELDS)


def test_the_examples_are_of_one_document() -> None:
    document = documents()[EXAMPLES["hash"]]
    found = {name: value if isinstance(value, list) else [value] for name, value in document.items()}
    assert found.keys() == FIELDS.keys() - {"git_ref"}
    assert [name for name, values in found.items() if EXAMPLES[name] not in map(str, values)] == []


def test_the_example_of_a_git_version_is_what_it_says() -> None:
    (other,) = documents().keys() - {EXAMPLES["hash"]}
    document = documents()[other]
    assert (document["git_ref"], document["version_key"]) == (EXAMPLES["git_ref"], EXAMPLES["version_key"])


def test_its_queries_ask_for_the_field_that_they_stand_beside() -> None:
    for name, kql, query in rows("How to ask"):
        assert name.strip("`") in query
        assert not kql or kql.startswith(f"{name[:-1]} ")
        json.loads(query.strip("`"))


def test_its_ranges_have_in_them_what_it_says() -> None:
    def has(ends: tuple[str | None, str | None], version: str) -> bool:
        least, below = ends
        return (not least or least <= version_key(version)) and (not below or version_key(version) < below)

    assert has(version_range("1.14", "1.14"), "1.15rc1")
    assert not has(version_range("1.14", "1.14"), "1.14rc1")
    assert has(version_range("1.12", None), "develop")
    assert has(version_range(None, "1.14.4"), "1.14.4-3")
    assert version_range("9e", "9e")[1] == version_key("9f")


def test_it_has_every_word_that_is_newer_than_all_numbers() -> None:
    words = re.findall(r"^ *\| ((?:`\w+` )+)\| `3`, and ((?:`\w` )+)", DOC, re.MULTILINE)[0]
    found = zip(*(re.findall(r"`(\w+)`", each) for each in words), strict=True)
    assert {word: f"3{code}0z" for word, code in found} == {word: version_key(word) for word in INFINITY_WORDS}

"""What docs/fields.md says is asked of a real server, and finds what the examples are from."""

import json
import re
import shutil
import subprocess
from typing import Any

import pytest

from tests.support import elasticsearch
from tests.support.fields_doc import DOC, EXAMPLES, example_page, rows
from tests.support.pages import entry, page, put
from tests.support.sandbox import Sandbox


@pytest.fixture
def filled(elastic: Sandbox) -> Sandbox:
    put(elastic.root, example_page(), EXAMPLES["package"], EXAMPLES["tag"])
    other = entry("b" * 32, os="sequoia", platform="darwin", target="m1", variants=[], stacks=[])
    put(elastic.root, page(other, title="intel-oneapi-mkl"), "intel-oneapi-mkl")
    elastic.run("sync")
    return elastic


def test_its_queries_find_the_examples(filled: Sandbox) -> None:
    def ask(body: dict[str, Any]) -> Any:
        return elasticsearch.request(f"{filled.url}/{filled.name}/_search", "POST", body)

    for name, _, query in rows("How to ask"):
        body = json.loads(query.strip("`"))
        if "aggs" in body:
            assert ask(body)["aggregations"]["binaries"]["value"] == 3, name
        else:
            assert ask({"query": body})["hits"]["total"]["value"] in {1, 2}, name


def test_its_commands_find_the_examples(filled: Sandbox) -> None:
    if not shutil.which("curl"):
        pytest.skip("there is no curl")
    commands = [block.strip("\n") for block in DOC.split("```")[1::2]]
    assert len(commands) == 2
    for command in commands:
        there = re.sub(r"http://\S+/spack-specs/", f"{filled.url}/{filled.name}/", command)
        printed = subprocess.run(["sh", "-euc", there], check=True, capture_output=True, text=True).stdout
        assert json.loads(printed)["hits"]["total"]["value"] == 2

"""Specs through parser and engines: whole answers are those that Spack's rules give, binary by binary."""

import os
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from cachesync.index.engines import open_index
from cachesync.index.generation import Reader
from cachesync.index.server import IndexServer, Layout
from cachesync.search.answer import ask
from cachesync.search.install import MIRROR_URL
from cachesync.search.query import All
from cachesync.search.question import Question
from cachesync.search.request import Facet, Filter, Request
from cachesync.search.spec import SpecQuery
from cachesync.search.vocabulary import Vocabulary
from tests.contract.conftest import ENGINES
from tests.hostile.fuzz import fuzzed, within
from tests.property.test_conditions import SYSTEMS, binary, specs, typed
from tests.support import brute, elasticsearch
from tests.support.filling import fill_with
from tests.support.pages import path_of
from tests.support.spack import Binary, document, satisfies

SECONDS: Final = 1.0
MANY: Final = int(os.environ.get("CACHESYNC_TEST_QUERIES", "1000"))
"""How many specs are tried with each engine when there is time for all."""

FACETS: Final = tuple(
    Facet(field, 50) for field in ("package", "os", "target", "compiler_name", "variant_names", "tag")
)
TAGS: Final = ("develop", "develop-2025-06-29", "develop-2025-07-06")


def _binaries() -> list[Binary]:
    choose = random.Random(16)
    return [binary(choose) for _ in range(400)]


BINARIES: Final = _binaries()


def _whole(number: int, each: Binary) -> dict[str, Any]:
    """A document: of two that follow one another, each in a tag of its own, the binary is the same."""
    tag = TAGS[number % 2 + number % 3 // 2]
    found = {
        **document(each),
        "tag": tag,
        "binary": f"b{number // 2:03d}",
        "binary_number": number // 2,
        "stacks": ["e4s"],
        "variants": [],
        "spec": each.package,
        "page": path_of(each.package, tag),
    }
    return found | ({"tag_date": tag[-10:]} if tag != "develop" else {})


DOCUMENTS: Final = [
    {"_id": f"{tag_and_package}/{number:03d}", **each}
    for number, each in enumerate(map(_whole, range(len(BINARIES)), BINARIES))
    for tag_and_package in [f"{each['tag']}/{each['package']}"]
]


@pytest.fixture(scope="module", params=ENGINES)
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    is_remote = request.param == "elasticsearch"
    folder = tmp_path_factory.mktemp("index")
    url = request.getfixturevalue("elasticsearch_url") if is_remote else f"embedded:{folder}"
    index = open_index(IndexServer((url,)), name, Layout(), Path)
    fill_with(index, DOCUMENTS)
    yield index.reader()
    index.close()
    if is_remote:
        elasticsearch.remove(url, name)


@fuzzed(150, MANY)
@given(
    spec=specs(),
    seed=st.integers(0, 2**16),
    distinct=st.booleans(),
    systems=st.lists(st.sampled_from(SYSTEMS), max_size=2, unique=True),
    targets=st.lists(st.sampled_from(["zen3", "x86_64_v3", "neoverse_n1"]), max_size=2, unique=True),
)
def test_the_whole_answer_is_that_of_spacks_rules(
    reader: Reader, spec: SpecQuery, seed: int, distinct: bool, systems: list[str], targets: list[str]
) -> None:
    chosen = {"os": systems, "target": targets}
    filters = tuple(Filter(field, tuple(values)) for field, values in chosen.items() if values)
    choose = random.Random(seed)
    spec = _with_less(spec, choose)
    text = typed(spec, choose)
    question = Question(text, "spec", filters, facets=FACETS, distinct=distinct, limit=50)
    answer = within(SECONDS, lambda: ask(question, reader, Vocabulary(reader, {}), MIRROR_URL))
    right = [each for each, there in zip(DOCUMENTS, BINARIES, strict=True) if satisfies(there, spec)]
    request = Request(All(), filters=filters, facets=FACETS, distinct=distinct, limit=50)
    total, ids, facets = brute.answer(right, request)
    assert answer.found.total == total
    assert [hit["_id"] for hit in answer.found.hits] == ids
    assert answer.found.facets == facets
    assert answer.found.binaries == brute.binaries(right, request)
    if distinct:
        assert [hit["tags"] for hit in answer.found.hits] == [_tags(right, filters, id) for id in ids]
    event("something" if total else "nothing")


def _with_less(spec: SpecQuery, choose: random.Random) -> SpecQuery:
    """Keep some of the conditions: by all of them hardly anything is found."""
    asked = {name: value for name, value in spec._asdict().items() if value}
    kept = choose.sample(sorted(asked), min(len(asked), choose.choice([1, 2, 2, 3])))
    return SpecQuery(**{name: asked[name] for name in kept})


def _tags(right: list[dict[str, Any]], filters: tuple[Filter, ...], id: str) -> list[str]:
    """The tags in which a binary matches, the newest first."""
    this = next(each["binary"] for each in right if each["_id"] == id)
    kept = [
        each for each in right if each["binary"] == this and all(each.get(one.field) in one.values for one in filters)
    ]
    return sorted({each["tag"] for each in kept}, key=lambda tag: (TAGS.index(tag) == 0, -TAGS.index(tag)))

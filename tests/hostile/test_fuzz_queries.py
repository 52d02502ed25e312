"""Whatever is typed into a search: an answer, the same from every engine, or a sentence about what is wrong with it."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from cachesync.documents import FIELDS
from cachesync.errors import UsageError
from cachesync.index.engines import open_index
from cachesync.index.generation import Reader
from cachesync.index.server import IndexServer, Layout
from cachesync.search.request import Found, Request, parse_facet, parse_filters, parse_order
from examples.pages import tree
from tests.contract.conftest import ENGINES
from tests.hostile.fuzz import fuzzed, within
from tests.support import brute, elasticsearch
from tests.support.asking import asked
from tests.support.filling import documents, fill
from tests.support.pages import entry, page, path_of

CORPUS: Final = dict(tree(tag_count=4, package_count=8, seed=5)) | {
    path_of("sized"): page(
        *(entry(f"S{number}", size=number % 5, os=None) for number in range(7)),
        entry(
            "Upper",
            versions=["1.0-RC+x"],
            variants=["a.b='c d'", "x:=(y)", 'q="\\"', "*?", "a|b", "a-_-b", "__c__"],
            stacks=["E4S"],
        ),
        title="sized",
    )
}
DOCUMENTS: Final = documents(CORPUS)
MAX_MESSAGE: Final = 1_000
TYPESET: Final = "“”…—·«»¿\u2018\u2019\u2013\u2011\u00a0\u200b"
"""What is beyond ASCII and split in the same way everywhere; of other scripts a server knows more."""

SECONDS: Final = 1.0


def _values(field: str) -> set[str]:
    found: set[str] = set()
    for each in DOCUMENTS:
        value = each.get(field, [])
        found |= {str(item) for item in (value if isinstance(value, list) else [value])}
    return found


VALUES: Final = {field: sorted(_values(field)) for field in FIELDS}
WORDS: Final = sorted({word for field in FIELDS for value in VALUES[field] for word in (value, *value.split())})
_OPERATORS: Final = (
    *"+~-=:@%/^*?\"'()[]{}\\,;.!<>$#|&_`", " ", "  ", "&&", "||", " NOT ", " AND ", " OR ", "\0", "\t", "\n", "\r",
    "\x1f", "==", ":=", "@=", "//", "..", ".*", "[a-", "(?i)", "\\d", "{2,}", "%%", "\x7f", "1", "1.", "a",
)  # fmt: skip

pieces = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(WORDS).flatmap(lambda word: st.integers(1, len(word)).map(lambda end: word[:end])),
    st.sampled_from(WORDS).map(str.swapcase),
    st.sampled_from(WORDS).map(lambda word: f"/{word}"),
    st.tuples(st.sampled_from(sorted(FIELDS)), st.sampled_from(["=", ":=", "==", ":"]), st.sampled_from(WORDS)).map(
        "".join
    ),
    st.sampled_from(_OPERATORS),
    st.sampled_from(TYPESET),
)


@st.composite
def meant(draw: st.DrawFn) -> str:
    """Words of one document, some of them only begun."""
    document = draw(st.sampled_from(DOCUMENTS))
    words = [*document["spec"].split(), document["package"], document.get("hash", "-"), document.get("tag", "-")]
    some = [word[: draw(st.integers(1, 60))] for word in draw(st.lists(st.sampled_from(words), max_size=4))]
    return draw(st.sampled_from([" ", " ", "  ", "+", "\n", "\u00a0", "”", "/"])).join(some)


typed = st.one_of(
    meant(),
    meant(),
    meant(),
    st.lists(pieces, max_size=6).map("".join),
    st.lists(pieces, max_size=6).map(" ".join),
    st.text(max_size=30),
    st.text(st.characters(max_codepoint=127), max_size=40),
    st.tuples(st.lists(pieces, min_size=1, max_size=3).map("".join), st.sampled_from([50, 1_000, 1_001, 100_000])).map(
        lambda drawn: (drawn[0] * drawn[1])[: drawn[1]] if drawn[0] else ""
    ),
    st.integers(1, 10_000).map(lambda count: "(" * count + "a" + ")" * count),
    st.lists(st.text("abcdefgh1.-", min_size=1, max_size=4), min_size=50, max_size=300).map(
        lambda words: " ".join(words)[:1_000]
    ),
)
_ODD_FIELDS: Final = ("", "_id", "_source", "package.text", "*", "nope", "PACKAGE", "a.b", "é", "x" * 1_500)
_ODD_VALUES: Final = (
    "", " ", "*", "0", "-1", "1e3", "9" * 18, "9" * 19, "9" * 5_000, "2025-02-30", "2025-03-23", "20250323", "0001-01-01",
    "2025-W01-1", "9999-12-31", "x" * 8_000, "a=b", "=", "\0", "é", "\udce9", "gcc@=11.4.0", "true", "null", "\u0661", "²",
)  # fmt: skip


def mostly(usual: st.SearchStrategy[str], odd: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.integers(0, 7).flatmap(lambda drawn: usual if drawn else odd)


fields = mostly(st.sampled_from(sorted(FIELDS)), st.sampled_from(_ODD_FIELDS))


@st.composite
def filters(draw: st.DrawFn) -> str:
    field = draw(fields)
    value = draw(mostly(st.sampled_from(VALUES.get(field) or [""]), st.sampled_from(_ODD_VALUES) | st.text(max_size=5)))
    return draw(
        mostly(st.just(f"{field}={value}"), st.sampled_from([f"{field}:{value}", value, f" {field} = {value}"]))
    )


def _with(usual: list[str], odd: list[str]) -> st.SearchStrategy[str]:
    ends = mostly(st.sampled_from(usual), st.sampled_from(odd) | st.text(max_size=3))
    return st.tuples(fields, ends).map("".join)


facets = _with(["", ":1", ":3", ":10000"], [":10001", ":0", ":-1", ":x", ":", ":1:2", ":٣", ":1 ", ":" + "9" * 5_000])
sorts = _with(["", ":desc", ":asc"], [":DESC", ":", ":up", ":desc:asc", " desc"])


def of_engine(engine: str, folder: Path, request: pytest.FixtureRequest) -> tuple[str, str]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    url = request.getfixturevalue("elasticsearch_url") if engine == "elasticsearch" else f"embedded:{folder}"
    return url, name


@pytest.fixture(scope="module", params=ENGINES)
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    url, name = of_engine(request.param, tmp_path_factory.mktemp("index"), request)
    index = open_index(IndexServer((url,)), name, Layout(), Path)
    fill(index, CORPUS)
    yield index.reader()
    index.close()
    if request.param == "elasticsearch":
        elasticsearch.remove(url, name)


def told(error: UsageError, *names: str) -> None:
    """A sentence of bounded length that says what it is about."""
    event("refused")
    message = str(error)
    assert any(name in message for name in names), message
    assert len(message) <= MAX_MESSAGE, f"{len(message)} characters"


def same(found: Found, request: Request) -> None:
    total, ids, counts = brute.answer(DOCUMENTS, request)
    assert found.total == total
    assert [hit["_id"] for hit in found.hits] == ids
    assert found.facets == counts


@fuzzed(60, 600)
@given(typed)
@example(" ".join(f"a{number}-a{number}" for number in range(120)))
@example(" ".join(f"a{number}" for number in range(250)))
@example("“sized”")
@example("+" * 1_000)
@example("hdf5-_")
@example("hdf5·")
def test_a_query_is_answered_or_refused_in_a_sentence(reader: Reader, query: str) -> None:
    try:
        request = within(SECONDS, lambda: asked(reader, query))
        found = within(SECONDS, lambda: reader.search(request))
    except UsageError as error:
        told(error, "the query", "character")
        return
    event("something" if found.total else "nothing")
    same(found, request)


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "query": draw(st.just("") | st.sampled_from(WORDS).filter(str.isascii)),
        "filters": tuple(draw(st.lists(filters(), max_size=3))),
        "facets": draw(st.lists(facets, max_size=2)),
        "sort": draw(st.none() | sorts),
        "limit": draw(st.sampled_from([0, 1, 5, 20, 10_000, 10_001, 2**40])),
    }


def parsed(reader: Reader, drawn: dict[str, Any]) -> Request:
    """As the command does it."""
    request = asked(reader, drawn["query"])._replace(
        filters=parse_filters(drawn["filters"]), facets=tuple(map(parse_facet, drawn["facets"])), limit=drawn["limit"]
    )
    return request if drawn["sort"] is None else request._replace(ranks=(), order=parse_order(drawn["sort"]))


@fuzzed(60, 600)
@given(options())
@example({"query": "", "filters": (), "facets": ["tag_date"], "sort": None, "limit": 0})
@example({"query": "", "filters": ("x" * 1_500,), "facets": [], "sort": None, "limit": 0})
def test_options_are_obeyed_or_refused_in_a_sentence(reader: Reader, drawn: dict[str, Any]) -> None:
    try:
        request = within(SECONDS, lambda: parsed(reader, drawn))
    except UsageError as error:
        told(error, "--filter", "--facet", "--sort", "the query")
        return
    event("asked")
    same(within(SECONDS, lambda: reader.search(request)), request)

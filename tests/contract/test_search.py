"""Every engine gives the answers of a reference, which counts document by document."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachesync.index.base import Index
from cachesync.index.generation import Reader
from cachesync.search.query import All, And, Exists, In, Not, Or, Prefix, Query, Range, Term
from cachesync.search.request import BINARIES, Facet, Filter, Request, SortKey, parse_order
from examples.pages import tree
from tests.contract.conftest import Filled, OpenIndex
from tests.support import brute
from tests.support.asking import asked
from tests.support.filling import documents, fill
from tests.support.pages import entry, page, path_of

CORPUS = dict(tree(tag_count=5, package_count=18, seed=3))
CORPUS |= {path_of("Cased"): page(*(entry(f"c{n}") for n in range(3)), title="CMake")}
CORPUS |= {
    path_of("twin", tag): page(*(entry(f"t{n}") for n in range(number)), title="twin", tag=tag)
    for tag, number in (("a", 2), ("b-2025-01-01", 4), ("c", 3))
}
CORPUS |= {path_of("sized"): page(*(entry(f"s{n}", size=n * 7 % 5, os=None) for n in range(9)), title="sized")}
DOCUMENTS = documents(CORPUS)
FACETED = ("package", "version", "compiler_name", "os", "target", "stacks", "variants", "tag")
SORTED = ("package", "version_key", "compiler_version_key", "hash", "size", "tag_date", "os")


def same(reader: Reader, request: Request) -> None:
    found = reader.search(request)
    total, ids, facets = brute.answer(DOCUMENTS, request)
    assert found.total == total
    assert [hit["_id"] for hit in found.hits] == ids
    assert found.facets == facets
    assert found.binaries == (brute.binaries(DOCUMENTS, request) if request.binaries else None)
    assert found.approximate == ()


@pytest.fixture(scope="module")
def corpus(filled: Filled) -> Reader:
    return filled(CORPUS)


@pytest.fixture(scope="module")
def typed_pages(filled: Filled) -> Reader:
    return filled({path_of(name): data for name, data in TYPED.items()})


def some_values(random_: random.Random, field: str, count: int) -> tuple[str, ...]:
    values = sorted({value for each in DOCUMENTS for value in _list(each.get(field, []))})
    return tuple(random_.sample(values, min(count, len(values))))


def _list(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def test_random_filters_and_facets_equal_the_reference(corpus: Reader) -> None:
    """12 random combinations of filters, 6 facets each."""
    random_ = random.Random(0)
    narrowed = 0
    for _ in range(12):
        fields = random_.sample(FACETED, random_.randint(1, 3))
        request = Request(
            filters=tuple(Filter(field, some_values(random_, field, random_.randint(1, 4))) for field in fields),
            facets=tuple(Facet(field, random_.choice((3, 20, 1000))) for field in random_.sample(FACETED, 6)),
            limit=50,
            distinct=random_.random() < 0.5,
            binaries=True,
        )
        same(corpus, request)
        narrowed += brute.answer(DOCUMENTS, request)[0] > 0
    assert narrowed >= 6, "the filters should find something"


@pytest.mark.parametrize("limit", [0, 1, 3, 100])
@pytest.mark.parametrize("order", ["package", "tag:desc", "hash", "tag_date"])
def test_a_distinct_hit_is_the_first_document_of_its_binary(corpus: Reader, order: str, limit: int) -> None:
    request = Request(order=parse_order(order), limit=limit, distinct=True, binaries=True, facets=(Facet("tag"),))
    twins = request._replace(filters=(Filter("package", ("twin",)),))
    same(corpus, request)
    same(corpus, twins)
    found = corpus.search(twins)
    assert (found.total, found.binaries, len(found.hits)) == (9, 4, min(limit, 4))
    same(corpus, twins._replace(ranks=(Term("tag", "c"), Term("tag", "a"))))


@pytest.mark.parametrize("field", ["package", "version_key", "stacks", "variant_names", "os", "tag"])
def test_a_vocabulary_has_all_values_of_a_field(corpus: Reader, field: str) -> None:
    found = corpus.vocabulary(field)
    assert found == sorted(
        {value.lower() if field == "package" else value for each in DOCUMENTS for value in _list(each.get(field, []))}
    )


def test_several_queries_are_counted_together(corpus: Reader) -> None:
    asked = (Term("package", "twin"), All(), Or(()), Not(Term("os", "rhel8")), Range("version_key", "2a3", None))
    assert corpus.count(asked) == [brute.answer(DOCUMENTS, Request(each))[0] for each in asked]
    assert corpus.count([]) == []


@pytest.mark.parametrize(
    "bound", ["c", "TO", "*", "a b", 'a"b', "a]b", "a}b", "a\\b", "-", "_cache/c", "\u00e9", "2a", "a:b", "~", "\x01"]
)
@pytest.mark.parametrize("field", ["page", "tag", "version_key", "variant_values"])
def test_a_range_may_begin_and_end_anywhere(corpus: Reader, field: str, bound: str) -> None:
    asked = (Range(field, bound, None), Range(field, None, bound), Range(field, bound, "\U0010ffff"))
    assert corpus.count(asked) == [brute.answer(DOCUMENTS, Request(each))[0] for each in asked]


def test_hits_have_the_requested_fields(corpus: Reader) -> None:
    request = Request(fields=("tag", "tag_date"), limit=5)
    found = corpus.search(request._replace(order=parse_order("tag_date")))
    assert [set(hit) for hit in found.hits] == [{"_id", "tag", "tag_date"}] * 5
    assert all(set(hit) <= {"_id", "tag", "tag_date"} for hit in corpus.search(request._replace(limit=1000)).hits)


@pytest.mark.parametrize("limit", [0, 1, 7, 100, 2**40])
@pytest.mark.parametrize(
    "order",
    [
        *SORTED,
        *("version_key:desc", "size:desc", "hash:desc", "os:desc"),
        *("os version:desc", "size:desc tag", "tag_date:desc os package:desc", "os os:desc"),
    ],
)
def test_the_order_is_the_same_for_any_limit(corpus: Reader, order: str, limit: int) -> None:
    keys = tuple(key for each in order.split() for key in parse_order(each))
    same(corpus, Request(order=keys, limit=limit))


@pytest.mark.parametrize(
    "typed",
    [
        "mkl",
        "py-p",
        "hdf",
        "hdf5 gcc",
        "HDF5 +mpi",
        "~mpi zen4",
        "e4s cmake",
        "develop-2025",
        "build_system=cmake",
        "py",
    ],
)
def test_free_text(corpus: Reader, typed: str) -> None:
    request = asked(corpus, typed)._replace(limit=20_000, facets=(Facet("package", 50),))
    same(corpus, request)
    assert corpus.search(request).total > 0


def values(field: str) -> st.SearchStrategy[str]:
    return st.sampled_from(sorted({value for each in DOCUMENTS for value in _list(each.get(field, []))}))


queries = st.recursive(
    st.one_of(
        st.just(All()),
        st.sampled_from(FACETED).flatmap(lambda field: st.builds(Term, st.just(field), values(field))),
        st.sampled_from(FACETED).flatmap(
            lambda field: st.builds(
                In, st.just(field), st.lists(values(field) | st.just("none"), max_size=3).map(tuple)
            )
        ),
        st.sampled_from(["version_key", "compiler_version_key", "stacks", "hash"]).flatmap(
            lambda field: st.builds(Range, st.just(field), st.none() | values(field), st.none() | values(field))
        ),
        st.builds(Term, st.just("package"), st.sampled_from(["CMake", "cmake", "CMAKE"])),
        st.builds(
            Prefix,
            st.sampled_from(["package", "variants", "hash", "version"]),
            st.text("abcCgpx~+-=_.1250", min_size=1, max_size=3),
        ),
        st.builds(Exists, st.sampled_from(["hash", "compiler_name", "tag_date", "size"])),
    ),
    lambda children: st.one_of(
        st.builds(Not, children),
        st.builds(And, st.lists(children, max_size=3).map(tuple)),
        st.builds(Or, st.lists(children, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_random_questions_have_the_reference_answers(corpus: Reader, data: st.DataObject) -> None:
    key = st.builds(SortKey, st.sampled_from(SORTED), st.booleans())
    ranks: st.SearchStrategy[tuple[Query, ...]] = st.lists(queries, max_size=2).map(tuple)
    request = Request(
        query=data.draw(queries),
        ranks=data.draw(ranks),
        facets=(Facet(data.draw(st.sampled_from(FACETED)), data.draw(st.integers(1, 30))),),
        order=tuple(data.draw(st.lists(key, max_size=3))),
        limit=data.draw(st.integers(0, 40)),
        distinct=data.draw(st.booleans()),
        binaries=data.draw(st.booleans()),
    )
    same(corpus, request)


TYPED = {
    "zlib": page(entry("z1", variants=["cxxstd=17", "+mpi"], compiler="gcc@11.4.0", stacks=["Foo"]), title="zlib"),
    "py-pip": page(
        entry("p1", variants=["cxxstd=11"], target="zen4"), entry("p2", versions=["24.3.1"]), title="py-pip"
    ),
    "intel-oneapi-mkl": page(
        entry("m1", variants=["~mpi", "languages:='c,c++'"], compiler="clang@17"),
        title="intel-oneapi-mkl",
        tag="Release",
    ),
}


@pytest.mark.parametrize(
    ("typed", "ids"),
    [
        ("zlib", "z1"),
        ("ZLIB", "z1"),
        ("zl", "z1"),
        ("py-p", "p1 p2"),
        ("pip", "p1 p2"),
        ("py-pip@24", "p2"),
        ("24.3", "p2"),
        ("mkl", "m1"),
        ("oneapi-mk", "m1"),
        ("intel mkl", "m1"),
        ("mkl-oneapi", "m1"),
        ("gcc", "p1 p2 z1"),
        ("gcc@11 cxxstd=11", ""),
        ("%gcc@11 cxxstd=11", "p1"),
        ("cxxstd=1", ""),
        ("cxxstd=17", "z1"),
        ("languages=c,c++", "m1"),
        ("target=zen4", "p1"),
        ("zen4", "p1"),
        ("os=ubuntu22.04 platform=linux", "m1 p1 p2 z1"),
        ("arch=linux-ubuntu22.04-zen4", "p1"),
        ("zlib+mpi", "z1"),
        ("zlib~mpi", ""),
        ("-mpi", "m1"),
        ("/z", "z1"),
        ("Foo", "z1"),
        ("Release", "m1"),
        ("clang", "m1"),
        ("*", "m1 p1 p2 z1"),
        ("py-_ pip_", "p1 p2"),
        ("pip-_", "p1 p2"),
        ("“zlib”", "z1"),
        ("zlib·", "z1"),
        ("\u2018zlib\u2019 gcc…", "z1"),
        ("py\u2011pip", "p1 p2"),
        ("zlib\u200b", "z1"),
    ],
)
def test_typed_queries_find_the_documents_meant(typed_pages: Reader, typed: str, ids: str) -> None:
    found = typed_pages.search(asked(typed_pages, typed))
    assert sorted(hit["hash"] for hit in found.hits) == ids.split()


def test_names_that_fit_better_come_first(index: Index) -> None:
    names = ["quxx", "qux-dnn", "intel-oneapi-qux", "zz"]
    pages = {path_of(name): page(entry("h", variants=["note=qux"]), title=name) for name in names}
    fill(index, pages)
    reader = index.reader()
    assert [hit["package"] for hit in reader.search(asked(reader, "qux")).hits] == names


def test_parts_of_a_name_match_in_order(index: Index) -> None:
    fill(index, {path_of(name): page(entry("h"), title=name) for name in ("py-pip", "py-graph", "pip-py", "py-x-p")})
    assert [hit["package"] for hit in index.reader().search(asked(index.reader(), "py-p")).hits] == ["py-pip"]


def test_versions_sort_as_spack_sorts(index: Index) -> None:
    versions = ["1.9", "1.10", "1.2rc1", "develop", "main", "1.2"]
    fill(index, {path_of(): page(*(entry(f"h{n}", versions=[each]) for n, each in enumerate(versions)))})
    found = index.reader().search(Request(order=parse_order("version:desc")))
    assert [hit["version"] for hit in found.hits] == ["develop", "main", "1.10", "1.9", "1.2", "1.2rc1"]


def test_a_facet_with_very_many_values_is_exact(index: Index, open_again: OpenIndex) -> None:
    """Terms aggregations fail or become approximate beyond 65,000 values."""
    count = 66_000
    fill(index, {path_of(): page(*({"hash": f"h{number:06d}", "versions": ["1"]} for number in range(count)))})
    found = open_again().reader().search(Request(facets=(Facet("hash", 3),), limit=1))
    assert found.total == count
    assert found.facets["hash"] == [("h000000", 1), ("h000001", 1), ("h000002", 1)]


def test_several_facets_with_many_values_together_are_exact(index: Index) -> None:
    """Each has fewer than 65,000 values, the limit of one aggregation. A facet leaves out the filter on its field."""
    count = 7_000
    unique = {name: f"{name}{{}}" for name in ("compiler", "os", "platform", "target")}
    entries = (
        entry(
            f"h{n:04d}",
            versions=[f"1.{n:04d}"],
            variants=[f"v={n:04d}"],
            stacks=[f"s{n:04d}"],
            **{name: form.format(f"{n:04d}") for name, form in unique.items()},
        )
        for n in range(count)
    )
    fill(index, {path_of(): page(*entries)})
    fields = ("hash", "binary", "version", "version_key", "variants", "variant_values", "stacks", *unique)
    facets = tuple(Facet(field, 2) for field in fields)
    found = index.reader().search(Request(facets=facets, limit=1, binaries=True))
    assert (found.total, len(found.facets), found.approximate) == (count, len(fields), (BINARIES,))
    assert found.binaries == pytest.approx(count, rel=0.05)
    assert all([each.documents for each in counts] == [1, 1] for counts in found.facets.values())
    assert found.facets["variants"] == [("v=0000", 1), ("v=0001", 1)]
    narrowed = index.reader().search(Request(filters=(Filter("os", ("os0003",)),), facets=facets, limit=1))
    assert (narrowed.total, narrowed.facets["hash"]) == (1, [("h0003", 1)])
    assert narrowed.facets["os"] == [("os0000", 1), ("os0001", 1)]

"""Filters, facets and sort keys are parsed."""

import pytest

from cachesync.errors import UsageError
from cachesync.search.query import All, And, Or, Term
from cachesync.search.request import (
    Facet,
    Filter,
    Request,
    SortKey,
    parse_facet,
    parse_filters,
    parse_order,
    without_latest,
)


def test_filters_of_one_field_are_alternatives_and_split_at_the_first_equals_sign() -> None:
    assert parse_filters(("os=a", "variants=build_system=cmake", "os=b", "size=7", "tag_date=2025-03-23")) == (
        Filter("tag_date", ("2025-03-23",)),
        Filter("os", ("a", "b")),
        Filter("variants", ("build_system=cmake",)),
        Filter("size", (7,)),
    )


def test_the_order_of_filters_makes_no_difference() -> None:
    assert parse_filters(("size=7", "os=a")) == parse_filters(("os=a", "size=7"))


def test_the_latest_tag_excludes_other_tags() -> None:
    assert without_latest(parse_filters(("os=a", "tag=t"))) == (parse_filters(("os=a", "tag=t")), None)
    assert without_latest(parse_filters(("tag=latest", "os=a", "tag=latest"))) == (parse_filters(("os=a",)), "latest")
    with pytest.raises(UsageError, match=r"^tag=latest: expected it alone"):
        without_latest(parse_filters(("tag=latest", "tag=t")))


def test_a_facet_is_not_narrowed_by_its_own_filters() -> None:
    request = Request(filters=parse_filters(("os=a", "tag=t")))
    assert request.matching() == And((All(), Or((Term("tag", "t"),)), Or((Term("os", "a"),))))
    assert request.matching(without="os") == And((All(), Or((Term("tag", "t"),))))


def test_facets_and_orders() -> None:
    assert parse_facet("os") == Facet("os", 20)
    assert parse_facet("os:3") == Facet("os", 3)
    assert parse_order("version:desc") == (SortKey("version_key", descending=True),)
    assert parse_order("compiler_version") == (SortKey("compiler_version_key"),)
    assert parse_order("size:asc") == (SortKey("size"),)


@pytest.mark.parametrize(
    "text", ["os", "os=", "nope=1", "spec=zlib", "size=big", "size=99999999999999999999", "tag_date=soon", "=x"]
)
def test_a_wrong_filter_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--filter "):
        parse_filters((text,))


@pytest.mark.parametrize(
    "text", ["nope", "os:", "os:0", "os:x", "os:-1", "os:10001", "os:" + "9" * 5000, "spec", "size"]
)
def test_a_wrong_facet_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--facet "):
        parse_facet(text)


@pytest.mark.parametrize("text", ["nope", "os:up", "stacks", "spec"])
def test_a_wrong_order_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--sort "):
        parse_order(text)

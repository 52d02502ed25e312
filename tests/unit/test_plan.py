"""The decisions of a plan, case by case."""

from typing import Final

import pytest

from cachesync.documents import Rendered
from cachesync.ledger import PageRecord, Signature, digests
from cachesync.pages.page import Problem
from cachesync.sync.plan import Todo, page_change, plan
from cachesync.sync.scan import Entry, Scan

PAGE: Final = "_cache/a/x/specs.md"
SIGNATURE: Final = Signature(1, 2, 3, 4, 5)


def record(page: str = PAGE, specs: int = 2, digest: str | None = "d", *, settled: bool = True) -> PageRecord:
    return PageRecord(page=page, signature=SIGNATURE, settled=settled, digest=digest, specs=specs, synced="")


def scanned(*entries: Entry, unread: tuple[str, ...] = ()) -> Scan:
    return Scan({each.path: each for each in entries}, dict.fromkeys(unread, False), [], [])


SAME = Entry(PAGE, SIGNATURE)


@pytest.mark.parametrize(
    ("entry", "known", "count", "read", "gone", "unchanged"),
    [
        pytest.param(SAME, record(), 2, 0, 0, 1, id="nothing changed"),
        pytest.param(SAME, None, 0, 1, 0, 0, id="a new page"),
        pytest.param(None, record(), 2, 0, 1, 0, id="a page is gone"),
        pytest.param(SAME, record(settled=False), 2, 1, 0, 0, id="a signature that can't be trusted"),
        pytest.param(SAME, record(digest=None), 2, 1, 0, 0, id="it couldn't be read before"),
        pytest.param(SAME._replace(fault="a folder"), record(), 2, 1, 0, 0, id="it can't be read now"),
        pytest.param(SAME, record(), 1, 1, 0, 0, id="documents are missing"),
        pytest.param(SAME, record(), 3, 1, 0, 0, id="there are too many documents"),
        pytest.param(SAME, None, 1, 1, 0, 0, id="documents of a new page are there already"),
        pytest.param(None, None, 1, 0, 1, 0, id="documents of no page at all"),
    ],
)
def test_the_plan_for_each_state_of_a_page(
    entry: Entry | None, known: PageRecord | None, count: int, read: int, gone: int, unchanged: int
) -> None:
    found = scanned(entry) if entry else scanned()
    result = plan(found, [known] if known else [], {PAGE: count} if count else {})
    assert (len(result.read), len(result.gone), result.unchanged) == (read, gone, unchanged)
    check_documents = count != (known.specs if known else 0)
    assert [todo.check_documents for todo in result.read + result.gone] == [check_documents] * (read + gone)


@pytest.mark.parametrize("field", range(5))
def test_any_difference_of_the_signature_is_a_change(field: int) -> None:
    values = [1, 2, 3, 4, 5]
    values[field] -= 1
    assert plan(scanned(Entry(PAGE, Signature(*values))), [record()], {PAGE: 2}).read


@pytest.mark.parametrize("unread", ["_cache/a", "_cache", "", PAGE])
def test_pages_below_unlisted_folders_are_kept(unread: str) -> None:
    result = plan(scanned(unread=(unread,)), [record()], {PAGE: 2, "_cache/a/y/specs.md": 1})
    assert result.gone == [] or unread == PAGE
    assert result.unchanged == 1


def test_an_unlisted_folder_beside_a_page_does_not_keep_it() -> None:
    assert plan(scanned(unread=("_cache/a/x2", "_cache/a/x/specs.md2", "_cach")), [record()], {PAGE: 2}).gone


def test_problems_of_the_scan_and_of_unchanged_pages_are_kept() -> None:
    problem = Problem("x", "y")
    known = record()
    known.problem, known.line = "broken", 7
    result = plan(Scan({PAGE: SAME}, {}, [problem], []), [known], {PAGE: 2})
    assert result.problems == [problem, Problem(PAGE, "broken", 7)]
    assert result.unchanged == 0


def rendered(**sources: str) -> Rendered:
    return {key: source.encode() for key, source in sources.items()}


def test_only_new_and_different_specs_are_written_and_missing_ones_deleted() -> None:
    before = digests(rendered(same="1", changed="2", gone="3"))
    change = page_change(Todo(PAGE, SAME, record()), rendered(same="1", changed="2!", new="4"), before, record())
    assert [(put.id, put.source, put.is_new) for put in change.puts] == [
        ("a/x/changed", b"2!", False),
        ("a/x/new", b"4", True),
    ]
    assert change.deletes == ["a/x/gone"]
    assert change.digests == digests(rendered(same="1", changed="2!", new="4"))
    assert change.before is not None


def test_if_only_keys_are_known_everything_is_written() -> None:
    change = page_change(
        Todo(PAGE, SAME, record(), check_documents=True), rendered(a="1", b="2"), {"a": b"", "x": b""}, record()
    )
    assert [(put.id, put.is_new) for put in change.puts] == [("a/x/a", False), ("a/x/b", True)]
    assert change.deletes == ["a/x/x"]


def test_a_path_deleted_during_the_scan_needs_another_pass() -> None:
    assert plan(Scan({}, {"_cache/a": True}, [], []), [record()], {PAGE: 2}).again
    assert not plan(Scan({}, {"_cache/a": False}, [], []), [record()], {PAGE: 2}).again


def test_an_unreadable_page_that_has_not_changed_is_a_retry() -> None:
    known = record(digest=None, specs=0)
    assert plan(scanned(SAME._replace(fault="a folder")), [known], {}).read[0].is_retry
    changed = SAME._replace(signature=Signature(1, 2, 3, 4, 6))
    assert not plan(scanned(changed), [known], {}).read[0].is_retry
    assert not plan(scanned(SAME), [], {}).read[0].is_retry


TWIN: Final = "a/x/specs.md"


def test_a_page_keeps_its_ids_from_one_that_would_have_the_same() -> None:
    result = plan(scanned(SAME, Entry(TWIN, SIGNATURE)), [record()], {PAGE: 2})
    assert result.unchanged == 1
    assert "ids of those of _cache/a/x/specs.md" in str(result.read[0].entry and result.read[0].entry.fault)
    result = plan(scanned(SAME, Entry(TWIN, SIGNATURE)), [record(TWIN)], {TWIN: 2})
    assert "ids of those of a/x/specs.md" in str(result.read[0].entry and result.read[0].entry.fault)


@pytest.mark.parametrize(("old", "new"), [(PAGE, TWIN), (TWIN, PAGE)])
def test_a_page_that_moved_to_where_it_has_the_same_ids_waits_for_their_deletion(old: str, new: str) -> None:
    result = plan(scanned(Entry(new, SIGNATURE)), [record(old)], {old: 2})
    assert (result.read, len(result.gone), result.again) == ([], 1, True)


def test_of_two_new_pages_with_the_same_ids_the_first_by_path_has_them() -> None:
    result = plan(scanned(SAME, Entry(TWIN, SIGNATURE)), [], {})
    assert [bool(todo.entry and todo.entry.fault) for todo in result.read] == [False, True]

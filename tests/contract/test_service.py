"""The contract of every engine with a service: a process that writes for months, and serves requests of others."""

import math
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from cachesync.context import Context, StoppedError, running
from cachesync.errors import IndexUnavailableError
from cachesync.index.base import Index
from cachesync.index.freshness import FRESHNESS, Freshness, note_freshness, read_freshness
from cachesync.index.generation import Generation, PageChange
from cachesync.index.lifecycle import Writer
from tests.contract.conftest import OpenIndex
from tests.support.filling import change_for, documents, fill, write
from tests.support.pages import entry, page, path_of
from tests.support.service import until

A, B = path_of("a"), path_of("b")
PAGES = {A: page(entry("a1"), entry("a2"), title="a"), B: page(entry("b1"), title="b")}


def live(writer: Writer) -> Generation:
    found = writer.live()
    assert found
    return found


def held(index: Index) -> list[str]:
    return sorted(each.id for each in index.reader(refresh=True).documents())


# --- reading and writing a part -----------------------------------------------------------------------------------------


def test_the_ledger_is_read_below_folders(index: Index) -> None:
    paths = [path_of("a", tag) for tag in ("é", "dev", "develop", "develop-2025")] + [path_of("ab", "develop")]
    fill(index, {path: page(entry("1"), title="a") for path in paths})
    reader = index.reader()
    found = {
        below: sorted(record.page for record in reader.records(below))
        for below in (
            ("_cache/develop/",),
            ("_cache/develop/a/", "_cache/é/"),
            ("_cache/none/",),
            ("_cache/dev*/",),
            (*(f"_cache/none-{number}/" for number in range(249)), "_cache/dev/"),
            (),
        )
    }
    assert list(found.values()) == [
        [path_of("a", "develop"), path_of("ab", "develop")],
        [path_of("a", "develop"), path_of("a", "é")],
        [],
        [],
        [path_of("a", "dev")],
        sorted(paths),
    ]


def test_writes_without_refresh_are_found_after_a_refresh(index: Index) -> None:
    fill(index, PAGES)
    with index.writer(1) as writer:
        generation = live(writer)
        after = page(entry("a1"), entry("a3"), entry("a4"), title="a")
        assert [each.page for each in generation.write([change_for(A, after, PAGES[A])], refresh=False)] == [A]
        generation.refresh()
        assert generation.counts() == {A: 3, B: 1}


def test_a_generation_is_built_while_the_live_one_is_written(index: Index) -> None:
    """Both threads write in lockstep, one page each at a time."""
    first, second = (page(entry("1", os=name), title="p") for name in ("first", "second"))
    paths = [path_of(f"p{number}") for number in range(20)]
    fill(index, dict.fromkeys(paths, first))
    both = threading.Barrier(2)

    def in_step(changes: list[PageChange]) -> Iterator[PageChange]:
        for change in changes:
            both.wait(10)
            yield change

    def build() -> None:
        generation = writer.build()
        built.append(generation)
        begun.set()
        written.append(write(generation, in_step([change_for(path, second) for path in paths])))

    built: list[Generation] = []
    written: list[list[str]] = []
    begun = threading.Event()
    with index.writer(1) as writer:
        thread = threading.Thread(target=build)
        thread.start()
        assert begun.wait(10)
        written.append(write(live(writer), in_step([change_for(path, second, first) for path in paths])))
        thread.join()
        assert [sorted(each) for each in written] == [sorted(paths)] * 2
        for _ in range(2):
            assert live(writer).size() == (20, 20)
        assert built[0].size() == (20, 20)
        writer.promote(built[0])
        assert live(writer).generation == built[0].generation
    assert {hit["os"] for hit in documents(dict.fromkeys(paths, second))} == {"second"}
    assert {each.source.partition(b'"os":')[2][:8] for each in index.reader().documents()} == {b'"second"'}


def test_a_generation_being_built_is_kept_until_it_is_discarded(index: Index, open_again: OpenIndex) -> None:
    with index.writer(1) as writer:
        first = writer.build()
        assert writer.live() is None
        assert write(first, [change_for(A, PAGES[A])]) == [A]
        writer.promote(first)
        second = writer.build()
        assert live(writer).generation == first.generation
        assert write(second, [change_for(B, PAGES[B])]) == [B]
        writer.discard(second)
        with pytest.raises(IndexUnavailableError):
            write(second, [change_for(A, PAGES[A])])
    with open_again().writer(1) as writer:
        left = writer.build()
    with open_again().writer(1) as writer:
        live(writer)
        with pytest.raises(IndexUnavailableError):
            write(left, [change_for(A, PAGES[A])])
    assert held(index) == ["develop/a/a1", "develop/a/a2"]


def test_a_writer_notices_whether_readers_find_its_live_generation(index: Index) -> None:
    with index.writer(1) as writer:
        assert not writer.intact()
        assert writer.live() is None
        assert not writer.intact()
        for _ in range(2):
            generation = writer.build()
            writer.promote(generation)
            assert writer.intact()
        generation = writer.build()
        assert writer.intact()
        writer.discard(generation)
        writer.rollback()
        assert writer.intact()
    with index.writer(1) as writer:
        assert not writer.intact(), "it hasn't opened the live generation yet"
        live(writer)
        assert writer.intact()


# --- one service, and others ---------------------------------------------------------------------------------------------


def test_a_service_is_distinguished_from_a_command(index: Index, open_again: OpenIndex) -> None:
    with index.writer(1) as writer:
        writer.build()
        assert not open_again().status().service
    with index.writer(math.inf, serving=True):
        status = open_again().status()
        assert status.service
        assert status.holder
        with pytest.raises(IndexUnavailableError, match=r"still writing .* after 0 s"), open_again().writer(0):
            pass
    status = open_again().status()
    assert (status.service, status.holder) == (False, None)
    with index.writer(1) as writer:
        writer.build()
        assert not open_again().status().service


def test_a_service_stands_by_and_takes_over(index: Index, open_again: OpenIndex) -> None:
    serving, done = threading.Event(), threading.Event()

    def stand_by() -> None:
        with open_again().writer(math.inf, serving=True):
            serving.set()
            done.wait(10)

    with index.writer(1, serving=True) as writer:
        writer.promote(writer.build())
        thread = threading.Thread(target=stand_by)
        thread.start()
        assert not serving.wait(0.1)
    assert serving.wait(10)
    assert index.status().service
    done.set()
    thread.join()
    assert index.status().holder is None


def test_standing_by_ends_on_a_stop(index: Index, open_again: OpenIndex) -> None:
    stop = threading.Event()
    holders: list[str] = []

    def wait(holder: str) -> None:
        holders.append(holder)
        if len(holders) == 3:
            stop.set()

    with (
        index.writer(1, serving=True),
        running(Context(stop)),
        pytest.raises(StoppedError),
        open_again().writer(math.inf, serving=True, on_wait=wait),
    ):
        pass
    assert f"process {os.getpid()}" in holders[0]


def test_a_note_is_what_was_written_last(index: Index, open_again: OpenIndex) -> None:
    notes = index.notes()
    assert notes.get("last-reindex") is None
    assert notes.list_keys() == []
    notes.remove("last-reindex")
    notes.put("last-reindex", b'{"at": "2026-01-01"}')
    notes.put("other", "é\n😀".encode())
    notes.put("last-reindex", b"{}")
    again = open_again().notes()
    assert again.get("last-reindex") == b"{}"
    assert again.get("other") == "é\n😀".encode()
    assert sorted(again.list_keys()) == ["last-reindex", "other"]
    again.remove("last-reindex")
    assert notes.get("last-reindex") is None
    assert again.list_keys() == ["other"]
    for key in ("", "A", "../x", "a_b", ".x"):
        for attempt in (notes.get, notes.remove, lambda key: notes.put(key, b"")):
            with pytest.raises(ValueError, match="not a valid key"):
                attempt(key)


def test_notes_do_not_disturb_the_index(index: Index, open_again: OpenIndex) -> None:
    index.notes().put("request-1", b"early")
    assert not index.exists()
    fill(index, PAGES)
    fill(index, PAGES)
    assert open_again().notes().get("request-1") == b"early", "they outlive generations"
    assert held(index) == ["develop/a/a1", "develop/a/a2", "develop/b/b1"]


def test_the_freshness_of_an_index_is_read_by_others(index: Index, open_again: OpenIndex) -> None:
    assert read_freshness(open_again().notes()) is None
    noon = datetime(2026, 3, 1, 12, 0, 0, 250_000, UTC)
    first = Freshness(noted=noon, writer="command", in_sync=False, written=noon, degraded=("held", "problems"))
    second = Freshness(noted=noon, due=noon + timedelta(minutes=10), writer="service", in_sync=True, lag_seconds=0.5)
    for note in (first, second):
        note_freshness(index.notes(), note)
        assert read_freshness(open_again().notes()) == note
    fill(index, PAGES)
    assert read_freshness(open_again().notes()) == second
    index.notes().put(FRESHNESS, b"{")
    assert read_freshness(open_again().notes()) is None


def test_a_service_receives_signals(index: Index, open_again: OpenIndex) -> None:
    """It sees them with the next renewal of its lease, within three seconds."""
    with index.writer(1, serving=True) as writer:
        for number in range(3):
            before = writer.signals()
            assert writer.signals() == before
            open_again().notes().put(f"request-{number}", b"{}")
            open_again().signal()
            until(lambda before=before: writer.signals() != before, "the signal", 10)  # type: ignore[misc]


def test_a_signal_before_there_is_an_index_does_no_harm(index: Index, open_again: OpenIndex) -> None:
    index.signal()
    assert not index.exists()
    with open_again().writer(1, serving=True) as writer:
        assert writer.live() is None

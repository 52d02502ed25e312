"""Errands from both sides: what a command leaves in a real index, and what a service makes of it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from cachesync.errors import CachesyncError, ConsentError, IndexUnavailableError, UsageError
from cachesync.index.base import Writer
from cachesync.index.embedded import EmbeddedIndex
from cachesync.service import errands as errands_module
from cachesync.service import handover
from cachesync.service.errands import Asked, Errands
from cachesync.service.handover import Errand, Held, Reply, errand_key, hand_over, reply_key

ROLLBACK = Errand("rollback")


class KnockedIndex(EmbeddedIndex):
    """One whose service comes as soon as somebody knocks."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "specs")
        self.id = ""
        self.come: Callable[[str], None] = lambda _id: None

    def knock(self, id: str) -> None:
        super().knock(id)
        self.id = id
        self.come(id)


@pytest.fixture
def index(tmp_path: Path) -> KnockedIndex:
    return KnockedIndex(tmp_path / "index")


@pytest.fixture
def writer(index: KnockedIndex) -> Iterator[Writer]:
    with index.writer(1, serving=True) as writer:
        yield writer


@pytest.fixture
def errands(index: KnockedIndex, writer: Writer) -> Errands:
    return Errands(writer, index.notes())


def reply(errands: Errands, id: str, reply: Reply) -> None:
    errands.settle(id, reply)
    errands.reply()


def no_progress(_done: int, _pages: int) -> None:
    pass


def is_left(index: KnockedIndex) -> bool:
    """Whether anything is left of the errand."""
    return any(index.notes().get(key(index.id)) is not None for key in (errand_key, reply_key))


# --- the command --------------------------------------------------------------------------------------------------------


def test_without_a_service_nothing_is_handed_over(index: KnockedIndex) -> None:
    assert hand_over(index, ROLLBACK, no_progress) is None
    with index.writer(1):
        assert hand_over(index, ROLLBACK, no_progress) is None
    assert index.id == ""


def test_an_errand_is_carried_out_and_leaves_nothing(index: KnockedIndex, writer: Writer, errands: Errands) -> None:
    asked: list[Asked] = []

    def come(id: str) -> None:
        asked.extend(errands.asked())
        reply(errands, id, Reply(generation="specs-1"))
        assert writer.knocks() == []
        assert index.notes().get(errand_key(id)) is None
        assert list(errands.asked()) == []

    index.come = come
    errand = Errand("sync", consent=True, suspects=["é"])
    assert hand_over(index, errand, no_progress) == Reply(generation="specs-1")
    assert asked == [Asked(index.id, errand)]
    assert not is_left(index)


@pytest.mark.parametrize("error", [ConsentError("too much"), UsageError("pages.root: not there")])
def test_what_the_service_couldnt_do_is_raised(index: KnockedIndex, errands: Errands, error: CachesyncError) -> None:
    index.come = lambda asked: reply(errands, asked, Reply.failed(error))
    with pytest.raises(type(error), match=str(error)) as raised:
        hand_over(index, ROLLBACK, no_progress)
    assert type(raised.value) is type(error)
    assert not is_left(index)


def test_an_error_of_another_version_is_one_of_the_index(index: KnockedIndex, errands: Errands) -> None:
    index.come = lambda asked: reply(errands, asked, Reply(failure=("UnheardOfError", "no idea")))
    with pytest.raises(IndexUnavailableError, match="no idea"):
        hand_over(index, ROLLBACK, no_progress)


def test_progress_is_told(index: KnockedIndex, errands: Errands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "_POLL_SECONDS", 0)
    told: list[tuple[int, int]] = []

    def progress(done: int, pages: int) -> None:
        told.append((done, pages))
        reply(errands, index.id, Reply(generation="specs-1"))

    index.come = lambda asked: errands.progress(asked, 3, 7)
    assert hand_over(index, ROLLBACK, progress) == Reply(generation="specs-1")
    assert told == [(3, 7)]


def test_an_interrupted_command_takes_its_errand_along(index: KnockedIndex, writer: Writer, errands: Errands) -> None:
    def interrupt(_done: int, _pages: int) -> None:
        raise KeyboardInterrupt

    index.come = lambda asked: errands.progress(asked, 3, 7)
    with pytest.raises(KeyboardInterrupt):
        hand_over(index, ROLLBACK, interrupt)
    assert writer.knocks() == []
    assert not is_left(index)


def test_a_service_that_ends_over_it_is_no_longer_waited_for(
    index: KnockedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "_LOOK_SECONDS", 0)
    knocked = threading.Event()

    def serve() -> None:
        with index.writer(1, serving=True):
            serving.set()
            knocked.wait(10)

    serving = threading.Event()
    service = threading.Thread(target=serve)
    service.start()
    assert serving.wait(10)
    index.come = lambda _id: knocked.set()
    assert hand_over(index, ROLLBACK, no_progress) is None
    service.join()
    assert not is_left(index)


# --- the service --------------------------------------------------------------------------------------------------------


def test_an_errand_of_another_version_is_refused(index: KnockedIndex, errands: Errands, writer: Writer) -> None:
    index.notes().put(errand_key("a"), b'{"command": "fly"}')
    index.knock("a")
    assert list(errands.asked()) == []
    errands.reply()
    assert b"another version" in (index.notes().get(reply_key("a")) or b"")
    assert writer.knocks() == []


def test_a_knock_without_an_errand_is_forgotten(index: KnockedIndex, errands: Errands, writer: Writer) -> None:
    index.knock("a")
    assert list(errands.asked()) == []
    assert writer.knocks() == []


def test_what_has_come_of_an_errand_is_told_though_the_index_fails_at_first(
    index: KnockedIndex, errands: Errands, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it isn't carried out again meanwhile."""

    def fail(_key: str, _text: bytes) -> NoReturn:
        raise IndexUnavailableError("away")

    index.notes().put(errand_key("a"), msgspec.json.encode(ROLLBACK))
    index.knock("a")
    errands.settle("a", Reply(generation="specs-1"))
    with monkeypatch.context() as away:
        away.setattr(errands._notes, "put", fail)
        for _ in range(2):
            with pytest.raises(IndexUnavailableError):
                list(errands.asked())
    errands.settle("a", Reply.failed(UsageError("what comes later counts no more")))
    assert list(errands.asked()) == []
    assert msgspec.json.decode(index.notes().get(reply_key("a")) or b"", type=Reply) == Reply(generation="specs-1")
    assert writer.knocks() == []


def test_an_errand_is_new_once_and_tried_for_a_while(errands: Errands, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [errands.is_new(id) for id in ("a", "a", "b")] == [True, False, True]
    assert not errands.is_out_of_patience("a")
    monkeypatch.setattr(errands_module, "PATIENCE_SECONDS", 0)
    assert errands.is_out_of_patience("a")


def test_a_reply_that_nobody_comes_for_is_removed(
    index: KnockedIndex, errands: Errands, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply(errands, "a", Reply(generation="specs-1"))
    assert index.notes().get(reply_key("a"))
    monkeypatch.setattr(errands_module, "_KEPT_SECONDS", -1)
    list(errands.asked())
    assert index.notes().get(reply_key("a")) is None


@pytest.mark.parametrize("text", [None, b"", b"{", b'{"pages": "many"}'])
def test_a_note_of_what_is_held_that_cant_be_read_holds_nothing(text: bytes | None) -> None:
    assert Held.decoded(Held(3, 7, 1).encoded()) == Held(3, 7, 1)
    assert Held.decoded(text) == Held()

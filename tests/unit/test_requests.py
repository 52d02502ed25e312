"""Requests from both sides: the command's and the service's, with the notes of a real index."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest
from structlog.testing import capture_logs

from cachesync.errors import (
    CachesyncError,
    ConsentError,
    DefectError,
    IndexUnavailableError,
    IndexUnusableError,
    PortTakenError,
    RefusedError,
    UsageError,
)
from cachesync.index.base import Notes, Status
from cachesync.index.embedded import EmbeddedIndex
from cachesync.index.lifecycle import Writer
from cachesync.pages.page import Problem
from cachesync.service import request_client, request_inbox
from cachesync.service.loss_guard import Withheld
from cachesync.service.request_client import ask
from cachesync.service.request_inbox import SILENT_SECONDS, RequestInbox
from cachesync.service.requests import CommandRequest, Failure, Response
from cachesync.sync.report import Report


class SignalledIndex(EmbeddedIndex):
    """An index whose service polls as soon as it is signalled, and then whenever the command asks for its status."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "specs")
        self.look: Callable[[], None] = lambda: None
        self.signalled = False

    def signal(self) -> None:
        super().signal()
        self.signalled = True
        self.look()

    def status(self) -> Status:
        found = super().status()
        if self.signalled:
            self.look()
        return found


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def index(tmp_path: Path) -> SignalledIndex:
    return SignalledIndex(tmp_path / "index")


@pytest.fixture
def writer(index: SignalledIndex) -> Iterator[Writer]:
    with index.writer(1, serving=True) as writer:
        yield writer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def requests(index: SignalledIndex, writer: Writer, clock: Clock) -> RequestInbox:
    return RequestInbox(writer, index.notes(), clock)


@pytest.fixture
def notes(index: SignalledIndex, writer: Writer) -> Notes:  # noqa: ARG001  whose folder it is
    return index.notes()


ROLLBACK = CommandRequest(command="rollback", id="r")


def leave(notes: Notes, request: CommandRequest, sign: int = 1) -> None:
    notes.put(f"request-{request.id}", msgspec.json.encode(request))
    notes.put(f"sign-{request.id}", str(sign).encode())


def looked(requests: RequestInbox) -> list[CommandRequest]:
    return list(requests.poll())


def no_progress(_done: int, _pages: int) -> None:
    pass


# --- the command --------------------------------------------------------------------------------------------------------


def test_without_a_service_there_is_no_request(index: SignalledIndex) -> None:
    assert ask(index, ROLLBACK, no_progress) == Response()
    with index.writer(1):
        assert ask(index, msgspec.structs.replace(ROLLBACK, generation="specs-1"), no_progress) == Response(
            generation="specs-1"
        )
    assert index.notes().list_keys() == []


def serve(index: SignalledIndex, requests: RequestInbox, respond: Callable[[CommandRequest], Response]) -> None:
    """Let the service poll whenever the command does, in the command's thread."""

    def look() -> None:
        for request in requests.poll():
            requests.settle(request.id, respond(request))
        requests.respond()

    index.look = look


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a command give a sign with each poll."""
    monkeypatch.setattr(request_client, "SIGN_SECONDS", 0)
    monkeypatch.setattr(request_client, "POLL_SECONDS", 0)


@pytest.mark.usefixtures("quick")
def test_a_request_is_carried_out_and_leaves_nothing(
    index: SignalledIndex, requests: RequestInbox, notes: Notes
) -> None:
    asked: list[CommandRequest] = []

    def respond(request: CommandRequest) -> Response:
        asked.append(request)
        return Response.live("specs-1")

    serve(index, requests, respond)
    request = CommandRequest(command="sync", consent=True, suspects=["é"])
    assert ask(index, request, no_progress) == Response.live("specs-1")
    assert asked == [request]
    assert notes.list_keys() == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConsentError("too much"), ConsentError),
        (RefusedError("a rollback holds it"), RefusedError),
        (UsageError("pages.root: not there"), UsageError),
        (PortTakenError("taken"), UsageError),
        (IndexUnusableError("damaged"), IndexUnusableError),
        (IndexUnavailableError("away"), IndexUnavailableError),
        (DefectError("a defect"), DefectError),
        (CachesyncError("something"), CachesyncError),
    ],
)
def test_a_failure_of_the_service_is_raised(
    index: SignalledIndex, requests: RequestInbox, notes: Notes, error: CachesyncError, kind: type[CachesyncError]
) -> None:
    serve(index, requests, lambda _request: Response.failed(error))
    with pytest.raises(kind, match=str(error)) as raised:
        ask(index, ROLLBACK, no_progress)
    assert type(raised.value) is kind
    assert notes.list_keys() == []


@pytest.mark.usefixtures("quick")
def test_a_failure_of_another_version_is_one_of_the_index(index: SignalledIndex, requests: RequestInbox) -> None:
    failed = Response(finished=True, failure=Failure("unheard-of", "no idea"))
    serve(index, requests, lambda _request: failed)
    with pytest.raises(IndexUnavailableError, match="no idea"):
        ask(index, ROLLBACK, no_progress)


@pytest.mark.usefixtures("quick", "writer")
@pytest.mark.parametrize("text", [b"{", b'{"finished": "perhaps"}', b"[]", b"\xff"])
def test_a_response_that_cant_be_parsed_is_a_usage_error(index: SignalledIndex, text: bytes) -> None:
    index.look = lambda: index.notes().put("response-r", text)
    with pytest.raises(UsageError, match="another version"):
        ask(index, ROLLBACK, no_progress)
    assert index.notes().list_keys() == []


@pytest.mark.usefixtures("quick")
def test_progress_is_reported(index: SignalledIndex, requests: RequestInbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_inbox, "PROGRESS_SECONDS", 0)
    told: list[tuple[int, int]] = []

    def respond(request: CommandRequest) -> Response:
        requests.progress(request.id, 3, 7)
        return Response.live("specs-1") if told else Response()

    def look() -> None:
        for request in requests.poll():
            if (response := respond(request)).finished:
                requests.settle(request.id, response)
        requests.respond()

    index.look = look
    assert ask(index, ROLLBACK, lambda done, pages: told.append((done, pages))) == Response.live("specs-1")
    assert set(told) == {(3, 7)}


@pytest.mark.usefixtures("quick", "writer")
def test_an_interrupted_command_removes_its_request(index: SignalledIndex) -> None:
    def interrupt() -> NoReturn:
        raise KeyboardInterrupt

    index.look = interrupt
    with pytest.raises(KeyboardInterrupt):
        ask(index, ROLLBACK, no_progress)
    assert index.notes().list_keys() == []


@pytest.mark.usefixtures("quick")
def test_cleanup_continues_if_one_note_cant_be_removed(
    index: SignalledIndex, requests: RequestInbox, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = type(notes).remove

    def fail_for_requests(files: Notes, key: str) -> None:
        if key.startswith("request-"):
            raise IndexUnavailableError("away")
        remove(files, key)

    serve(index, requests, lambda _request: Response.live("specs-1"))
    with monkeypatch.context() as away:
        away.setattr(type(notes), "remove", fail_for_requests)
        assert ask(index, ROLLBACK, no_progress).finished
    assert notes.list_keys() == ["request-r"]


def test_a_service_that_ended_is_no_longer_waited_for(index: SignalledIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generation that it was about to promote is known from then on."""
    monkeypatch.setattr(request_client, "SIGN_SECONDS", 0)
    signalled, serving = threading.Event(), threading.Event()

    def serve() -> None:
        with index.writer(1, serving=True):
            serving.set()
            signalled.wait(10)
            index.notes().put("response-r", msgspec.json.encode(Response(generation="specs-3")))

    service = threading.Thread(target=serve)
    service.start()
    assert serving.wait(10)
    index.look = signalled.set
    assert ask(index, ROLLBACK, no_progress) == Response(generation="specs-3")
    service.join()
    assert index.notes().list_keys() == []


@pytest.mark.usefixtures("quick")
def test_a_request_that_was_dropped_meanwhile_is_written_again(index: SignalledIndex, requests: RequestInbox) -> None:
    """Such as that of a command that was suspended for a while."""
    serve(index, requests, lambda _request: Response.live("specs-1"))
    look, looks = index.look, 0

    def drop_once() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            for kind in ("request", "sign"):
                index.notes().remove(f"{kind}-r")
        look()

    index.look = drop_once
    assert ask(index, ROLLBACK, no_progress) == Response.live("specs-1")
    assert index.notes().list_keys() == []


@pytest.mark.usefixtures("quick")
def test_a_temporarily_unavailable_index_is_waited_for(
    index: SignalledIndex, requests: RequestInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(index, requests, lambda _request: Response.live("specs-1"))
    status, fails = index.status, iter([False, True, True])

    def fail_twice() -> object:
        if next(fails, False):
            raise IndexUnavailableError("away")
        return status()

    monkeypatch.setattr(index, "status", fail_twice)
    assert ask(index, ROLLBACK, no_progress).finished


# --- the service --------------------------------------------------------------------------------------------------------


def test_a_request_is_yielded_while_its_command_gives_signs(requests: RequestInbox, notes: Notes, clock: Clock) -> None:
    leave(notes, ROLLBACK)
    assert looked(requests) == [], "whether anybody waits isn't known yet"
    assert looked(requests) == []
    leave(notes, ROLLBACK, 2)
    assert looked(requests) == [ROLLBACK]
    assert looked(requests) == [ROLLBACK], "it isn't settled"
    assert requests.is_waited_for("r")
    requests.settle("r", Response.live("specs-1"))
    for _ in range(30):
        assert looked(requests) == []
        clock.now += 0.5
    assert not requests.is_waited_for("r")
    assert notes.list_keys() == [], "nobody comes for the response any more"


def test_a_request_without_signs_is_dropped_and_logged(requests: RequestInbox, notes: Notes, clock: Clock) -> None:
    leave(notes, CommandRequest(command="sync", consent=True, id="a", asked_at="2026-01-01"))
    with capture_logs() as logged:
        for _ in range(30):
            assert looked(requests) == []
            clock.now += 0.5
    assert notes.list_keys() == []
    (line,) = logged
    assert (line["event"], line["command"], line["asked_at"]) == (
        "dropped the request of a command that has ended",
        "sync",
        "2026-01-01",
    )


def test_a_sign_that_changed_while_the_service_was_busy_proves_nothing(
    requests: RequestInbox, notes: Notes, clock: Clock
) -> None:
    """The service may have been busy for minutes, and the command may have ended since."""
    leave(notes, ROLLBACK)
    assert looked(requests) == []
    leave(notes, ROLLBACK, 2)
    clock.now += 60
    assert looked(requests) == []
    clock.now += 1
    leave(notes, ROLLBACK, 3)
    assert looked(requests) == [ROLLBACK]


def test_requests_keep_their_order(requests: RequestInbox, notes: Notes, clock: Clock) -> None:
    """Even if the second gives its sign first. It waits for one that has ended no longer than necessary."""
    first, second = (
        CommandRequest(command="reindex", id="b", asked_at="1"),
        CommandRequest(command="rollback", id="a", asked_at="2"),
    )
    for request in (first, second):
        leave(notes, request)
    looked(requests)
    leave(notes, second, 2)
    assert looked(requests) == []
    leave(notes, first, 2)
    assert looked(requests) == [first, second]
    for sign in range(3, 40):
        clock.now += 0.5
        leave(notes, second, sign)
        found = looked(requests)
    assert found == [second]


def test_an_outage_is_not_the_end_of_a_command(requests: RequestInbox, notes: Notes, clock: Clock) -> None:
    """Neither could the command give a sign nor the service read it."""
    leave(notes, ROLLBACK)
    looked(requests)
    leave(notes, ROLLBACK, 2)
    looked(requests)
    clock.now += SILENT_SECONDS + 1
    assert looked(requests) == []
    assert requests.is_waited_for("r")
    leave(notes, ROLLBACK, 3)
    assert looked(requests) == [ROLLBACK]


@pytest.mark.parametrize("withdrawn", [False, True])
def test_a_request_whose_command_ends_while_another_is_carried_out(
    requests: RequestInbox, notes: Notes, clock: Clock, withdrawn: bool
) -> None:
    first, second = (
        CommandRequest(command="sync", id="a", asked_at="1"),
        CommandRequest(command="rollback", id="b", asked_at="2"),
    )
    for sign in (1, 2):
        for request in (first, second):
            leave(notes, request, sign)
        found = requests.poll()
        if sign == 1:
            assert list(found) == []
    assert next(found) == first
    if withdrawn:
        for kind in ("request", "sign"):
            notes.remove(f"{kind}-b")
    clock.now += 300
    assert list(found) == []


def test_older_requests_come_first(requests: RequestInbox, notes: Notes) -> None:
    made = [CommandRequest(command="sync", id=id, asked_at=at) for id, at in (("b", "1"), ("c", "2"), ("a", "3"))]
    for sign in (1, 2):
        for request in reversed(made):
            leave(notes, request, sign)
        found = looked(requests)
    assert found == made


def test_a_withdrawn_request_leaves_no_note_and_isnt_logged(requests: RequestInbox, notes: Notes) -> None:
    leave(notes, ROLLBACK)
    looked(requests)
    leave(notes, ROLLBACK, 2)
    looked(requests)
    requests.settle("r", Response.live("specs-1"))
    requests.respond()
    with capture_logs() as logged:
        for key in ("request-r", "sign-r"):
            notes.remove(key)
        looked(requests)
    assert notes.list_keys() == []
    assert logged == []


@pytest.mark.parametrize(
    "key", ["errand-1234", "reply-1234", "sign-1234", "response-1234"], ids=["errand", "reply", "sign", "response"]
)
def test_notes_of_earlier_commands_are_removed(requests: RequestInbox, notes: Notes, key: str) -> None:
    for each in (key, "held", "last-reindex", "scheduled-since"):
        notes.put(each, b'{"command": "sync", "consent": true}')
    with capture_logs() as logged:
        assert looked(requests) == []
    assert sorted(notes.list_keys()) == ["held", "last-reindex", "scheduled-since"]
    assert [line["event"] for line in logged] == ["removed notes that earlier commands left behind"]


def test_a_request_of_another_version_is_refused(requests: RequestInbox, notes: Notes) -> None:
    for text in (b'{"command": "fly", "id": "r"}', b"{", b'{"command": "sync"}'):
        notes.put("sign-x", b"1")
        notes.put("request-x", text)
        assert looked(requests) == []
        requests.respond()
        response = notes.get("response-x")
        if text == b'{"command": "sync"}':
            continue
        assert response
        assert b"another version" in response
        for key in notes.list_keys():
            notes.remove(key)
        looked(requests)


def test_a_response_is_written_even_if_the_index_fails_at_first(
    requests: RequestInbox, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request isn't carried out again meanwhile."""

    def fail(_notes: Notes, _key: str, _text: bytes) -> NoReturn:
        raise IndexUnavailableError("away")

    leave(notes, ROLLBACK)
    looked(requests)
    leave(notes, ROLLBACK, 2)
    assert looked(requests) == [ROLLBACK]
    requests.settle("r", Response.live("specs-1"))
    with monkeypatch.context() as away:
        away.setattr(type(notes), "put", fail)
        for _ in range(2):
            assert looked(requests) == []
            with pytest.raises(IndexUnavailableError):
                requests.respond()
    requests.settle("r", Response.failed(UsageError("what comes later counts no more")))
    assert looked(requests) == []
    requests.respond()
    assert msgspec.json.decode(notes.get("response-r") or b"", type=Response) == Response.live("specs-1")


def test_a_response_that_cant_be_written_doesnt_delay_others(
    requests: RequestInbox, notes: Notes, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example, a proxy may refuse a request of its size."""
    other = CommandRequest(command="sync", id="b")
    for sign in (1, 2):
        for request in (ROLLBACK, other):
            leave(notes, request, sign)
        looked(requests)
    put = type(notes).put

    def refuse(files: Notes, key: str, text: bytes) -> None:
        if key == "response-r":
            raise IndexUnavailableError("too large")
        put(files, key, text)

    monkeypatch.setattr(type(notes), "put", refuse)
    requests.settle("r", Response.live("specs-1"))
    requests.settle("b", Response.live("specs-2"))
    with pytest.raises(IndexUnavailableError, match="too large"):
        requests.respond()
    assert notes.get("response-b")
    clock.now += SILENT_SECONDS - 1
    looked(requests)
    clock.now += 2
    assert looked(requests) == []
    requests.respond()
    assert not requests.is_waited_for("r"), "it ends with its command"


def test_the_next_service_knows_what_was_about_to_go_live(
    index: SignalledIndex, writer: Writer, requests: RequestInbox, notes: Notes, clock: Clock
) -> None:
    leave(notes, ROLLBACK)
    looked(requests)
    leave(notes, ROLLBACK, 2)
    looked(requests)
    requests.note_promotion("r", "specs-3")
    for sign in (3, 4):
        after = RequestInbox(writer, index.notes(), clock)
        looked(after)
        leave(notes, ROLLBACK, sign + 10)
        (found,) = looked(after)
        assert found == msgspec.structs.replace(ROLLBACK, generation="specs-3")
        after.progress("r", 1, 2)  # and the one after that


def test_a_finished_request_isnt_carried_out_by_the_next_service(
    index: SignalledIndex, writer: Writer, requests: RequestInbox, notes: Notes
) -> None:
    leave(notes, ROLLBACK)
    looked(requests)
    leave(notes, ROLLBACK, 2)
    looked(requests)
    requests.settle("r", Response.live("specs-1"))
    requests.respond()
    after = RequestInbox(writer, index.notes())
    for sign in (3, 4):
        leave(notes, ROLLBACK, sign)
        assert looked(after) == []


def test_requests_are_polled_more_often_while_there_are_some(
    requests: RequestInbox, notes: Notes, clock: Clock
) -> None:
    looked(requests)
    assert requests.due == clock.now + 1.5
    leave(notes, ROLLBACK)
    looked(requests)
    assert requests.due == clock.now + 0.5


def test_a_response_has_a_bounded_size() -> None:
    pages = {f"_cache/develop/p{number}/specs.md": 3 for number in range(50_000)}
    report = Report(
        withheld=pages, news=list(pages), unsteady=list(pages), problems=[Problem(page, "x") for page in pages]
    )
    response = Response.done_with(report)
    assert len(msgspec.json.encode(response)) < 15_000
    assert response.report
    assert response.report.withheld_pages == 50_000
    assert len(response.report.problems) > 10
    assert Response.done_with(response.report) == response


@pytest.mark.parametrize("text", [None, b"", b"{", b'{"pages": "many"}'])
def test_an_unreadable_note_of_withheld_pages_withholds_nothing(text: bytes | None) -> None:
    assert Withheld.decoded(Withheld(3, 7, 1).encoded()) == Withheld(3, 7, 1)
    assert Withheld.decoded(text) == Withheld()


def test_requests_within_one_second_have_an_order() -> None:
    """A rollback that waits behind a reindex undoes that one."""
    made = [CommandRequest(command="sync").asked_at for _ in range(100)]
    assert made == sorted(made)
    assert len(set(made)) > 90

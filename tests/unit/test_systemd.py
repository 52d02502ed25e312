"""What systemd receives, on a real socket."""

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachesync.service import systemd
from cachesync.service.systemd import Heartbeat


class Listener:
    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(65_536).decode())
            except BlockingIOError:
                return messages

    def fill(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            sender.connect(self._socket.getsockname())
            with contextlib.suppress(BlockingIOError):
                while True:
                    sender.send(b"something")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    name = f"cachesync-{uuid.uuid4().hex}" if request.param == "abstract" else str(tmp_path / "notify")
    listener = Listener(f"\0{name}" if request.param == "abstract" else name)
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if request.param == "abstract" else name)
    yield listener
    listener.close()


def test_each_state_is_sent(listener: Listener) -> None:
    systemd.ready()
    systemd.status("17 pages,\nnone\t a problem: é")
    systemd.stopping()
    assert listener.heard() == ["READY=1", "STATUS=17 pages, none a problem: é", "STOPPING=1"]


def test_a_reload_says_when_it_began(listener: Listener) -> None:
    before = time.monotonic_ns() // 1000
    systemd.reloading()
    (message,) = listener.heard()
    state, _, moment = message.partition("\nMONOTONIC_USEC=")
    assert state == "RELOADING=1"
    assert before <= int(moment) <= time.monotonic_ns() // 1000


def test_the_heartbeat_is_a_third_of_the_watchdogs_interval(listener: Listener) -> None:
    moments = [100.0, 100.1, 109.9, 110.0, 115.0, 120.5, 200.0, 200.0]
    clock = iter(moments)
    heart = Heartbeat({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, lambda: next(clock))
    assert heart.every == 10
    beats = []
    for _ in moments:
        heart.beat()
        beats.append(listener.heard())
    beat = ["WATCHDOG=1"]
    assert beats == [beat, [], [], beat, [], beat, beat, []]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": ""},
    ],
)
def test_without_a_watchdog_there_is_no_heartbeat(environment: dict[str, str], listener: Listener) -> None:
    heart = Heartbeat(environment)
    heart.beat()
    assert heart.every is None
    assert listener.heard() == []


def test_a_watchdog_without_a_process_is_ours(listener: Listener) -> None:
    Heartbeat({"WATCHDOG_USEC": "3000000"}).beat()
    assert listener.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize("address", [None, "", "relative", "/nowhere/at/all", "@nobody-listens-here", "/" + "x" * 200])
def test_without_a_listener_nothing_happens(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.ready()
    Heartbeat({"WATCHDOG_USEC": "3000000"}).beat()


def test_a_listener_that_doesnt_read_blocks_nothing(listener: Listener) -> None:
    listener.fill()
    systemd.status("one too many")
    assert not any("one too many" in message for message in listener.heard())

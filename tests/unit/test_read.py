"""Reading a page, and whether its signature can be trusted."""

import os
import stat
import time
from pathlib import Path

import pytest

from cachesync.ledger import Signature
from cachesync.pages.pattern import Pattern
from cachesync.sync.read import Changing, Content, Unreadable, read, unsettled_seconds
from cachesync.sync.scan import Entry, Source, signature_of

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND


NOWHERE = Entry("specs.md", Signature(0, 0, 0, 0, 0))


def source(root: Path, max_bytes: int = 1000) -> Source:
    return Source(root, Pattern(("specs.md",)), max_bytes)


def entry(file: Path) -> Entry:
    return Entry(file.name, signature_of(file.stat()))


@pytest.mark.parametrize(
    ("mtime", "ctime", "seconds"),
    [
        (NOW - 5 * SECOND, NOW - 5 * SECOND, 0),
        (NOW - 5 * SECOND + 7, NOW - SECOND // 20 + 1, 0.05),  # fine times, written 50 ms ago
        (NOW - 5 * SECOND, NOW - SECOND, 1),  # whole seconds: the clock may tick every 2 s
        (NOW + 3600 * SECOND, NOW - 5 * SECOND, 0),  # the time was set to the future
        (NOW - SECOND // 2 + 1, NOW - SECOND // 2 + 1, 0),
        (NOW - 5 * SECOND, NOW + 5 * SECOND + 1, 5.1),  # the clock was ahead
    ],
)
def test_seconds_until_a_signature_is_settled(mtime: int, ctime: int, seconds: float) -> None:
    assert unsettled_seconds(Signature(stat.S_IFREG, 1, 1, mtime, ctime), NOW) == pytest.approx(seconds, abs=1e-6)


def test_a_page_is_read_whole_with_its_signature(tmp_path: Path) -> None:
    file = tmp_path / "specs.md"
    file.write_bytes(b"x" * 300_000)
    found = read(source(tmp_path, 300_000), entry(file))
    assert isinstance(found, Content)
    assert found.data == b"x" * 300_000
    assert found.signature == signature_of(file.stat())


@pytest.mark.parametrize(("seconds", "settled"), [(0, False), (0.05, False), (0.2, True)])
def test_a_signature_is_trusted_once_any_change_would_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, settled: bool
) -> None:
    file = tmp_path / "specs.md"
    file.write_bytes(b"x")
    changed = file.stat().st_ctime_ns
    monkeypatch.setattr(time, "time_ns", lambda: changed + int(seconds * SECOND))
    found = read(source(tmp_path), entry(file))
    assert isinstance(found, Content)
    assert found.settled is settled


def test_a_page_that_grew_over_the_limit_is_changing(tmp_path: Path) -> None:
    file = tmp_path / "specs.md"
    file.write_bytes(b"x" * 11)
    assert read(source(tmp_path, 10), entry(file)) == Changing()


def test_a_page_that_is_gone_is_changing(tmp_path: Path) -> None:
    assert read(source(tmp_path), NOWHERE) == Changing()


def test_a_page_that_became_a_pipe_is_changing_and_doesnt_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "specs.md")
    assert read(source(tmp_path), NOWHERE) == Changing()


def test_a_page_that_became_a_link_is_changing_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("x")
    (tmp_path / "specs.md").symlink_to("other")
    assert read(source(tmp_path), NOWHERE) == Changing()
    assert isinstance(read(source(tmp_path), NOWHERE._replace(link=True)), Content)


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
def test_a_page_written_to_while_it_is_read_is_changing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    file = tmp_path / "specs.md"
    file.write_bytes(b"x" * 100)
    real = os.read

    def writing(handle: int, size: int) -> bytes:
        data = real(handle, min(size, 50))
        with file.open("r+b") as writer:
            if change == "grow":
                writer.seek(0, os.SEEK_END)
                writer.write(b"y")
            elif change == "shrink":
                writer.truncate(60)
            else:
                writer.write(b"z")
        os.utime(file, ns=(1, 1))
        return data

    monkeypatch.setattr(os, "read", writing)
    assert read(source(tmp_path), entry(file)) == Changing()


def test_a_read_error_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "specs.md"
    file.write_bytes(b"x")

    def failing(_handle: int, _size: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "read", failing)
    assert read(source(tmp_path), entry(file)) == Unreadable("cannot be read: Input/output error")

"""Reading a page, and when its signature can be trusted."""

import os
import stat
from pathlib import Path

import pytest

from cachesync.ledger import Signature
from cachesync.sync.read import Content, Moving, Unreadable, freshness, read
from cachesync.sync.scan import Entry, signature_of

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND


def entry(file: Path) -> Entry:
    return Entry(file.name, signature_of(file.stat()))


@pytest.mark.parametrize(
    ("mtime", "ctime", "seconds"),
    [
        (NOW - 5 * SECOND, NOW - 5 * SECOND, 0),
        (NOW - 5 * SECOND + 7, NOW - SECOND // 20 + 1, 0.05),  # fine times, written 50 ms ago
        (NOW - 5 * SECOND, NOW - SECOND, 1),  # whole seconds: the clock may tick every 2 s
        (NOW + 3600 * SECOND, NOW - 5 * SECOND, 0),  # somebody set a time in the future
        (NOW - SECOND // 2 + 1, NOW - SECOND // 2 + 1, 0),
    ],
)
def test_how_long_until_a_change_would_show(mtime: int, ctime: int, seconds: float) -> None:
    assert freshness(Signature(stat.S_IFREG, 1, 1, mtime, ctime), NOW) == pytest.approx(seconds, abs=1e-6)


def test_a_page_is_read_whole_with_its_signature(tmp_path: Path) -> None:
    file = tmp_path / "specs.md"
    file.write_bytes(b"x" * 300_000)
    found = read(tmp_path, entry(file), max_bytes=300_000)
    assert isinstance(found, Content)
    assert found.data == b"x" * 300_000
    assert found.signature == signature_of(file.stat())


def test_a_page_over_the_bound_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "specs.md"
    file.write_bytes(b"x" * 11)
    assert read(tmp_path, entry(file), max_bytes=10) == Unreadable("11 bytes: expected at most 10 (pages.max_bytes)")


def test_a_page_that_is_gone_is_moving(tmp_path: Path) -> None:
    assert read(tmp_path, Entry("specs.md", Signature(0, 0, 0, 0, 0)), 10) == Moving()


def test_a_page_that_became_a_pipe_is_moving_and_blocks_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "specs.md")
    assert read(tmp_path, Entry("specs.md", Signature(0, 0, 0, 0, 0)), 10) == Moving()


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
def test_a_page_written_to_while_it_is_read_is_moving(
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
    assert read(tmp_path, entry(file), 1000) == Moving()


def test_a_read_error_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "specs.md"
    file.write_bytes(b"x")

    def failing(_handle: int, _size: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "read", failing)
    assert read(tmp_path, entry(file), 10) == Unreadable("cannot be read: Input/output error")

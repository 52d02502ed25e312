"""The parts of the watcher that can be tested without watching anything."""

import os
import struct
import time
from pathlib import Path
from typing import cast

import pytest

from cachesync.pages.pattern import Pattern
from cachesync.sync.scan import Source, scan
from cachesync.watch import inotify, limits, mounts
from cachesync.watch.folders import Folders
from cachesync.watch.messages import sendable
from cachesync.watch.poller import difference, pause_after, timed_scan
from tests.support.folding import folding
from tests.support.pages import entry, page, path_of, put


def source(root: Path) -> Source:
    return Source(root, Pattern(("_cache/**/specs.md",)), 10_000)


def test_events_are_parsed() -> None:
    named = struct.pack("@iIII", 7, inotify.CREATE | inotify.ISDIR, 0, 16) + b"zlib\xff".ljust(16, b"\0")
    itself = struct.pack("@iIII", 8, inotify.IGNORED, 0, 0)
    lost = struct.pack("@iIII", -1, inotify.Q_OVERFLOW, 0, 0)
    assert list(inotify.events(named + itself + lost)) == [
        (7, inotify.CREATE | inotify.ISDIR, os.fsdecode(b"zlib\xff")),
        (8, inotify.IGNORED, ""),
        (-1, inotify.Q_OVERFLOW, ""),
    ]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (b"_cache/develop/zlib/specs.md", "_cache/develop/zlib/specs.md"),
        ("_cache/é/specs.md".encode(), "_cache/é/specs.md"),
        (b"_cache/develop/\xff/specs.md", "_cache/develop/"),
        (b"_cache/develop/\xff/", "_cache/develop/"),
        (b"_cache/\xff/\xfe/", "_cache/"),
        (b"_cache/\xff/zlib/", "_cache/"),
        (b"\xff/", ""),
        (b"\xff", ""),
        (b"", ""),
    ],
)
def test_a_path_that_isnt_utf8_is_replaced_by_the_nearest_folder_that_is(path: bytes, told: str) -> None:
    assert sendable(os.fsdecode(path)) == told


def test_two_scans_differ_in_created_changed_and_deleted_pages(tmp_path: Path) -> None:
    for package in ("same", "changed", "gone"):
        put(tmp_path, page(entry()), package)
    before = scan(source(tmp_path))
    put(tmp_path, page(entry("bbbb")), "changed")
    put(tmp_path, page(entry()), "new")
    (tmp_path / path_of("gone")).unlink()
    expected = tuple(path_of(package) for package in ("changed", "gone", "new"))
    assert difference(source(tmp_path), before, scan(source(tmp_path))) == expected
    assert difference(source(tmp_path), before, before) == ()


def test_folders_that_became_unreadable_or_readable_are_dirty_as_a_whole(tmp_path: Path) -> None:
    put(tmp_path, page(entry()))
    readable = scan(source(tmp_path))
    unread = readable._replace(unread={"_cache/develop": False, path_of("py-pip"): False})
    expected = ("_cache/develop/", "_cache/develop/py-pip/specs.md", "_cache/develop/py-pip/specs.md/")
    assert difference(source(tmp_path), readable, unread) == expected
    assert difference(source(tmp_path), unread, readable) == expected
    assert difference(source(tmp_path), unread, unread) == ()


def test_created_and_deleted_links_are_dirty(tmp_path: Path) -> None:
    put(tmp_path, page(entry()))
    before = scan(source(tmp_path))
    (tmp_path / "_cache/link").symlink_to(tmp_path)
    now = scan(source(tmp_path))
    assert difference(source(tmp_path), before, now) == ("_cache/link/",)
    assert difference(source(tmp_path), now, before) == ("_cache/link/",)
    assert difference(source(tmp_path), now, now) == ()


@pytest.mark.parametrize(
    ("seconds", "cpu_seconds", "pause"),
    [(0.01, 0.01, 2), (1, 1, 10), (1, 0.1, 3), (60, 0.7, 180), (60, 60, 600), (5, 0.65, 15)],
)
def test_the_pause_after_a_scan_depends_on_its_duration_and_cpu_time(
    seconds: float, cpu_seconds: float, pause: float
) -> None:
    assert pause_after(seconds, cpu_seconds) == pytest.approx(pause)


def test_time_waiting_for_the_file_system_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, page(entry()))
    now = [0.0]
    real = os.scandir

    def slow(path: str) -> object:
        now[0] += 15
        return real(path)

    monkeypatch.setattr(os, "scandir", slow)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert timed_scan(source(tmp_path))[1] == pytest.approx(3 * 4 * 15)


class FakeInotify:
    """Watches a folder by its inode, whatever its name, as inotify does."""

    def __init__(self) -> None:
        self.removed: list[int] = []

    def add(self, path: str, _mask: int) -> int:
        return os.lstat(path).st_ino

    def remove(self, watch: int) -> None:
        self.removed.append(watch)


@pytest.mark.parametrize("order", [("zlib", "ZLIB"), ("ZLIB", "zlib")])
def test_a_rename_that_only_changes_case_is_one_folder_by_its_new_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: tuple[str, str]
) -> None:
    """Both names can be opened but only one is listed, so this isn't a bind mount."""
    put(tmp_path, page(entry()), "zlib")
    develop = tmp_path / "_cache/develop"
    folders = Folders(source(tmp_path), cast("inotify.Inotify", FakeInotify()), lambda: None)
    folders.refresh("")
    os.rename(develop / "zlib", develop / "ZLIB")
    with folding(monkeypatch, develop, "zlib", "ZLIB"):
        for name in order:
            folders.refresh(f"_cache/develop/{name}/")
        watched = folders.of(os.lstat(develop / "ZLIB").st_ino)
    assert watched
    assert (watched.path, len(folders)) == ("_cache/develop/ZLIB/", 4)


def test_a_page_whose_name_isnt_utf8_makes_everything_dirty(tmp_path: Path) -> None:
    put(tmp_path, page(entry()))
    before = scan(source(tmp_path))
    folder = os.fsencode(tmp_path) + b"/_cache/develop/\xff"
    os.mkdir(folder)
    Path(os.fsdecode(folder + b"/specs.md")).write_bytes(page(entry()))
    assert difference(source(tmp_path), before, scan(source(tmp_path))) == ("",)


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A writable mount table."""
    monkeypatch.setattr(mounts, "MOUNTINFO", tmp_path / "mountinfo")
    return tmp_path / "mountinfo"


def line(point: str, type: str) -> str:
    return f"29 1 8:1 / {point} rw,relatime shared:1 - {type} what rw\n"


def test_mounts_are_the_nearest_above_and_those_in_watched_folders(mounted: Path) -> None:
    root = mounted.parent / "the pages"
    (root / "_cache/develop").mkdir(parents=True)
    shown = str(root).replace(" ", r"\040")
    table = [("/", "ext4"), (f"{shown}/_cache/develop", "nfs4"), (shown, "xfs"), (shown, "btrfs"), (f"{shown}/x", "9p")]
    mounted.write_text("".join(line(*each) for each in (*table, (f"{shown}-too", "tmpfs"))))
    found = mounts.mounts(source(root))
    assert [(mount.point, mount.type) for mount in found] == [
        (str(root), "btrfs"),
        (f"{root}/_cache/develop", "nfs4"),
    ]


@pytest.mark.parametrize("type", ["nfs", "nfs4", "cifs", "fuse.sshfs", "overlay", "9p", "lustre", "ceph"])
def test_pages_that_others_can_write_unseen_are_not_watched(mounted: Path, type: str) -> None:
    mounted.write_text(line("/", "ext4") + line(str(mounted.parent), type))
    with pytest.raises(limits.CannotWatchError, match=rf"{mounted.parent} is {type}, .*watch\.mode: native"):
        limits.require_local(source(mounted.parent))


@pytest.mark.parametrize("type", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "fuseblk"])
def test_pages_on_a_local_disk_are_watched(mounted: Path, type: str) -> None:
    mounted.write_text(line("/", "nfs") + line(str(mounted.parent), type))
    limits.require_local(source(mounted.parent))


def test_if_mounts_are_unknown_pages_are_watched(mounted: Path) -> None:
    assert not mounted.exists()
    limits.require_local(source(mounted.parent))

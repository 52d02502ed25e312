"""Tests of the embedded engine alone: its folder."""

import errno
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tantivy
from structlog.testing import capture_logs

from cachesync.documents import document_id
from cachesync.errors import (
    CachesyncError,
    ForbiddenError,
    IndexUnavailableError,
    IndexUnusableError,
    OvertakenError,
    UsageError,
)
from cachesync.index.base import Index
from cachesync.index.embedded import EmbeddedIndex, generation, store
from cachesync.index.embedded.errors import tantivy_errors
from cachesync.index.embedded.generation import PageWriter
from cachesync.index.embedded.schema import register_analyzers
from cachesync.index.embedded.searcher import CommitSearcher
from cachesync.pages.page import identity
from cachesync.search.request import Request
from tests.support.filling import change_for, documents, fill, write
from tests.support.pages import entry, page, path_of

PAGES = {path_of("a"): page(entry("a1"), entry("a2"), title="a")}


@pytest.fixture
def index(tmp_path: Path) -> EmbeddedIndex:
    index = EmbeddedIndex(tmp_path, "specs")
    fill(index, PAGES)
    return index


def listing(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def refilled(index: Index) -> bool:
    """Whether the writer finds the index unusable; in any case it can be filled again."""
    with index.writer(1) as writer:
        given_up = writer.live() is None
    fill(index, PAGES)
    assert index.reader().search(Request()).hits == documents(PAGES)
    return given_up


def test_the_alias_is_a_link_to_the_live_generation(index: EmbeddedIndex, tmp_path: Path) -> None:
    assert os.readlink(tmp_path / "specs/live") == "specs-1"
    fill(index, PAGES)
    assert os.readlink(tmp_path / "specs/live") == "specs-2"
    assert listing(tmp_path / "specs") == ["live", "lock", "specs-1", "specs-2"]
    fill(index, PAGES)
    assert listing(tmp_path / "specs") == ["live", "lock", "specs-2", "specs-3"], "one is kept for a rollback"


def test_leftovers_of_an_interrupted_build_are_removed(index: EmbeddedIndex, tmp_path: Path) -> None:
    with index.writer(1) as writer:
        write(writer.build(), [change_for(path_of("b"), page(title="b"))])
    folder = tmp_path / "specs"
    (folder / "specs-7").mkdir()
    (folder / "specs-8").mkdir()
    (folder / "specs-8/precious").write_text("not ours")
    (folder / "specs-9").write_text("not ours")
    (folder / "specs-10").symlink_to("specs-8")
    (folder / "specs-old").mkdir()
    fill(index, PAGES)
    assert listing(folder) == ["live", "lock", "specs-1", "specs-10", "specs-11", "specs-8", "specs-9", "specs-old"]


def test_a_folder_that_cannot_be_listed_is_none_of_ours(index: EmbeddedIndex, tmp_path: Path) -> None:
    (tmp_path / "specs/specs-7").symlink_to("specs-7")
    assert index.status().kept == []
    fill(index, PAGES)
    assert index.reader().generation == "specs-8"
    assert (tmp_path / "specs/specs-7").is_symlink()


def test_an_interrupted_removal_is_finished_by_the_next_writer(index: EmbeddedIndex, tmp_path: Path) -> None:
    """A partly removed generation must not look like a whole one, or like a foreign folder."""
    folder = tmp_path / "specs"
    with index.writer(1) as writer:
        write(writer.build(), [change_for(path_of("b"), page(title="b"))])
    for first in ("cachesync.json", "building", "meta.json"):

        def cut_off(doomed: Path, name: str = first, **_: bool) -> None:
            (doomed / name).unlink()
            interrupted()

        with index.writer(1) as writer, pytest.MonkeyPatch.context() as patch:
            patch.setattr(shutil, "rmtree", cut_off)
            with pytest.raises(KeyboardInterrupt):
                writer.build()
        assert index.status().kept == []
        with index.writer(1) as writer:
            assert writer.live()
            assert listing(folder) == ["live", "lock", "specs-1"]
            writer.build()


def test_a_generation_whose_writer_died_after_the_swap_is_kept(index: EmbeddedIndex, tmp_path: Path) -> None:
    (tmp_path / "specs/live/building").touch()
    fill(index, PAGES)
    assert index.status().kept == ["specs-1"]
    with index.writer(1) as writer:
        assert writer.rollback() == "specs-1"


@pytest.mark.parametrize("how", ["the index was renamed", "the generation was moved to another disk"])
def test_a_live_generation_under_another_name_is_still_the_live_one(
    index: EmbeddedIndex, tmp_path: Path, how: str
) -> None:
    if how == "the index was renamed":
        (tmp_path / "specs").rename(tmp_path / "others")
        index = EmbeddedIndex(tmp_path, "others")
    else:
        (tmp_path / "specs/specs-1").rename(tmp_path / "big")
        (tmp_path / "specs/live").unlink()
        (tmp_path / "specs/live").symlink_to("../big")
    with index.writer(1) as writer:
        assert writer.live()
        assert writer.intact()
        replaced = writer.replaced()
        assert replaced
        assert [record.page for record in replaced.records()] == list(PAGES)
    fill(index, PAGES)
    assert index.reader().size() == (2, 1)


def test_what_is_lost_with_the_live_generation_is_not_known(index: EmbeddedIndex, tmp_path: Path) -> None:
    """So the guard must not take the index for an empty one."""
    shutil.rmtree(tmp_path / "specs/specs-1")
    with index.writer(1) as writer:
        assert writer.live() is None
        with pytest.raises(IndexUnusableError):
            writer.replaced()
    fill(index, PAGES)
    assert index.reader().generation == "specs-2"


def test_a_rollback_replaces_a_live_generation_that_is_lost(index: EmbeddedIndex, tmp_path: Path) -> None:
    fill(index, PAGES)
    shutil.rmtree(tmp_path / "specs/specs-2")
    assert index.status().kept == ["specs-1"]
    with index.writer(1) as writer:
        assert writer.rollback() == "specs-1"
        assert writer.live()
        shutil.rmtree(tmp_path / "specs/specs-1")
        assert writer.pinned(), "until somebody asks for a reindex"


def test_a_kept_generation_may_be_a_link_to_another_disk(index: EmbeddedIndex, tmp_path: Path) -> None:
    fill(index, PAGES)
    (tmp_path / "specs/specs-1").rename(tmp_path / "big")
    (tmp_path / "specs/specs-1").symlink_to("../big")
    assert index.status().kept == ["specs-1"]
    with index.writer(1) as writer:
        assert writer.rollback() == "specs-1"
    for _ in range(2):
        fill(index, PAGES)
    assert (tmp_path / "big").is_dir(), "files elsewhere are not ours to remove"


@pytest.mark.parametrize("how", ["removed", "removed in part", "gone with all others"])
def test_numbers_of_generations_are_not_reused(index: EmbeddedIndex, tmp_path: Path, how: str) -> None:
    """If a number were reused, a pin would apply to the wrong generation."""
    folder = tmp_path / "specs"
    fill(index, PAGES)
    with index.writer(1) as writer:
        writer.rollback()
    if how == "gone with all others":
        for each in ("specs-1", "specs-2"):
            shutil.rmtree(folder / each)
        (folder / "live").unlink()
        wanted = "specs-2"
    elif how == "removed":
        (folder / "held").write_text("specs-1 specs-2")
        shutil.rmtree(folder / "specs-2")
        wanted = "specs-3"
    else:
        (folder / "specs-2").rename(folder / "specs-7.removed")
        wanted = "specs-8"
    with index.writer(1) as writer, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as if another host had a file open, on NFS
        assert writer.build().generation == wanted
    fill(index, PAGES)
    with index.writer(1) as writer:
        assert writer.live()
        assert not writer.pinned()


def test_on_a_read_only_file_system_only_changes_fail(
    index: EmbeddedIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(index, PAGES)
    with index.writer(1) as writer:
        unfinished = writer.build()
        for name in ("mkdir", "rename", "replace", "rmdir", "symlink", "unlink"):
            monkeypatch.setattr(os, name, read_only)
        assert writer.live()
        for change in (writer.build, writer.rollback, lambda: writer.discard(unfinished), writer.live):
            with pytest.raises(IndexUnavailableError, match="Read-only file system"):
                change()
        with pytest.raises(IndexUnavailableError, match="Read-only file system"):
            writer.promote(unfinished)
    monkeypatch.undo()
    with index.writer(1) as writer:
        assert writer.live()
    assert listing(tmp_path / "specs") == ["live", "lock", "specs-1", "specs-2"]


def read_only(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_generation_that_cannot_be_removed_does_no_harm(index: EmbeddedIndex, tmp_path: Path) -> None:
    """On a network file system, a file that another host has open keeps its folder from being removed."""
    folder = tmp_path / "specs"
    with index.writer(1) as writer:
        with pytest.MonkeyPatch.context() as patch, capture_logs() as logs:
            patch.setattr(os, "rmdir", busy)
            for number in (2, 3):
                generation = writer.build()
                assert generation.generation == f"specs-{number}"
                writer.discard(generation)
            (folder / "specs-3").mkdir()
            assert writer.live()
        assert f"{folder / 'specs-3.removed'} can't be removed" in [each["reason"] for each in logs]
        assert listing(folder) == ["live", "lock", "specs-1", "specs-2.removed", "specs-3", "specs-3.removed"]
        assert writer.live()
    assert listing(folder) == ["live", "lock", "specs-1"]


def busy(*_: object, **__: object) -> None:
    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))


def test_the_pin_of_a_rollback_is_on_disk_before_its_swap(
    index: EmbeddedIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(index, PAGES)
    with index.writer(1) as writer:
        monkeypatch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.rollback()
    assert listing(tmp_path / "specs") == ["live", "lock", "specs-1", "specs-2"]
    assert index.reader().generation == "specs-2"


def test_files_of_a_dead_writer_are_repaired(index: EmbeddedIndex, tmp_path: Path) -> None:
    """Tantivy writes a file under a temporary name, readable by its owner only, and renames it; then we share it."""
    live = tmp_path / "specs/live"
    wanted = {file: file.stat().st_mode for file in live.iterdir()}
    for name in ("meta.json", ".managed.json", ".tantivy-meta.lock"):
        (live / name).chmod(0o600)
    (live / ".tmpAbCdEf").touch()
    (tmp_path / "specs/live.new").symlink_to("specs-2")
    with index.writer(1) as writer:
        assert writer.live()
    assert {file: file.stat().st_mode for file in live.iterdir()} == wanted
    assert listing(tmp_path / "specs") == ["live", "lock", "specs-1"]


def test_indices_with_similar_names_coexist(index: EmbeddedIndex, tmp_path: Path) -> None:
    for name in ("specs-1", "specs-2", "specs.lock", "live"):
        fill(EmbeddedIndex(tmp_path, name), PAGES)
    fill(index, PAGES)
    assert listing(tmp_path) == ["live", "specs", "specs-1", "specs-2", "specs.lock"]


@pytest.mark.parametrize("name", ["meta.json", "cachesync.json", ".managed.json"])
@pytest.mark.parametrize("how", ["gone", "emptied", "nonsense"])
def test_a_damaged_index_is_rebuilt(index: EmbeddedIndex, tmp_path: Path, name: str, how: str) -> None:
    file = tmp_path / "specs/live" / name
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(b"" if how == "emptied" else b"{nonsense")
    assert refilled(index) or name == ".managed.json"


def test_an_index_with_truncated_segments_is_rebuilt(index: EmbeddedIndex, tmp_path: Path) -> None:
    for file in (tmp_path / "specs/live").glob("*.store"):
        os.truncate(file, file.stat().st_size // 2)
    assert refilled(index)


def test_counts_that_do_not_add_up_mean_damage(index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the list of pages is damaged, each page that is still in it may look intact."""
    monkeypatch.setattr(CommitSearcher, "values", lambda _self, _field, _query: [(path_of("a"), 1)])
    with pytest.raises(IndexUnusableError, match="add up"):
        index.reader().counts()


def test_a_missing_generation_is_rebuilt(index: EmbeddedIndex, tmp_path: Path) -> None:
    (tmp_path / "specs/specs-1").rename(tmp_path / "elsewhere")
    with pytest.raises(IndexUnavailableError):
        index.reader()
    assert refilled(index)


def test_a_link_never_leads_to_a_generation_that_is_being_built(index: EmbeddedIndex, tmp_path: Path) -> None:
    """The link's target was deleted by hand; the new generation must not get its name."""
    shutil.rmtree(tmp_path / "specs/specs-1")
    with index.writer(1) as writer:
        assert writer.live() is None
        write(writer.build(), [change_for(path_of("b"), page(title="b"))])
        with pytest.raises(IndexUnavailableError):
            index.reader()
    assert refilled(index)
    assert not (tmp_path / "specs/live/building").exists()


def test_an_unusable_index_is_logged_once(index: EmbeddedIndex, tmp_path: Path) -> None:
    (tmp_path / "specs/live/meta.json").unlink()
    with index.writer(1) as writer, capture_logs() as logged:
        assert [writer.live(), writer.live()] == [None, None]
    assert [line["event"] for line in logged] == ["the index can't be used and is built anew"]


def test_an_unreadable_link_does_not_start_a_build(index: EmbeddedIndex, tmp_path: Path) -> None:
    (tmp_path / "specs/live").unlink()
    (tmp_path / "specs/live").write_text("not a link")
    for attempt in (index.reader, index.exists):
        with pytest.raises(IndexUnavailableError, match=r"cannot read .*live"):
            attempt()
    with index.writer(1) as writer, pytest.raises(IndexUnavailableError, match=r"cannot read .*live"):
        writer.live()


def test_an_index_with_another_layout_is_rebuilt(index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LAYOUT", 0)
    assert refilled(index)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_foreign_file_or_folder_is_left_alone(tmp_path: Path, kind: str) -> None:
    foreign = tmp_path / "specs"
    if kind == "file":
        foreign.write_text("precious")
    else:
        foreign.mkdir()
        (foreign / "precious").write_text("x")
    index = EmbeddedIndex(tmp_path, "specs")
    for attempt in (index.reader, lambda: index.writer(0).__enter__()):
        with pytest.raises(UsageError, match="not a cachesync index"):
            attempt()
    assert listing(tmp_path) == ["specs"]


def test_a_file_in_place_of_the_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    index = EmbeddedIndex(tmp_path / "file", "specs")
    with pytest.raises(CachesyncError, match="file"), index.writer(0):
        pass


def test_a_writer_without_changes_writes_nothing(index: EmbeddedIndex, tmp_path: Path) -> None:
    def state() -> dict[str, tuple[int, int, int]]:
        files = [tmp_path, *tmp_path.rglob("*")]
        return {
            str(each): (s.st_ino, s.st_size, s.st_mtime_ns)
            for each in files
            if stat.S_ISREG((s := each.stat()).st_mode)
        }

    before = state()
    with index.writer(1) as writer:
        live = writer.live()
        assert live
        assert write(live, []) == []
    assert state() == before


def test_files_of_an_interrupted_commit_do_no_harm(tmp_path: Path) -> None:
    """Tantivy numbers its files of deletions and doesn't overwrite one that a kill before ``meta.json`` has left."""
    index = EmbeddedIndex(tmp_path, "specs")
    before, after = (page(*(entry(f"h{n}") for n in range(0, 60, step)), title="a") for step in (1, 2))
    fill(index, {path_of("a"): before})
    live = (tmp_path / "specs/live").resolve()
    shutil.copytree(live, tmp_path / "kept")

    def shrink() -> None:
        with index.writer(1) as writer:
            generation = writer.live()
            assert generation
            write(generation, [change_for(path_of("a"), after, before)])

    shrink()
    left = {file.name: file.read_bytes() for file in live.glob("*.del")}
    assert left
    shutil.rmtree(live)
    (tmp_path / "kept").rename(live)
    for name, data in left.items():
        (live / name).write_bytes(data)
    managed = json.loads((live / ".managed.json").read_text())
    (live / ".managed.json").write_text(json.dumps([*managed, *left]))
    shrink()
    assert index.reader().size() == (30, 1)


def test_system_errors_are_not_damage(tmp_path: Path) -> None:
    for number in (errno.EACCES, errno.EMFILE, errno.EIO, errno.ENOSPC):
        with pytest.raises(IndexUnavailableError, match=os.strerror(number)) as caught, tantivy_errors(tmp_path):
            raise ValueError(f'An IO error occurred: Os {{ code: {number}, kind: Whatever, message: "x" }}')
        assert not isinstance(caught.value, IndexUnusableError)
        with pytest.raises(IndexUnavailableError, match=os.strerror(number)), tantivy_errors(tmp_path):
            raise OSError(number, "x")
    for error in (FileNotFoundError(errno.ENOENT, "x"), ValueError("corrupt")):
        with pytest.raises(IndexUnusableError, match="damaged"), tantivy_errors(tmp_path):
            raise error


def test_other_users_may_read_what_the_umask_allows(index: EmbeddedIndex, tmp_path: Path) -> None:
    live = tmp_path / "specs/live"
    umask = os.umask(0)
    os.umask(umask)
    for file in live.iterdir():
        if file.name != ".tantivy-writer.lock":
            assert stat.S_IMODE(file.stat().st_mode) & ~umask & 0o444 == 0o444 & ~umask, file.name
    assert stat.S_IMODE((live / ".tantivy-meta.lock").stat().st_mode) == 0o666
    assert index.reader().size() == (2, 1)


def test_the_holder_of_the_lock_is_named(index: EmbeddedIndex) -> None:
    with index.writer(0), pytest.raises(IndexUnavailableError, match=f"process {os.getpid()} is still writing"):
        index.writer(0).__enter__()


# --- what a service needs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["everything", "the link", "the generation", "tantivy's list", "our mark"])
def test_an_index_removed_under_its_writer_is_rebuilt(index: EmbeddedIndex, tmp_path: Path, what: str) -> None:
    folder = tmp_path / "specs"
    with index.writer(1, serving=True) as writer:
        assert writer.live()
        assert writer.intact()
        if what == "everything":
            shutil.rmtree(tmp_path / "specs")
        elif what == "the generation":
            shutil.rmtree(folder / "specs-1")
        else:
            (
                folder / {"the link": "live", "tantivy's list": "live/meta.json"}.get(what, "live/cachesync.json")
            ).unlink()
        assert not writer.intact()
        assert writer.live() is None
        generation = writer.build()
        write(generation, [change_for(path, data) for path, data in PAGES.items()])
        writer.promote(generation)
        assert writer.intact()
        assert index.status().service
        with pytest.raises(IndexUnavailableError, match="still writing"):
            EmbeddedIndex(tmp_path, "specs").writer(0).__enter__()
    assert index.reader().search(Request()).hits == documents(PAGES)


def test_the_process_that_recreates_a_removed_index_is_its_writer(index: EmbeddedIndex, tmp_path: Path) -> None:
    with index.writer(1, serving=True) as first:
        assert first.live()
        shutil.rmtree(tmp_path / "specs")
        with EmbeddedIndex(tmp_path, "specs").writer(1) as second:
            second.promote(second.build())
            assert not first.intact()
            for attempt in (first.live, first.build):
                with pytest.raises(OvertakenError, match=f"process {os.getpid()} has taken over"):
                    attempt()
            assert second.intact()
        assert first.live()
        assert first.intact()


@pytest.mark.parametrize("batch", [1, 1_000_000])
def test_acknowledged_pages_are_committed(index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(generation, "COMMIT_BYTES", batch)
    (path, data), other = next(iter(PAGES.items())), path_of("other")
    with index.writer(1) as writer:
        live = writer.live()
        assert live
        writing = live.write([change_for(path, page(title="a"), data), change_for(other, page(entry("o1")))])
        assert next(writing).page == path
        writing.close()  # type: ignore[attr-defined]  # as happens when a pass ends early
    assert path not in index.reader().counts()


def test_an_overtaken_writer_cannot_promote(index: EmbeddedIndex, tmp_path: Path) -> None:
    """The folder was removed, and the process that created it again is building a generation of the same name."""
    with index.writer(1) as first:
        ours = first.build()
        write(ours, [change_for(path, page(title="a")) for path in PAGES])
        shutil.rmtree(tmp_path / "specs")
        fill(EmbeddedIndex(tmp_path, "specs"), PAGES)
        with EmbeddedIndex(tmp_path, "specs").writer(1) as second:
            assert second.build().generation == ours.generation
            with pytest.raises(OvertakenError):
                first.promote(ours)
            assert index.reader().search(Request()).hits == documents(PAGES)


def test_readers_find_the_index_before_each_step_of_the_swap(
    index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0

    def looked_at(change: Callable[..., None]) -> Callable[..., None]:
        def looking(*arguments: Any, **options: Any) -> None:
            nonlocal steps
            steps += 1
            assert index.reader().size() == (2, 1)
            change(*arguments, **options)

        return looking

    for name in ("mkdir", "symlink", "rename", "replace", "unlink", "rmdir"):
        monkeypatch.setattr(os, name, looked_at(getattr(os, name)))
    fill(index, PAGES)
    fill(index, PAGES)
    assert steps > 6
    assert index.reader().size() == (2, 1)


def test_a_killed_service_is_not_reported_as_running(index: EmbeddedIndex, tmp_path: Path) -> None:
    serve = (
        "import sys; from pathlib import Path; from cachesync.index.embedded import EmbeddedIndex\n"
        "with EmbeddedIndex(Path(sys.argv[1]), 'specs').writer(5, serving=True): print('serving', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", serve, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout
        assert service.stdout.readline() == "serving\n"
        status = index.status()
        assert (status.service, status.holder) == (True, f"process {service.pid}")
        service.kill()
    status = index.status()
    assert (status.service, status.holder) == (False, None)
    with index.writer(0) as writer:
        assert writer.live()
        assert not index.status().service


def test_notes_are_written_atomically(index: EmbeddedIndex, tmp_path: Path) -> None:
    notes = index.notes()
    notes.put("a", b"1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            notes.put("a", b"2")
    assert (listing(tmp_path / "specs/notes"), notes.get("a")) == (["a"], b"1")
    for name, age in ((".b.1.1", 3700), (".c.1.1", 3500)):  # of a process killed long ago, and of one perhaps alive
        (tmp_path / "specs/notes" / name).touch()
        os.utime(tmp_path / "specs/notes" / name, (time.time() - age,) * 2)
    notes.put("a", b"1")
    assert listing(tmp_path / "specs/notes") == [".c.1.1", "a"]
    for name in (".snapshot", ".d.1.1"):
        (tmp_path / "specs/notes" / name).mkdir()
    (tmp_path / "specs/notes/.precious").touch()
    for name in (".snapshot", ".d.1.1", ".precious"):
        os.utime(tmp_path / "specs/notes" / name, (0, 0))
    notes.put("a", b"2")
    assert notes.get("a") == b"2"
    assert listing(tmp_path / "specs/notes") == [".c.1.1", ".d.1.1", ".precious", ".snapshot", "a"]
    shutil.rmtree(tmp_path / "specs")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/precious").write_text("not ours")
    with pytest.raises(UsageError, match="not a cachesync index"):
        notes.put("a", b"3")
    assert listing(tmp_path / "specs") == ["precious"]


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EACCES, ForbiddenError), (errno.EPERM, ForbiddenError), (errno.EIO, IndexUnavailableError)],
)
def test_a_forbidden_note_is_distinguished_from_an_unreadable_one(
    index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[CachesyncError]
) -> None:
    def refused(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(IndexUnavailableError, match=f"cannot read .*a: {os.strerror(number)}") as caught:
        index.notes().get("a")
    assert type(caught.value) is kind


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("seed", [1, 2])
def test_merges_interrupted_by_a_crash_lose_no_deletion(tmp_path: Path, seed: int) -> None:
    """Tantivy repeats such merges in the next pass, while that pass deletes documents."""
    random_ = random.Random(seed)
    index = EmbeddedIndex(tmp_path, "specs")
    paths = [path_of(f"p{number}") for number in range(30)]

    def content(path: str, number: int) -> bytes:
        return page(*(entry(f"{number}x{spec}") for spec in range(3)), title=identity(path).partition("/")[2])

    fill(index, {path: content(path, 0) for path in paths})
    with index.writer(1) as writer:
        generation = writer.live()
        assert generation
        live = tmp_path / "specs" / generation.generation
        opened = tantivy.Index.open(str(live))
        register_analyzers(opened)
        for number in range(1, 100):
            chosen = random_.sample(paths[:12], random_.choice([1, 1, 2, 4, 6]))
            known = generation.remembered(chosen)
            one = PageWriter(live, opened)
            for path in chosen:
                gone = [document_id(path, key) for key in known[path].digests]
                change = change_for(path, content(path, number))
                one.add(change._replace(before=known[path].record, deletes=gone))
            one.commit()
            opened.reload()
            if opened.searcher().num_segments >= 9:
                one.finish()
            del one  # which aborts its merges, as a crash does
            generation.refresh()
            assert set(generation.counts().values()) == {3}, number


def test_root_does_not_write_to_another_users_index(
    index: EmbeddedIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service of that user could neither replace root's files, nor write responses in root's folders."""
    if os.geteuid() == 0:
        os.chown(tmp_path / "specs", 65_534, 65_534)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for attempt in (index.require_rights, lambda: index.writer(0).__enter__()):
        with pytest.raises(IndexUnavailableError, match=r"belongs to the user \w+, who .*: run this as that user"):
            attempt()
    assert index.reader().size() == (2, 1)
    if tmp_path.stat().st_uid == 0:
        EmbeddedIndex(tmp_path, "another").require_rights()
        os.chown(tmp_path, 65_534, 65_534)
    with pytest.raises(IndexUnavailableError, match="belongs to the user"):
        EmbeddedIndex(tmp_path, "another").require_rights()
    EmbeddedIndex(tmp_path / "index", "specs").require_rights()  # it would be root's own

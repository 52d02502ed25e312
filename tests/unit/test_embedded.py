"""What is particular to the embedded engine: its folder."""

import os
import stat
from pathlib import Path

import pytest

from cachesync.errors import CachesyncError, IndexUnavailableError, UsageError
from cachesync.index.base import Index
from cachesync.index.embedded import EmbeddedIndex, folder
from cachesync.index.opening import open_index
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
    """Whether the writer gives the index up; then it can be filled again."""
    with index.writer(1) as writer:
        given_up = writer.live() is None
    fill(index, PAGES)
    assert index.reader().search(Request()).hits == documents(PAGES)
    return given_up


def test_the_alias_is_a_link_to_the_live_generation(index: EmbeddedIndex, tmp_path: Path) -> None:
    assert os.readlink(tmp_path / "specs") == "specs-1"
    fill(index, PAGES)
    assert os.readlink(tmp_path / "specs") == "specs-2"
    assert listing(tmp_path) == ["specs", "specs-2", "specs.lock"]


def test_what_an_interrupted_build_left_is_removed(index: EmbeddedIndex, tmp_path: Path) -> None:
    with index.writer(1) as writer:
        write(writer.build(), [change_for(path_of("b"), page(title="b"))])
    (tmp_path / "specs-7").mkdir()
    (tmp_path / "specs-8").mkdir()
    (tmp_path / "specs-8/precious").write_text("not ours")
    (tmp_path / "specs-old").mkdir()
    fill(index, PAGES)
    assert listing(tmp_path) == ["specs", "specs-8", "specs-9", "specs-old", "specs.lock"]


@pytest.mark.parametrize("name", ["meta.json", "cachesync.json", ".managed.json"])
@pytest.mark.parametrize("how", ["gone", "emptied", "nonsense"])
def test_a_damaged_index_is_given_up_and_filled_again(
    index: EmbeddedIndex, tmp_path: Path, name: str, how: str
) -> None:
    file = tmp_path / "specs" / name
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(b"" if how == "emptied" else b"{nonsense")
    assert refilled(index) or name == ".managed.json"


def test_cut_segments_are_given_up_and_filled_again(index: EmbeddedIndex, tmp_path: Path) -> None:
    for file in (tmp_path / "specs").glob("*.store"):
        os.truncate(file, file.stat().st_size // 2)
    assert refilled(index)


def test_a_missing_generation_is_filled_again(index: EmbeddedIndex, tmp_path: Path) -> None:
    (tmp_path / "specs-1").rename(tmp_path / "elsewhere")
    with pytest.raises(IndexUnavailableError):
        index.reader()
    assert refilled(index)


def test_an_index_of_another_version_is_filled_again(index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "fingerprint", lambda: "another")
    assert refilled(index)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_something_foreign_in_the_aliass_place_is_left_alone(tmp_path: Path, kind: str) -> None:
    foreign = tmp_path / "specs"
    if kind == "file":
        foreign.write_text("precious")
    else:
        foreign.mkdir()
    index = EmbeddedIndex(tmp_path, "specs")
    for attempt in (index.reader, lambda: index.writer(0).__enter__()):
        with pytest.raises(UsageError, match="no index of cachesync"):
            attempt()
    assert listing(tmp_path) == ["specs"]


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    index = EmbeddedIndex(tmp_path / "file", "specs")
    with pytest.raises(CachesyncError, match="file"), index.writer(0):
        pass


def test_becoming_the_writer_and_finding_nothing_to_do_writes_nothing(index: EmbeddedIndex, tmp_path: Path) -> None:
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


def test_other_engines_are_told_apart() -> None:
    with pytest.raises(UsageError, match=r"index\.url: http://127\.0\.0\.1:9200"):
        open_index(("http://127.0.0.1:9200",), "specs", lambda path: path)

"""The watcher on real files: whatever happens to them is told, and afterwards it still watches."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cachesync.pages.pattern import Pattern
from cachesync.sync.scan import Source, scan
from cachesync.watch.messages import Mode
from cachesync.watch.watcher import Watcher, WatcherState
from tests.support.pages import entry, page, path_of, put

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

PAGE = page(entry())
FENCE = "fence/"


class Seen:
    """A watcher, and what it has told."""

    def __init__(self, root: Path, mode: Mode) -> None:
        self.root = root
        pattern = Pattern(("_cache/**/specs.md", "fence/*"), ("private/", "_cache/secret/*"), ("@eaDir", "tmp-*"))
        self.source = Source(root, pattern, 10_000_000)
        self.dirty: list[str] = []
        self.states: list[WatcherState] = []
        self.order: list[str] = []
        self.fences: set[str] = set()
        self.news = threading.Condition()
        self.watcher = Watcher(self.source, mode, self._on_dirty, self._on_change)

    def _on_dirty(self, paths: list[str]) -> None:
        with self.news:
            fences = {path for path in paths if path.startswith(FENCE)}
            self.fences |= fences
            self.dirty += [path for path in paths if path not in fences]
            self.order.append("dirty")
            self.news.notify_all()

    def _on_change(self, state: WatcherState) -> None:
        with self.news:
            self.states.append(state)
            self.order.append("watching" if state.watching else "not watching")
            self.news.notify_all()

    def wait(self, what: Callable[[], bool], seconds: float = 60) -> None:
        with self.news:
            assert self.news.wait_for(what, seconds), (self.dirty[-20:], self.states[-3:])

    def fence(self) -> None:
        """Return when all that happened before has been told."""
        fence = f"{FENCE}{uuid.uuid4()}"
        (self.root / fence).touch()
        self.wait(lambda: fence in self.fences)

    def covers(self, path: str) -> bool:
        return any(not each or each == path or (each.endswith("/") and path.startswith(each)) for each in self.dirty)

    def expect(self, *paths: str) -> None:
        """All these are told, and not by calling everything dirty."""
        self.wait(lambda: all(self.covers(path) for path in paths))
        assert "" not in self.dirty

    def expect_anew(self) -> None:
        """Everything is told to be dirty, and it watches."""
        self.wait(lambda: "" in self.dirty and self.watcher.state.watching)

    def expect_watched(self, *paths: str) -> None:
        """A change of each of these pages is told by its name."""
        for path in paths:
            self.dirty.clear()
            with (self.root / path).open("ab") as file:
                file.write(b"\n")
            self.wait(lambda path=path: path in self.dirty)  # type: ignore[misc]
            assert "" not in self.dirty

    def expect_no_idle_watches(self) -> None:
        """The kernel watches the folders that the watcher knows, and no others."""

        def held() -> int:
            files = Path(f"/proc/{self.pid}/fdinfo").iterdir()
            return sum(file.read_text().count("inotify wd:") for file in files)

        self.wait(lambda: held() == self.watcher.state.folders)

    @property
    def pid(self) -> int:
        assert self.watcher.pid
        return self.watcher.pid

    @contextlib.contextmanager
    def held(self, hold: bool) -> Iterator[None]:
        """All that is done meanwhile lies in the queue when the watcher comes to it."""
        if hold:
            os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            if hold:
                os.kill(self.pid, signal.SIGCONT)


@contextlib.contextmanager
def watching(root: Path, mode: Mode = "native") -> Iterator[Seen]:
    seen = Seen(root, mode)
    seen.watcher.start()
    try:
        seen.wait(lambda: any(state.watching for state in seen.states))
        seen.dirty.clear()
        yield seen
    finally:
        seen.watcher.stop()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three tags of three packages, and a folder for fences."""
    root = tmp_path / "pages"
    for tag in ("develop", "other", "third"):
        for package in ("zlib", "hdf5", "cmake"):
            put(root, PAGE, package, tag)
    (root / FENCE).mkdir()
    return root


@pytest.fixture
def seen(root: Path) -> Iterator[Seen]:
    """Watching natively."""
    with watching(root) as seen:
        yield seen


hold = pytest.mark.parametrize("hold", [False, True], ids=["read at once", "read later"])


def test_first_everything_is_dirty_and_then_it_is_watching(root: Path) -> None:
    with watching(root) as seen:
        assert seen.order[:2] == ["dirty", "watching"]
        assert seen.watcher.state == WatcherState("native", True, None, folders=2 + 3 + 9 + 1)
    assert seen.watcher.pid is None
    seen.watcher.stop()


def test_a_page_that_is_edited_or_saved_is_told(seen: Seen) -> None:
    (seen.root / path_of("zlib")).write_bytes(page(entry("bbbb")))
    seen.wait(lambda: path_of("zlib") in seen.dirty)
    put(seen.root, PAGE, "hdf5")
    seen.wait(lambda: path_of("hdf5") in seen.dirty)
    assert set(seen.dirty) == {path_of("zlib"), path_of("hdf5")}


def test_a_page_is_told_while_it_is_written(seen: Seen) -> None:
    with (seen.root / path_of("zlib")).open("wb", buffering=0) as file:
        for piece in range(3):
            seen.fence()
            seen.dirty.clear()
            file.write(b"%d" % piece)
            seen.wait(lambda: path_of("zlib") in seen.dirty)


def test_neighbours_of_pages_are_not_told(seen: Seen) -> None:
    for name in ("_cache/develop/zlib/spec-0.json", "_cache/develop/index.md", "index.md", ".git/x/specs.md"):
        (seen.root / name).parent.mkdir(parents=True, exist_ok=True)
        (seen.root / name).write_text("x")
    seen.fence()
    assert seen.dirty == []


@hold
@pytest.mark.parametrize("name", [".~tmp~", "@eaDir", "tmp-1", "private", "secret"])
def test_what_is_ignored_or_excluded_is_neither_told_nor_watched(seen: Seen, hold: bool, name: str) -> None:
    with seen.held(hold):
        put(seen.root, PAGE, "zlib", name)
        (seen.root / "_cache" / name).chmod(0o700)
    seen.fence()
    put(seen.root, PAGE, "zlib", name)
    seen.fence()
    assert seen.dirty == []
    assert seen.watcher.state.folders == 15
    seen.expect_no_idle_watches()
    os.rename(seen.root / "_cache" / name, seen.root / "_cache/new")
    seen.expect(path_of("zlib", "new"))
    seen.fence()
    seen.expect_watched(path_of("zlib", "new"))
    with seen.held(hold):
        os.rename(seen.root / "_cache/new", seen.root / "_cache" / name)
    seen.expect(path_of("zlib", "new"))
    seen.fence()
    seen.expect_no_idle_watches()
    assert seen.watcher.state.folders == 15


def test_a_page_that_is_touched_is_told(seen: Seen) -> None:
    os.utime(seen.root / path_of("zlib"), (0, 0))
    seen.expect(path_of("zlib"))


@hold
def test_a_new_package(seen: Seen, hold: bool) -> None:
    with seen.held(hold):
        put(seen.root, PAGE, "py-pip")
    seen.expect(path_of("py-pip"))
    seen.fence()
    seen.expect_watched(path_of("py-pip"))


@hold
def test_a_new_tag(seen: Seen, hold: bool) -> None:
    paths = [path_of(f"package-{number}", "new") for number in range(200)]
    with seen.held(hold):
        for number in range(200):
            put(seen.root, PAGE, f"package-{number}", "new")
    seen.expect(*paths)
    seen.fence()
    seen.expect_watched(*paths[::20])


@hold
def test_a_prepared_tag_that_is_moved_in(seen: Seen, hold: bool, tmp_path: Path) -> None:
    for number in range(50):
        put(tmp_path, PAGE, f"package-{number}", "new")
    with seen.held(hold):
        os.rename(tmp_path / "_cache/new", seen.root / "_cache/new")
    seen.expect(*(path_of(f"package-{number}", "new") for number in range(50)))
    seen.fence()
    seen.expect_watched(path_of("package-0", "new"), path_of("package-49", "new"))


@hold
def test_a_page_a_package_and_a_tag_that_are_deleted_and_made_again(seen: Seen, hold: bool) -> None:
    with seen.held(hold):
        (seen.root / path_of("zlib")).unlink()
        shutil.rmtree((seen.root / path_of("hdf5")).parent)
        shutil.rmtree(seen.root / "_cache/other")
    seen.expect(path_of("zlib"), path_of("hdf5"), path_of("zlib", "other"))
    seen.fence()
    assert seen.watcher.state.folders == 15 - 1 - 4
    put(seen.root, PAGE, "zlib")
    put(seen.root, PAGE, "hdf5")
    put(seen.root, PAGE, "zlib", "other")
    seen.fence()
    seen.expect_watched(path_of("zlib"), path_of("hdf5"), path_of("zlib", "other"))


@hold
def test_a_folder_that_is_renamed_away_and_back(seen: Seen, hold: bool) -> None:
    with seen.held(hold):
        os.rename(seen.root / "_cache/develop", seen.root / "_cache/away")
        os.rename(seen.root / "_cache/away", seen.root / "_cache/develop")
    seen.expect(path_of("zlib"), path_of("zlib", "away"))
    seen.fence()
    seen.expect_watched(path_of("zlib"), path_of("hdf5"))


@hold
def test_folders_that_are_swapped(seen: Seen, hold: bool) -> None:
    cache = seen.root / "_cache"
    with seen.held(hold):
        os.rename(cache / "develop", cache / "aside")
        os.rename(cache / "other", cache / "develop")
        os.rename(cache / "aside", cache / "other")
        (cache / "develop/zlib/specs.md").write_bytes(b"1")
        (cache / "other/hdf5/specs.md").write_bytes(b"2")
    seen.expect(path_of("zlib"), path_of("hdf5", "other"))
    seen.fence()
    seen.expect_watched(*(path_of(package, tag) for package in ("zlib", "hdf5") for tag in ("develop", "other")))


@hold
def test_a_tag_that_is_renamed_and_then_edited(seen: Seen, hold: bool) -> None:
    with seen.held(hold):
        os.rename(seen.root / "_cache/develop", seen.root / "_cache/renamed")
        (seen.root / path_of("zlib", "renamed")).write_bytes(b"1")
    seen.expect(path_of("zlib"), path_of("zlib", "renamed"))
    seen.fence()
    seen.expect_watched(path_of("zlib", "renamed"))
    seen.fence()
    assert not seen.covers(path_of("zlib"))


@hold
def test_what_was_moved_out_is_not_heard_of_any_more(seen: Seen, hold: bool, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    with seen.held(hold):
        os.rename(seen.root / "_cache/develop", outside)
        put(seen.root, PAGE)
    seen.expect(path_of("zlib"), path_of("hdf5"))
    seen.fence()
    seen.dirty.clear()
    (outside / "zlib/specs.md").write_bytes(b"1")
    seen.fence()
    assert seen.dirty == []
    seen.expect_no_idle_watches()
    shutil.rmtree(outside)
    seen.fence()
    assert seen.dirty == []
    seen.expect_watched(path_of("zlib"))


@hold
def test_a_page_that_becomes_a_folder_and_back(seen: Seen, hold: bool) -> None:
    file = seen.root / path_of("zlib")
    with seen.held(hold):
        file.unlink()
        file.mkdir()
    seen.wait(lambda: {path_of("zlib"), path_of("zlib") + "/"} <= set(seen.dirty))
    seen.fence()
    seen.dirty.clear()
    with seen.held(hold):
        file.rmdir()
        put(seen.root, PAGE)
    seen.wait(lambda: {path_of("zlib"), path_of("zlib") + "/"} <= set(seen.dirty))
    seen.fence()
    seen.expect_watched(path_of("zlib"))


@hold
def test_a_folder_that_becomes_a_link_and_back(seen: Seen, hold: bool, tmp_path: Path) -> None:
    tag = seen.root / "_cache/develop"
    with seen.held(hold):
        os.rename(tag, tmp_path / "elsewhere")
        tag.symlink_to(tmp_path / "elsewhere")
    seen.expect(path_of("zlib"))
    seen.fence()
    seen.dirty.clear()
    (tag / "zlib/specs.md").write_bytes(b"not followed")
    seen.fence()
    assert seen.dirty == []
    with seen.held(hold):
        tag.unlink()
        os.rename(tmp_path / "elsewhere", tag)
    seen.expect(path_of("zlib"))
    seen.fence()
    seen.expect_watched(path_of("zlib"))


@hold
@pytest.mark.parametrize("where", ["_cache/link", "_cache/develop/link", "_cache/develop/zlib/link"])
@pytest.mark.parametrize("target", ["folder", "nowhere"])
def test_a_link_that_comes_is_replaced_and_goes_is_told(
    seen: Seen, hold: bool, where: str, target: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    link, fresh = seen.root / where, tmp_path / "fresh"

    def replace() -> None:
        fresh.symlink_to(tmp_path / target)
        os.replace(fresh, link)

    changes: list[Callable[[], object]] = [
        lambda: link.symlink_to(tmp_path / target),
        replace,
        lambda: os.rename(link, fresh),
        lambda: os.rename(fresh, link),
        link.unlink,
    ]
    for change in changes:
        seen.dirty.clear()
        with seen.held(hold):
            change()
        seen.wait(lambda: f"{where}/" in seen.dirty)
        seen.fence()
        assert set(seen.dirty) == {f"{where}/"}
    seen.expect_no_idle_watches()


def test_links_that_were_there_first_are_told_when_they_go(root: Path, tmp_path: Path) -> None:
    put(tmp_path / "new", PAGE, tag="new")
    links = [root / "_cache/one", root / "_cache/develop/two", tmp_path / "new/_cache/new/three"]
    for link in links:
        link.symlink_to(tmp_path)
    with watching(root) as seen:
        os.rename(tmp_path / "new/_cache/new", root / "_cache/new")
        seen.expect(path_of("zlib", "new"))
        for place in ("_cache/one", "_cache/develop/two", "_cache/new/three"):
            seen.fence()
            seen.dirty.clear()
            (root / place).unlink()
            seen.wait(lambda place=place: f"{place}/" in seen.dirty)  # type: ignore[misc]
        assert "" not in seen.dirty


def test_a_file_in_the_place_of_a_folder_is_not_told(seen: Seen) -> None:
    neighbour = seen.root / "_cache/develop/zlib/spec-0.json"
    neighbour.write_text("{}")
    neighbour.rename(neighbour.with_name("spec-1.json"))
    neighbour.with_name("spec-1.json").unlink()
    seen.fence()
    assert seen.dirty == []


def test_a_folder_whose_rights_change_is_told(seen: Seen) -> None:
    (seen.root / "_cache/develop").chmod(0o700)
    seen.expect(path_of("zlib"))
    seen.fence()
    seen.expect_watched(path_of("zlib"))


def test_a_root_that_is_moved_away_and_back(seen: Seen, tmp_path: Path) -> None:
    os.rename(seen.root, tmp_path / "away")
    seen.wait(lambda: not seen.watcher.state.watching)
    assert seen.watcher.state.reason == f"pages.root: cannot list {seen.root}: No such file or directory"
    os.rename(tmp_path / "away", seen.root)
    seen.expect_anew()
    seen.expect_watched(path_of("zlib"))


def test_a_root_that_is_replaced(seen: Seen, tmp_path: Path) -> None:
    put(tmp_path / "fresh", PAGE)
    os.rename(seen.root, tmp_path / "away")
    os.rename(tmp_path / "fresh", seen.root)
    seen.expect_anew()
    seen.expect_watched(path_of("zlib"))


def test_a_root_that_comes_later(tmp_path: Path) -> None:
    seen = Seen(tmp_path / "pages", "native")
    seen.watcher.start()
    try:
        seen.wait(lambda: "cannot list" in (seen.watcher.state.reason or ""))
        assert seen.dirty == []
        put(seen.root, PAGE)
        seen.expect_anew()
        seen.expect_watched(path_of())
    finally:
        seen.watcher.stop()


def test_a_root_that_is_a_link_and_is_turned(root: Path, tmp_path: Path) -> None:
    put(tmp_path / "second", PAGE)
    link = tmp_path / "link"
    link.symlink_to(root)
    with watching(link) as seen:
        seen.expect_watched(path_of("zlib"))
        put(link, PAGE, "py-pip", "new")
        seen.expect(path_of("py-pip", "new"))
        seen.dirty.clear()
        (tmp_path / "turned").symlink_to(tmp_path / "second")
        os.replace(tmp_path / "turned", link)
        seen.expect_anew()
        seen.expect_watched(path_of("zlib"))


@hold
def test_the_whole_cache_is_deleted_and_made_again(seen: Seen, hold: bool) -> None:
    with seen.held(hold):
        shutil.rmtree(seen.root / "_cache")
    seen.expect(path_of("zlib"), path_of("cmake", "third"))
    with seen.held(hold):
        put(seen.root, PAGE, "zlib")
    seen.expect(path_of("zlib"))
    seen.fence()
    seen.expect_watched(path_of("zlib"))


def test_names_that_are_no_text_are_told_by_the_folder_above(seen: Seen) -> None:
    folder = os.fsencode(seen.root) + b"/_cache/develop/\xff"
    os.mkdir(folder)
    seen.wait(lambda: "_cache/develop/" in seen.dirty)
    seen.fence()
    seen.dirty.clear()
    Path(os.fsdecode(folder + b"/specs.md")).write_bytes(PAGE)
    seen.wait(lambda: "_cache/develop/" in seen.dirty)
    os.mkdir(os.fsencode(seen.root) + b"/_cache/\xfe")
    seen.wait(lambda: "_cache/" in seen.dirty)
    seen.expect_watched(path_of("zlib"))


def test_more_changes_than_the_queue_holds(seen: Seen) -> None:
    length = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if length > 500_000:
        pytest.skip("the kernel's queue is too long to fill")
    one, two = (os.open(seen.root / path_of(package), os.O_WRONLY) for package in ("zlib", "hdf5"))
    with seen.held(True):
        for _ in range(length // 2 + 10):
            os.write(one, b"x")  # the same twice in a row would be one event
            os.write(two, b"x")
    os.close(one)
    os.close(two)
    seen.wait(lambda: seen.watcher.state.overflows == 1)
    seen.expect_anew()
    assert any(f"max_queued_events = {length}" in (state.reason or "") for state in seen.states)
    seen.fence()
    seen.expect_watched(path_of("zlib"), path_of("cmake", "third"))


def test_a_watcher_that_is_killed(seen: Seen) -> None:
    seen.order.clear()
    os.kill(seen.pid, signal.SIGKILL)
    seen.wait(lambda: "watching" in seen.order)
    # Everything is dirty at once when it ends, and again when it has begun.
    assert seen.order[: seen.order.index("watching")].count("dirty") == 2
    assert set(seen.dirty) == {""}
    assert seen.watcher.state.restarts == 1
    assert any("signal 9" in (state.reason or "") for state in seen.states)
    seen.dirty.clear()
    seen.expect_watched(path_of("zlib"))


def test_a_watcher_that_cannot_be_started_is_tried_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = sys.executable
    monkeypatch.setattr(sys, "executable", str(root / "no-python"))
    seen = Seen(root, "native")
    seen.watcher.start()
    try:
        seen.wait(lambda: seen.watcher.state.restarts > 1)
        monkeypatch.setattr(sys, "executable", python)
        seen.expect_anew()
    finally:
        seen.watcher.stop()


@pytest.mark.surroundings
def test_an_interrupt_is_for_the_parent(seen: Seen) -> None:
    os.kill(seen.pid, signal.SIGINT)
    seen.expect_watched(path_of("zlib"))
    assert seen.watcher.state.restarts == 0


def test_a_watcher_ends_with_its_parent(root: Path) -> None:
    script = f"""
        import os, sys, threading
        from pathlib import Path
        from cachesync.pages.pattern import Pattern
        from cachesync.sync.scan import Source
        from cachesync.watch.watcher import Watcher
        begun = threading.Event()
        source = Source(Path({str(root)!r}), Pattern(("_cache/**/specs.md",)), 1000)
        watcher = Watcher(source, "native", lambda paths: begun.set(), lambda state: None)
        watcher.start()
        begun.wait()
        os.kill(os.getpid(), 9)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        parent.communicate(timeout=60)  # the watcher has its parent's stderr, which ends when both have ended
    assert parent.returncode == -signal.SIGKILL


def test_polling_sees_the_same(root: Path) -> None:
    with watching(root, "polling") as seen:
        assert seen.watcher.state == WatcherState("polling", True)
        (seen.root / path_of("zlib")).write_bytes(b"edited")
        (seen.root / path_of("hdf5")).unlink()
        shutil.rmtree(seen.root / "_cache/third")
        put(seen.root, PAGE, "py-pip", "new")
        seen.expect(path_of("zlib"), path_of("hdf5"), path_of("cmake", "third"), path_of("py-pip", "new"))
        assert path_of("cmake") not in seen.dirty
        seen.expect_watched(path_of("zlib"))
        os.rename(root, root.with_name("away"))
        seen.wait(lambda: not seen.watcher.state.watching)
        os.rename(root.with_name("away"), root)
        seen.expect_anew()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_is_told(seen: Seen, seed: int, tmp_path: Path) -> None:
    """Each page that differs is covered by what was told, and each that is there is still watched."""
    random_ = random.Random(seed)
    outside = tmp_path / "outside"
    outside.mkdir()
    for turn in range(12):
        before, links_before = scan(seen.source), _links(seen.root)
        seen.dirty.clear()
        with seen.held(random_.random() < 0.5):
            for _ in range(random_.randint(1, 8)):
                _do_something(random_, seen.root / "_cache", outside)
        seen.fence()
        seen.expect_no_idle_watches()
        now = scan(seen.source)
        for path in before.entries.keys() | now.entries.keys():
            if before.entries.get(path) != now.entries.get(path) and not path.startswith(FENCE):
                assert seen.covers(path), (turn, path)
        for path, _ in links_before ^ _links(seen.root):
            assert seen.covers(f"{path}/"), (turn, path)
        seen.expect_watched(
            *(path for path, found in now.entries.items() if not found.fault and not path.startswith(FENCE))
        )
        seen.fence()


def _links(root: Path) -> set[tuple[str, tuple[int, int]]]:
    """The symbolic links below a root that aren't pages, each with what tells it from another one at its place."""
    found = set()
    for folder, folders, files in os.walk(root):
        for path in (Path(folder, name) for name in (*folders, *files) if name != "specs.md"):
            if path.is_symlink():
                status = path.lstat()
                found.add((path.relative_to(root).as_posix(), (status.st_ino, status.st_ctime_ns)))
    return found


def _do_something(random_: random.Random, cache: Path, outside: Path) -> None:
    names = [f"{tag}{package}" for tag in ("a", "b", "c") for package in ("", "/x", "/y", "/x/specs.md", "/x/z")]
    here, there = (cache / random_.choice(names) for _ in range(2))
    aside = outside / random_.choice("pq")
    with contextlib.suppress(OSError):  # what can't be done isn't
        match random_.randrange(8):
            case 0 | 1 | 2:
                put(cache.parent, PAGE, f"{random_.choice('xy')}{random_.choice(('', '/z'))}", random_.choice("abc"))
            case 3:
                os.rename(here, there)
            case 4:
                os.rename(here, aside)
            case 5:
                os.rename(aside, here)
            case 6:
                shutil.rmtree(here) if here.is_dir() else here.unlink()
            case 7:
                here.symlink_to(aside)


NAMESPACE = """
    import os, subprocess, sys, threading
    from pathlib import Path
    from cachesync.pages.pattern import Pattern
    from cachesync.sync.scan import Source
    from cachesync.watch.watcher import Watcher

    news = threading.Condition()
    dirty, states = [], []

    def tell(where, what):
        with news:
            where.extend(what)
            news.notify_all()

    def wait(what):
        with news:
            assert news.wait_for(what, 60), (dirty[-5:], states[-5:])

    def limit(name, number):
        try:
            Path("/proc/sys/user", name).write_text(str(number))
        except OSError:
            sys.exit("limits can't be set here")

    def put(path):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")

    root = Path(sys.argv[1])
    source = Source(root, Pattern(("_cache/**/specs.md",)), 1000)
    watcher = Watcher(source, "native", lambda paths: tell(dirty, paths), lambda state: tell(states, [state]))
"""


def in_namespace(root: Path, script: str, *options: str) -> str:
    """Run a script where there are other limits and rights, and return the last reason that it prints."""
    unshare = ["unshare", "--user", *options]
    try:
        subprocess.run([*unshare, "true"], check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there are no user namespaces here")
    whole = textwrap.dedent(NAMESPACE) + textwrap.dedent(script) + "\nwatcher.stop()\nprint(states[-1].reason)\n"
    done = subprocess.run(
        [*unshare, sys.executable, "-c", whole, str(root)], check=False, capture_output=True, text=True, timeout=120
    )
    if "limits can't be set here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_too_few_watches(root: Path) -> None:
    for number in range(300):
        (root / f"_cache/new/package-{number}").mkdir(parents=True)
    reason = in_namespace(
        root,
        """
        limit("max_inotify_watches", 300)
        watcher.start()
        wait(lambda: states and states[-1].watching)
        assert states[-1].mode == "polling" and states[-1].folders == 0, states
        assert dirty == [""]
        put("_cache/new/package-0/specs.md")
        wait(lambda: "_cache/new/package-0/specs.md" in dirty)
        """,
        "--map-root-user",
    )
    assert reason == (
        "315 folders need a watch each, and user.max_inotify_watches allows a user 300 in all; "
        "to watch them: sysctl -w user.max_inotify_watches=1024, then start again"
    )


def test_too_few_watches_later(root: Path) -> None:
    reason = in_namespace(
        root,
        """
        limit("max_inotify_watches", 300)
        watcher.start()
        wait(lambda: states and states[-1].watching)
        assert states[-1].mode == "native", states
        for number in range(300):
            put(f"_cache/new/package-{number}/specs.md")
        wait(lambda: states[-1].mode == "polling" and states[-1].watching)
        dirty.clear()
        put("_cache/new/package-299/specs.md")
        wait(lambda: "_cache/new/package-299/specs.md" in dirty)
        """,
        "--map-root-user",
    )
    assert "sysctl -w user.max_inotify_watches=1024" in reason


def test_too_few_instances(root: Path) -> None:
    reason = in_namespace(
        root,
        """
        limit("max_inotify_instances", 0)
        watcher.start()
        wait(lambda: states and states[-1].watching)
        assert states[-1].mode == "polling", states
        """,
        "--map-root-user",
    )
    assert "sysctl -w user.max_inotify_instances=" in reason


def test_something_is_mounted_over_the_pages(root: Path) -> None:
    in_namespace(
        root,
        """
        watcher.start()
        wait(lambda: states and states[-1].watching)
        for command in (["mount", "-t", "tmpfs", "none", root / "_cache"], ["umount", root / "_cache"]):
            dirty.clear()
            subprocess.run(command, check=True)
            wait(lambda: "" in dirty)
            dirty.clear()
            put("_cache/develop/zlib/specs.md")
            wait(lambda: dirty)
        """,
        "--map-root-user",
        "--mount",
    )


def test_one_folder_at_two_places(root: Path) -> None:
    (root / "_cache/twin").mkdir()
    reason = in_namespace(
        root,
        """
        subprocess.run(["mount", "--bind", root / "_cache/develop", root / "_cache/twin"], check=True)
        watcher.start()
        wait(lambda: states and states[-1].watching)
        assert states[-1].mode == "polling", states
        """,
        "--map-root-user",
        "--mount",
    )
    assert "are one folder (a bind mount)" in reason


def test_a_folder_that_can_be_read_again_is_watched(root: Path) -> None:
    in_namespace(
        root,
        """
        tag = root / "_cache/develop"
        tag.chmod(0)
        try:
            os.listdir(tag)
            sys.exit("whoever may read everything can't try this")
        except PermissionError:
            watcher.start()
        wait(lambda: states and states[-1].watching)
        assert states[-1].folders == 2 + 2 + 6, states
        tag.chmod(0o700)
        wait(lambda: states[-1].folders == 2 + 3 + 9)
        assert dirty == ["", "_cache/develop/"]
        put("_cache/develop/zlib/specs.md")
        wait(lambda: "_cache/develop/zlib/specs.md" in dirty)
        """,
    )

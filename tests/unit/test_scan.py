"""What a scan finds on a real disk."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachesync.config import PagesConfig
from cachesync.errors import RefusedError, UsageError
from cachesync.pages.pattern import Pattern
from cachesync.sync.scan import Scan, Source, root_of, scan, scan_at
from tests.support.folding import folding
from tests.support.pages import entry, page, path_of, put


def source(root: Path, include: tuple[str, ...] = ("_cache/**/specs.md",), exclude: tuple[str, ...] = ()) -> Source:
    return Source(root, Pattern(include, exclude, PagesConfig().ignore), max_bytes=10_000)


def faults(root: Path) -> dict[str, str | None]:
    return {path: entry.fault for path, entry in scan(source(root)).entries.items()}


def test_pages_are_found_and_their_neighbours_left_alone(tmp_path: Path) -> None:
    put(tmp_path, page(entry()), "zlib", "develop")
    put(tmp_path, page(entry()), "nested/deeper", "develop")
    for name in ("index.md", "spec-0.json", ".specs.md.swp", "specs.md.orig"):
        (tmp_path / "_cache/develop/zlib" / name).write_text("x")
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/specs.md").write_text("x")
    assert faults(tmp_path) == {path_of("zlib"): None, path_of("nested/deeper"): None}


@pytest.mark.parametrize(
    ("include", "exclude", "found"),
    [
        (("_cache/**/specs.md",), (), ["a/x", "a/y", "b/x"]),
        (("_cache/**/specs.md",), ("_cache/a",), ["b/x"]),
        (("_cache/a/*/specs.md",), (), ["a/x", "a/y"]),
        (("_cache/b/x/specs.md", "_cache/a/y/specs.md"), (), ["a/y", "b/x"]),
        (("specs.md",), ("y/",), ["a/x", "b/x"]),
        (("**/specs.md",), (), ["a/x", "a/y", "b/x"]),
    ],
)
def test_patterns_select_pages(
    tmp_path: Path, include: tuple[str, ...], exclude: tuple[str, ...], found: list[str]
) -> None:
    for tag, package in (("a", "x"), ("a", "y"), ("b", "x")):
        put(tmp_path, page(entry()), package, tag)
    entries = scan(source(tmp_path, include, exclude)).entries
    assert sorted(entries) == [f"_cache/{each}/specs.md" for each in found]


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the folders that are listed from now on."""
    real, listed = os.scandir, []

    def noting(path: str) -> object:
        listed.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", noting)
    return listed


@pytest.mark.parametrize("name", [".~tmp~", ".snapshot", "@eaDir", "#recycle", "lost+found"])
def test_folders_made_by_tools_are_not_even_listed(tmp_path: Path, listed: list[str], name: str) -> None:
    root = tmp_path / "root"
    put(root, page(entry()))
    put(root, page(entry()), name)
    put(root, page(entry()), "zlib", name)
    put(root / name, page(entry()))
    for found in (
        scan(source(root)),
        scan(source(root, ("specs.md",))),
        at(root, path_of(), path_of(name), path_of("zlib", name), f"_cache/{name}/"),
    ):
        assert list(found.entries) == [path_of()]
    assert not [folder for folder in listed if name in folder.removeprefix(str(tmp_path))]


@pytest.mark.parametrize("exclude", ["private", "_cache/private/", "_cache/private/*", "_cache/private/**"])
def test_excluded_folders_are_not_even_listed(tmp_path: Path, listed: list[str], exclude: str) -> None:
    put(tmp_path, page(entry()), "zlib", "a")
    put(tmp_path, page(entry()), "zlib", "private")
    assert list(scan(source(tmp_path, exclude=(exclude,))).entries) == [path_of("zlib", "a")]
    assert not [folder for folder in listed if folder.endswith("_cache/private/")]


def test_the_root_may_be_a_link_but_folders_below_may_not(tmp_path: Path) -> None:
    put(tmp_path / "real", page(entry()))
    (tmp_path / "root").symlink_to("real")
    (tmp_path / "real/_cache/linked").symlink_to("develop")
    assert faults(tmp_path / "root") == {path_of(): None}


def warned(root: Path, *paths: str) -> dict[str, str]:
    return {each.path: each.message.partition(":")[0] for each in at(root, *(paths or ("",))).warnings}


FOLLOWED_NOT = "a symbolic link to a folder, which is not followed, so no page below it is read"
NOWHERE = "a symbolic link that leads nowhere (No such file or directory)"


def test_links_at_paths_of_folders_cause_warnings(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root, page(entry()))
    put(tmp_path / "elsewhere", page(entry()))
    cache, package = root / "_cache", root / "_cache/develop/zlib"
    (cache / "out").symlink_to(tmp_path / "elsewhere/_cache/develop")
    (cache / "chain").symlink_to("out")
    (cache / "up").symlink_to("..")
    (cache / "loop").symlink_to("loop")
    (cache / "nowhere").symlink_to("missing")
    (package / "inside").symlink_to("..")
    (package / "spec-1.json").symlink_to("specs.md")
    (package / "caf\udce9").symlink_to("..")
    assert warned(root) == {
        "_cache/out": FOLLOWED_NOT,
        "_cache/chain": FOLLOWED_NOT,
        "_cache/up": FOLLOWED_NOT,
        "_cache/loop": "a symbolic link that leads nowhere (Too many levels of symbolic links)",
        "_cache/nowhere": NOWHERE,
        "_cache/develop/zlib/inside": FOLLOWED_NOT,
        "_cache/develop/zlib/caf\\udce9": FOLLOWED_NOT,
    }
    assert warned(root, "_cache/out/", "_cache/nowhere/zlib/specs.md") == {
        "_cache/out": FOLLOWED_NOT,
        "_cache/nowhere": NOWHERE,
    }
    assert warned(root, path_of(), "_cache/gone/") == {}


@pytest.mark.parametrize(
    "link", ["elsewhere", "_cache/.current", "_cache/@eaDir", "_cache/private", "_cache/a/specs.md"]
)
def test_a_link_where_no_folder_of_pages_could_be_is_ignored(tmp_path: Path, link: str) -> None:
    put(tmp_path, page(entry()), "zlib", "develop")
    put(tmp_path, page(entry()), "other", "a")
    (tmp_path / link).symlink_to(tmp_path / "_cache/develop")
    assert scan(source(tmp_path, exclude=("private",))).warnings == []


def test_a_cache_that_is_a_link_causes_a_warning(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(tmp_path / "release", page(entry()))
    root.mkdir()
    (root / "..data").symlink_to(tmp_path / "release")
    (root / "_cache").symlink_to("..data/_cache")
    for paths in ((), ("_cache/",), (path_of(),)):
        assert warned(root, *paths) == {"_cache": FOLLOWED_NOT}


def test_a_page_that_is_not_a_regular_file_is_found_with_its_fault(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (tmp_path / "outside.md").write_bytes(page(entry()))
    inside = put(root, page(entry()))
    for name in ("folder", "pipe", "socket", "out", "in", "nowhere", "loop", "tofolder"):
        (root / "_cache/v1" / name).mkdir(parents=True)
    below = root / "_cache/v1"
    (below / "folder/specs.md").mkdir()
    os.mkfifo(below / "pipe/specs.md")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(below / "socket")
        server.bind("specs.md")
    (below / "out/specs.md").symlink_to(tmp_path / "outside.md")
    (below / "in/specs.md").symlink_to(inside)
    (below / "nowhere/specs.md").symlink_to("missing")
    (below / "loop/specs.md").symlink_to("specs.md")
    (below / "tofolder/specs.md").symlink_to(below / "in")
    found = faults(root)
    assert found.pop(path_of()) is None
    assert {path.split("/")[2]: (fault or "").split(":")[0] for path, fault in found.items()} == {
        "folder": "a folder",
        "pipe": "a pipe",
        "socket": "a socket",
        "out": "a symbolic link that leaves the root",
        "in": "",
        "nowhere": "a symbolic link that leads nowhere (No such file or directory)",
        "loop": "a symbolic link that leads nowhere (Too many levels of symbolic links)",
        "tofolder": "a symbolic link to a folder",
    }


def test_a_page_over_the_size_limit_is_found_with_its_fault(tmp_path: Path) -> None:
    put(tmp_path, b"x" * 10_001)
    assert faults(tmp_path) == {path_of(): "10,001 bytes: expected at most 10,000 (pages.max_bytes)"}


def test_files_in_a_folder_named_like_a_page_are_not_pages(tmp_path: Path) -> None:
    (tmp_path / path_of()).mkdir(parents=True)
    (tmp_path / path_of() / "notes.md").write_text("x")
    assert faults(tmp_path) == {path_of(): "a folder: expected a regular file"}


def test_a_line_break_in_a_name_hides_nothing(tmp_path: Path) -> None:
    put(tmp_path, page(entry()), "new\nline")
    assert list(faults(tmp_path)) == [path_of("new\nline")]


def test_names_that_cannot_be_ids_are_problems(tmp_path: Path) -> None:
    put(tmp_path, page(entry()))
    latin = os.fsencode(tmp_path) + b"/_cache/develop/caf\xe9"
    os.mkdir(latin)
    Path(os.fsdecode(latin + b"/specs.md")).write_bytes(page(entry()))
    long = tmp_path.joinpath("_cache", *["x" * 200] * 3)
    long.mkdir(parents=True)
    (long / "specs.md").write_bytes(page(entry()))
    found = scan(source(tmp_path))
    assert list(found.entries) == [path_of()]
    assert sorted(problem.message.split(":")[0] for problem in found.problems) == [
        "the path is longer than 512 bytes",
        "the path is not UTF-8",
    ]


@pytest.mark.parametrize("call", ["scandir", "is_dir"])
def test_an_unreadable_folder_is_a_problem_and_covers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Some file systems don't return the type of an entry, so that even is_dir() can fail."""
    put(tmp_path, page(entry()), "zlib", "a")
    put(tmp_path, page(entry()), "zlib", "b")
    real = os.scandir

    class FailingEntry:
        name = "b"

        def is_dir(self, **_options: bool) -> bool:
            raise PermissionError(13, "Permission denied")

    @contextlib.contextmanager
    def failing(path: str) -> Iterator[Iterator[object]]:
        if path.endswith("_cache/b/"):
            raise PermissionError(13, "Permission denied")
        with real(path) as entries:
            yield (FailingEntry() if call == "is_dir" and each.name == "b" else each for each in entries)

    monkeypatch.setattr(os, "scandir", failing)
    found = scan(source(tmp_path))
    assert list(found.entries) == [path_of("zlib", "a")]
    assert [str(problem) for problem in found.problems] == [
        "_cache/b: cannot be read: Permission denied; the index keeps what it has of it"
    ]
    assert not found.covers(path_of("zlib", "b"))
    assert found.covers(path_of("gone", "a"))
    assert not any(found.unread.values())


def test_a_folder_deleted_during_the_scan_is_unknown_but_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, page(entry()), "zlib", "b")
    real = os.scandir

    def vanishing(path: str) -> object:
        if path.endswith("_cache/b/"):
            os.rename(path, tmp_path / "elsewhere")
        return real(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    found = scan(source(tmp_path))
    assert found == Scan({}, {"_cache/b": True}, [], [])
    assert not found.covers(path_of("zlib", "b"))


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_root_that_is_not_a_folder_is_an_error(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    if kind == "file":
        root.write_text("x")
    with pytest.raises(UsageError, match=r"pages\.root"):
        scan(source(root))


def test_a_root_replaced_during_the_scan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    put(root, page(entry()))
    real = os.scandir

    def replacing(path: str) -> object:
        if root.exists() and not (tmp_path / "away").exists():
            root.rename(tmp_path / "away")
            root.mkdir()
        return real(path)

    monkeypatch.setattr(os, "scandir", replacing)
    with pytest.raises(Exception, match="was replaced while it was scanned"):
        scan(source(root))


def at(root: Path, *paths: str) -> Scan:
    return scan_at(source(root), paths, root_of(source(root)))


def test_only_the_given_paths_are_scanned(tmp_path: Path) -> None:
    for package, tag in (("zlib", "a"), ("hdf5", "a"), ("zlib", "b"), ("hdf5", "b")):
        put(tmp_path, page(entry()), package, tag)
    assert list(at(tmp_path, path_of("zlib", "a")).entries) == [path_of("zlib", "a")]
    assert sorted(at(tmp_path, "_cache/b/").entries) == [path_of("hdf5", "b"), path_of("zlib", "b")]
    assert at(tmp_path, "_cache/a/", "_cache/b/") == at(tmp_path, "") == scan(source(tmp_path))
    assert at(tmp_path, "_cache/a/zlib/", path_of("zlib", "a")).entries.keys() == {path_of("zlib", "a")}


@pytest.mark.parametrize("path", ["_cache/b/", path_of("zlib", "b"), path_of("gone", "a"), "_cache/a/zlib/specs.md/"])
def test_a_path_that_is_missing_is_gone(tmp_path: Path, path: str) -> None:
    put(tmp_path, page(entry()), "zlib", "a")
    found = at(tmp_path, path)
    assert found == Scan({}, {}, [], [])
    assert found.covers(path_of("zlib", "b"))


@pytest.mark.parametrize("path", ["_cache/link/", path_of("zlib", "link"), "_cache/link/zlib/"])
def test_a_path_through_a_linked_folder_is_not_followed(tmp_path: Path, path: str) -> None:
    put(tmp_path, page(entry()), "zlib", "a")
    (tmp_path / "_cache/link").symlink_to("a")
    found = at(tmp_path, path)
    assert found._replace(warnings=[]) == Scan({}, {}, [], [])
    assert [warning.path for warning in found.warnings] == ["_cache/link"]


@pytest.mark.parametrize("path", ["index.md", "_cache/a/zlib/spec-1.json", "elsewhere/", "_cache/index.md"])
def test_a_path_that_is_not_a_page_is_ignored(tmp_path: Path, path: str) -> None:
    put(tmp_path, page(entry()), "zlib", "a")
    (tmp_path / path).mkdir(parents=True) if path.endswith("/") else (tmp_path / path).write_text("x")
    assert at(tmp_path, path) == Scan({}, {}, [], [])


def test_a_page_that_became_a_folder_is_scanned_as_both(tmp_path: Path) -> None:
    (tmp_path / path_of("zlib", "a")).mkdir(parents=True)
    found = at(tmp_path, path_of("zlib", "a"), f"{path_of('zlib', 'a')}/")
    assert found.entries[path_of("zlib", "a")].fault == "a folder: expected a regular file"


def test_an_unreadable_path_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, page(entry()), "zlib", "a")
    real = os.scandir

    def failing(path: str) -> object:
        if path.endswith("_cache/a/"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", failing)
    for path in ("_cache/a/", path_of("zlib", "a")):
        found = at(tmp_path, path)
        assert not found.covers(path_of("zlib", "a"))
        assert [problem.message.split(":")[0] for problem in found.problems] == ["cannot be read"]


@pytest.mark.parametrize(("listed", "answers"), [("zlib", "ZLIB"), ("cafe\u0301", "caf\u00e9")])
def test_only_names_that_are_listed_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str, answers: str
) -> None:
    put(tmp_path, page(entry()), listed)
    with folding(monkeypatch, tmp_path / "_cache/develop", answers, listed):
        assert os.lstat(tmp_path / path_of(answers))
        assert at(tmp_path, path_of(answers), f"_cache/develop/{answers}/") == Scan({}, {}, [], [])
        assert list(at(tmp_path, path_of(listed), path_of(answers)).entries) == [path_of(listed)]


def test_paths_below_another_root_are_not_scanned(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root, page(entry()))
    before = root_of(source(root))
    root.rename(tmp_path / "away")
    root.mkdir()
    with pytest.raises(RefusedError, match="was replaced"):
        scan_at(source(root), [path_of()], before)

"""What a scan finds on real disks."""

import os
import socket
from pathlib import Path

import pytest

from cachesync.errors import UsageError
from cachesync.sync.scan import Pattern, scan
from tests.support.pages import entry, page, path_of, put

PATTERN = Pattern(("_cache/**/specs.md",))


def faults(root: Path) -> dict[str, str | None]:
    return {path: entry.fault for path, entry in scan(root, PATTERN).entries.items()}


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
def test_patterns_choose(tmp_path: Path, include: tuple[str, ...], exclude: tuple[str, ...], found: list[str]) -> None:
    for tag, package in (("a", "x"), ("a", "y"), ("b", "x")):
        put(tmp_path, page(entry()), package, tag)
    entries = scan(tmp_path, Pattern(include, exclude)).entries
    assert sorted(entries) == [f"_cache/{each}/specs.md" for each in found]


def test_the_root_may_be_a_link_but_folders_below_may_not(tmp_path: Path) -> None:
    put(tmp_path / "real", page(entry()))
    (tmp_path / "root").symlink_to("real")
    (tmp_path / "real/_cache/linked").symlink_to("develop")
    assert faults(tmp_path / "root") == {path_of(): None}


def test_what_is_no_regular_file_is_found_with_its_fault(tmp_path: Path) -> None:
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


def test_two_pages_of_the_same_ids_are_one_page_and_a_fault(tmp_path: Path) -> None:
    first = tmp_path / "_cache/develop/zlib/specs.md"
    second = tmp_path / "develop/zlib/specs.md"
    for file in (first, second):
        file.parent.mkdir(parents=True)
        file.write_bytes(page(entry()))
    entries = scan(tmp_path, Pattern(("specs.md",))).entries
    assert entries["_cache/develop/zlib/specs.md"].fault is None
    assert "ids of those of _cache/develop/zlib/specs.md" in str(entries["develop/zlib/specs.md"].fault)


def test_names_that_cannot_be_ids_are_problems(tmp_path: Path) -> None:
    put(tmp_path, page(entry()))
    latin = os.fsencode(tmp_path) + b"/_cache/develop/caf\xe9"
    os.mkdir(latin)
    Path(os.fsdecode(latin + b"/specs.md")).write_bytes(page(entry()))
    long = tmp_path.joinpath("_cache", *["x" * 200] * 3)
    long.mkdir(parents=True)
    (long / "specs.md").write_bytes(page(entry()))
    found = scan(tmp_path, PATTERN)
    assert list(found.entries) == [path_of()]
    assert sorted(problem.message.split(":")[0] for problem in found.problems) == [
        "the path is longer than 512 bytes",
        "the path is not UTF-8",
    ]


def test_a_folder_that_cannot_be_listed_is_a_problem_and_covers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, page(entry()), "zlib", "a")
    put(tmp_path, page(entry()), "zlib", "b")
    real = os.scandir

    def failing(path: str) -> object:
        if path.endswith("_cache/b/"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", failing)
    found = scan(tmp_path, PATTERN)
    assert list(found.entries) == [path_of("zlib", "a")]
    assert [str(problem) for problem in found.problems] == [
        "_cache/b/: cannot be listed: Permission denied; its pages are left as they are"
    ]
    assert not found.covers(path_of("zlib", "b"))
    assert found.covers(path_of("gone", "a"))


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_root_that_is_no_folder_is_an_error(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    if kind == "file":
        root.write_text("x")
    with pytest.raises(UsageError, match=r"pages\.root"):
        scan(root, PATTERN)


def test_a_root_that_is_replaced_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        scan(root, PATTERN)

"""What goes wrong on disk: a tree of pages, and whoever edits it without any care."""

import contextlib
import os
import random
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from examples.pages import page, shape_of, spec
from tests.hostile import judge
from tests.hostile.judge import Documents

TAGS: Final = ("develop", "develop-2025-07-13", "develop-2024-02-18", "v0.18.1")
PACKAGES: Final = ("zlib", "hdf5", "py-pip", "openmpi")
HASHES: Final = "abcdef"
BREAKS: Final = (
    b"",
    b"---\nhalf",
    b"\xff\xfe",
    b"---\ntitle: x\ncategories: [package, y]\nspec_details: [[[\n---",
    b'---\ntitle: "zlib"\nlayout: cache\ncategories: [package, x]\nmeta: {}\nspec_details: [{"hash": "a"}]\n---',
)

_LONGER_THAN_A_GLANCE: Final = 0.5
"""Seconds after which a service has looked at what was changed: its debounce is 0.3."""

Specs = Mapping[str, int]
"""The letter of each spec's hash, and which of several specs it is."""


def content(tag: str, package: str, specs: Specs) -> bytes:
    """Return a page, in the shape that pages of its tag have."""
    entries = []
    for letter, number in specs.items():
        entry = spec(random.Random(f"{letter}{number}"), shape_of(tag))
        entries.append(entry | {"hash": letter * 32})
    return page(package, tag, entries, shape_of(tag))


class Tree:
    """Pages below ``root``, and what each of them may have told whoever looked at it since the last quiet point."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.locked: list[Path] = []
        self.possible: dict[str, list[Documents]] = {}
        """The documents that each page has had, by its path. A page that can't be used now keeps those of then."""
        self._aside = root.parent / "aside"
        self._number = 0

    def file(self, tag: str, package: str) -> Path:
        return self.root / "_cache" / tag / package / "specs.md"

    def save(self, tag: str, package: str, specs: Specs) -> None:
        """Save a page as rsync does: a new file, renamed over the old one."""
        self._put(self._cleared(tag, package), content(tag, package, specs))
        self.note()

    def write(self, tag: str, package: str, specs: Specs) -> None:
        """Save a page as a careless script does: in place and in two parts, so late that the first one is looked at."""
        file = self._cleared(tag, package)
        data = content(tag, package, specs)
        with file.open("wb") as opened:
            opened.write(data[: len(data) // 2])
            opened.flush()
            time.sleep(_LONGER_THAN_A_GLANCE)
            opened.write(data[len(data) // 2 :])
        self.note()

    def change_unseen(self, tag: str, package: str) -> bool:
        """Change a page so that size, inode and time of modification stay as they are; tell whether that could be."""
        file = self.file(tag, package)
        if not file.is_file():
            return False
        status, before = file.stat(), file.read_bytes()
        after = _swapped(before)
        with file.open("r+b") as opened:
            opened.write(after)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        self.note()
        return after != before

    def cut(self, tag: str, package: str) -> bool:
        """Truncate a page, if it is there."""
        file = self.file(tag, package)
        if not file.is_file():
            return False
        os.truncate(file, file.stat().st_size // 2)
        self.note()
        return True

    def spoil(self, tag: str, package: str, data: bytes) -> None:
        """Save what no page can be."""
        self._put(self._cleared(tag, package), data)
        self.note()

    def make_a_folder(self, tag: str, package: str) -> None:
        """Put a folder in a page's place."""
        file = self._cleared(tag, package)
        file.unlink(missing_ok=True)
        file.mkdir()
        self.note()

    def remove(self, tag: str, package: str) -> None:
        """Delete a page with its folder."""
        shutil.rmtree(self.file(tag, package).parent, ignore_errors=True)
        self.note()

    def remove_tag(self, tag: str) -> None:
        """Delete a tag while it may be scanned."""
        shutil.rmtree(self.root / "_cache" / tag, ignore_errors=True)
        self.note()

    def rename(self, tag: str, package: str, other: str) -> bool:
        """Move a page's folder into another's place, if it is there."""
        here, there = self.file(tag, package).parent, self.file(tag, other).parent
        if not here.is_dir() or here == there:
            return False
        shutil.rmtree(there, ignore_errors=True)
        here.rename(there)
        self.note()
        return True

    def swap_tags(self, tag: str, other: str) -> bool:
        """Exchange two tags, or give one the other's name."""
        here, there = self.root / "_cache" / tag, self.root / "_cache" / other
        if tag == other or not here.is_dir():
            return False
        here.rename(self._aside)
        if there.is_dir():
            there.rename(here)
        self._aside.rename(there)
        self.note()
        return True

    def link(self, tag: str) -> bool:
        """Move a tag to another disk and link it back, if it is a folder."""
        folder = self.root / "_cache" / tag
        if not folder.is_dir() or folder.is_symlink():
            return False
        elsewhere = self._linked(tag)
        folder.rename(elsewhere)
        folder.symlink_to(elsewhere)
        self.note()
        return True

    def unlink(self, tag: str) -> bool:
        """Put the folder itself back into the place of a link to it."""
        folder = self.root / "_cache" / tag
        if not folder.is_symlink():
            return False
        target = folder.readlink()
        folder.unlink()
        target.rename(folder)
        self.note()
        return True

    def stage(self, tag: str, package: str, name: str, specs: Specs) -> None:
        """Put a page where a tool keeps its own, below a tag: what rsync has not finished, what a file server saves."""
        folder = self.root / "_cache" / tag / name / package
        folder.mkdir(parents=True, exist_ok=True)
        self._put(folder / "specs.md", content(tag, package, specs))
        self.note()

    def flood(self, number: int) -> None:
        """Rewrite everything at once, and put back what was linked."""
        for tag in TAGS:
            self.unlink(tag)
        for tag in TAGS:
            for package in PACKAGES:
                specs = dict.fromkeys(HASHES[: 1 + (number + len(package)) % len(HASHES)], number)
                self._put(self._cleared(tag, package), content(tag, package, specs))
        self.note()

    def vanish(self) -> None:
        """Take the root away and bring it back, so late that it is missed."""
        self.root.rename(self._aside)
        time.sleep(_LONGER_THAN_A_GLANCE)
        self._aside.rename(self.root)

    def empty(self) -> None:
        """Remove all pages one by one."""
        for tag in (self.root / "_cache").iterdir():
            if tag.is_symlink():
                tag.unlink()
            shutil.rmtree(tag, ignore_errors=True)
        self.note()

    def unmount(self) -> None:
        """Let all pages go at once, as where the file system that they are on isn't mounted."""
        (self.root / "_cache").rename(self._aside)
        (self.root / "_cache").mkdir()
        self.note()

    def mount(self, comes_back: bool) -> None:
        """Let them be back, or let them be lost for good."""
        if comes_back:
            (self.root / "_cache").rmdir()
            self._aside.rename(self.root / "_cache")
            self.note()
        else:
            shutil.rmtree(self._aside)

    def lock(self, tag: str) -> bool:
        """Take away the right to read a tag, if it is there."""
        folder = self.root / "_cache" / tag
        if not folder.is_dir() or folder.is_symlink():
            return False
        folder.chmod(0)
        self.locked.append(folder)
        return True

    def unlock(self) -> None:
        """Give all rights back."""
        for folder in self.locked:
            with contextlib.suppress(FileNotFoundError):  # it was renamed or removed
                folder.chmod(0o755)
        for folder in self.root.glob("_cache/*"):
            if not folder.is_symlink():
                folder.chmod(0o755)
        self.locked.clear()

    def is_locked(self, path: str) -> bool:
        """Tell whether a page is in a folder that can't be read."""
        try:
            return (self.root / path).parents[1].stat().st_mode & 0o777 == 0
        except FileNotFoundError:
            return False

    def note(self) -> None:
        """Note what the pages say now."""
        found = judge.pages(self.root)
        for path in self.possible.keys() - found.keys():
            self._possible(path, {})
        for path, documents in found.items():
            if documents is not None:
                self._possible(path, documents)

    def settle(self, documents: Documents) -> None:
        """Begin anew, from a quiet point at which an index holds these documents."""
        self.possible.clear()
        for path in judge.pages(self.root):
            self.possible[path] = [{id: each for id, each in documents.items() if each["page"] == path}]

    def _possible(self, path: str, documents: Documents) -> None:
        known = self.possible.setdefault(path, [{}])
        if documents not in known:
            known.append(documents)

    def _linked(self, tag: str) -> Path:
        """Return a place outside of the root that nothing is at."""
        self._number += 1
        return self.root.parent / f"linked-{tag}-{self._number}"

    def _cleared(self, tag: str, package: str) -> Path:
        """Make room where a folder or a link may be."""
        file = self.file(tag, package)
        if (folder := self.root / "_cache" / tag).is_symlink() and not folder.exists():
            folder.unlink()
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _put(self, file: Path, data: bytes) -> None:
        self._number += 1
        fresh = file.with_name(f".fresh-{self._number}")
        fresh.write_bytes(data)
        with contextlib.suppress(FileNotFoundError):
            fresh.replace(file)


_TARGETS = ((b"x86_64", b"x86_46"), (b"aarch64", b"aarch46"), (b"neoverse", b"neovrese"), (b"zen", b"nez"))


def _swapped(page: bytes) -> bytes:
    """Give targets names of the same length that there aren't, or give them back."""
    for real, made_up in _TARGETS:
        if real in page:
            return page.replace(real, made_up)
        if made_up in page:
            return page.replace(made_up, real)
    return page

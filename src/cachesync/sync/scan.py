"""What is on disk: every page below the root, by its signature. Nothing is read here."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pathspec

from cachesync.documents import MAX_ID_BYTES
from cachesync.errors import RefusedError, UsageError
from cachesync.ledger import Signature
from cachesync.pages.page import Problem, identity


class Pattern:
    """Which paths are pages: ``include`` without ``exclude``, in the language of ``.gitignore``."""

    def __init__(self, include: tuple[str, ...], exclude: tuple[str, ...] = ()) -> None:
        self._include = pathspec.GitIgnoreSpec.from_lines(include).match_file
        self._exclude = pathspec.GitIgnoreSpec.from_lines(exclude).match_file if exclude else None
        self._starts = tuple(_fixed_start(pattern) for pattern in include)

    def matches(self, path: str) -> bool:
        """Tell whether a file is a page by its path below the root."""
        return self._include(path) and not (self._exclude and self._exclude(path))

    def may_lead_to_pages(self, folder: str) -> bool:
        """Tell whether pages can be below ``folder``, a path that ends in ``/``: nothing else need be listed."""
        return any(folder.startswith(start) or start.startswith(folder) for start in self._starts)


def _fixed_start(pattern: str) -> str:
    """Return the folders that a pattern is fixed to: ``_cache/`` for ``_cache/**/specs.md``, none for ``specs.md``."""
    if "/" not in pattern.rstrip("/"):
        return ""
    folders = pattern.lstrip("/").split("/")[:-1]
    wild = next((position for position, name in enumerate(folders) if set(name) & set("*?[\\")), len(folders))
    return "".join(f"{name}/" for name in folders[:wild])


class Entry(NamedTuple):
    """A page as the scan found it."""

    path: str
    signature: Signature
    fault: str | None = None
    """Why it can't even be read: a folder, a device, a symbolic link that leaves the root."""


class Scan(NamedTuple):
    """All pages below a root."""

    entries: dict[str, Entry]
    unread: list[str]
    """Paths that couldn't be looked at, folders with a ``/`` behind: nothing is known of what is there."""
    problems: list[Problem]
    """What can't be in the ledger: unread folders, names that aren't UTF-8 or are too long."""

    def covers(self, path: str) -> bool:
        """Tell whether a page that wasn't found is really gone."""
        return not any(
            path == unread or (unread[-1:] in ("", "/") and path.startswith(unread)) for unread in self.unread
        )


def scan(root: Path, pattern: Pattern) -> Scan:
    """List the pages below ``root``. The root itself may be a symbolic link; folders that are links aren't followed.

    Raises:
        UsageError: there is no such folder, or it can't be listed.
        RefusedError: it became another folder meanwhile, so what was found may be half of each.
    """
    try:
        before = os.stat(root)
        if not stat.S_ISDIR(before.st_mode):
            raise UsageError(f"pages.root: {root} is not a folder")
        os.listdir(root)
    except OSError as error:
        raise UsageError(f"pages.root: cannot list {root}: {error.strerror}") from None
    found = _Walk(root, pattern).run()
    _mark_clashes(found.entries)
    try:
        after = os.stat(root)
    except OSError:
        after = None
    if after is None or (before.st_dev, before.st_ino) != (after.st_dev, after.st_ino):
        raise RefusedError(f"pages.root: {root} was replaced while it was scanned; nothing was changed")
    return found


def _mark_clashes(entries: dict[str, Entry]) -> None:
    """Find pages whose documents would have the ids of another page's: ``a/specs.md`` beside ``_cache/a/specs.md``.

    Of the two, the first by path keeps its ids.
    """
    owners: dict[str, str] = {}
    for path in sorted(entries):
        owner = owners.setdefault(identity(path), path)
        if owner != path:
            fault = f"its documents would have the ids of those of {owner}: expected one of the two"
            entries[path] = Entry(path, entries[path].signature, fault)


def signature_of(status: os.stat_result) -> Signature:
    """Return what of a file's status is compared."""
    return Signature(stat.S_IFMT(status.st_mode), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class _Walk:
    def __init__(self, root: Path, pattern: Pattern) -> None:
        self._root = str(root)
        self._real_root = os.path.realpath(root)
        self._pattern = pattern
        self._found = Scan({}, [], [])

    def run(self) -> Scan:
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(f"{self._root}/{folder}") as entries:
                    folders += self._folder(folder, entries)
            except OSError as error:
                self._unread(folder, error)
        return self._found

    def _folder(self, folder: str, entries: Iterator[os.DirEntry[str]]) -> Iterator[str]:
        """Take the pages of one folder and yield the folders in it."""
        for entry in entries:
            path = folder + entry.name
            try:
                if entry.is_dir(follow_symlinks=False) and self._pattern.may_lead_to_pages(path + "/"):
                    yield path + "/"
                if self._pattern.matches(path):
                    self._page(path, entry)
            except OSError as error:
                self._unread(path, error)

    def _page(self, path: str, entry: os.DirEntry[str]) -> None:
        shown = path.encode("utf-8", "backslashreplace").decode()
        if shown != path:
            self._found.problems.append(Problem(shown, "the path is not UTF-8: expected a name that is text"))
        elif len(path.encode()) > MAX_ID_BYTES:
            self._found.problems.append(Problem(path, f"the path is longer than {MAX_ID_BYTES} bytes"))
        elif entry.is_symlink():
            self._link(path)
        else:
            status = entry.stat(follow_symlinks=False)
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")
            fault = f"{kind}: expected a regular file" if kind else None
            self._found.entries[path] = Entry(path, signature_of(status), fault)

    def _link(self, path: str) -> None:
        """A symbolic link to a file inside the root is a page like any other."""
        full = f"{self._root}/{path}"
        fault: str | None = "a symbolic link that leaves the root: expected a file below it"
        try:
            status = os.stat(full)
        except OSError as error:
            status = os.lstat(full)
            fault = f"a symbolic link that leads nowhere ({error.strerror}): expected a regular file"
        else:
            if os.path.realpath(full).startswith(self._real_root + os.sep):
                kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")
                fault = f"a symbolic link to {kind}: expected a regular file" if kind else None
        self._found.entries[path] = Entry(path, signature_of(status), fault)

    def _unread(self, path: str, error: OSError) -> None:
        """Remember that nothing is known of ``path``. That it is gone by now is no problem: the next scan sees it."""
        self._found.unread.append(path)
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            shown = path.encode("utf-8", "backslashreplace").decode()
            self._found.problems.append(
                Problem(shown, f"cannot be listed: {error.strerror}; its pages are left as they are")
            )


_KINDS: Final = {stat.S_IFREG: None, stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}

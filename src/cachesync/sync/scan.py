"""Scan the disk: list every page below the root with its signature, without reading any page."""

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from cachesync.context import current
from cachesync.documents import MAX_ID_BYTES
from cachesync.errors import RefusedError, UsageError
from cachesync.ledger import Signature
from cachesync.log import spelled
from cachesync.pages.page import Problem
from cachesync.pages.pattern import Pattern


def _file_system(root: Path) -> str:
    return f"the file system of pages.root {root}"


class Source(NamedTuple):
    """Where the pages are, and which files are pages."""

    root: Path
    pattern: Pattern
    max_bytes: int

    @property
    def file_system(self) -> str:
        """A description of the pages' file system for :meth:`cachesync.context.Context.awaiting`."""
        return _file_system(self.root)


class Entry(NamedTuple):
    """A page as found by the scan."""

    path: str
    signature: Signature
    fault: str | None = None
    """Why the page must not be read: it is a folder or a device, is too large, or is a link that leaves the root."""
    link: bool = False
    """Whether the page is a symbolic link to a file below the root."""


class PathWarning(msgspec.Struct, frozen=True):
    """Something below the root that doesn't make a page unreadable but is probably a mistake."""

    path: str
    """Relative to the root, without a trailing slash."""
    message: str

    def __str__(self) -> str:
        return f"{self.path}: warning: {self.message}"


def by_path(warnings: Iterable[PathWarning]) -> list[PathWarning]:
    """Return warnings in the order in which they are shown."""
    return sorted(warnings, key=lambda warning: warning.path)


class Scan(NamedTuple):
    """All pages below a root, or those at some paths."""

    entries: dict[str, Entry]
    unread: dict[str, bool]
    """Paths that couldn't be read, so that nothing is known about them; True: the path had been deleted by then."""
    problems: list[Problem]
    """Problems that can't be in the ledger: unread folders, and names that aren't UTF-8 or are too long."""
    warnings: list[PathWarning]
    """Warnings: symbolic links that aren't followed where folders of pages could be, or a root without any page."""

    def covers(self, path: str) -> bool:
        """Return whether a page that wasn't found is really gone: neither it nor a folder above it is unread."""
        return not (self.unread and any(place.removesuffix("/") in self.unread for place in places_of(path)))

    def knows(self, path: str) -> bool:
        """Return whether the state of a page is known: it was found, or it is really gone."""
        return path in self.entries or self.covers(path)


EVERYTHING: Final = ""
"""The path of the root itself, which stands for all pages."""

WHOLE_ROOT: Final = "."
"""The path shown in warnings and problems about the root itself."""

EXPECTED: Final = "expected files that pages.include matches, below no folder that pages.exclude or pages.ignore names"
"""The end of messages about a root without pages."""


def scan(source: Source) -> Scan:
    """List the pages below the root.

    The root may be a symbolic link; links to folders below it aren't followed. A root without pages causes a warning.

    Raises:
        UsageError: there is no such folder, or it can't be listed.
        RefusedError: the root was replaced during the scan, so the result may mix both folders.
    """
    found = scan_at(source, [EVERYTHING], root_of(source))
    if not (found.entries or found.unread or found.problems or found.warnings):
        found.warnings.append(PathWarning(WHOLE_ROOT, f"no page in {spelled(str(source.root))}; {EXPECTED}"))
    return found


def scan_at(source: Source, paths: Collection[str], root: "Root") -> Scan:
    """List the pages at some paths. A path ending in ``/`` is a folder and everything below it; any other is a page.

    A page that isn't found is gone if :meth:`Scan.covers` it. Folders are listed from the root down, and paths aren't
    opened directly, because a path can also lead to a file through a linked folder or through another spelling of its
    name.

    Raises:
        UsageError: the root can't be listed.
        RefusedError: the root isn't the folder that ``root`` identifies.
    """
    with current().awaiting(source.file_system):
        require_same(source, root)
        walk = _Walk(source, paths)
        walk.run()
        require_same(source, root)
    return walk.found


def is_at(path: str, paths: AbstractSet[str]) -> bool:
    """Return whether a page or folder is at or below one of ``paths``, which are as for :func:`scan_at`.

    ``path`` has no trailing slash.
    """
    return f"{path}/" in paths or any(place in paths for place in places_of(path))


def places_of(page: str) -> Iterator[str]:
    """Yield a page's own path and the paths of all folders that contain the page."""
    yield page
    yield EVERYTHING
    for match in re.finditer("/", page):
        yield page[: match.end()]


class Root(NamedTuple):
    """The identity of a root. Another folder at the same path has a different identity."""

    device: int
    inode: int


def root_of(source: Source) -> Root:
    """Return the identity of the root.

    Raises:
        UsageError: there is no such folder, or it can't be listed.
    """
    status = require_root(source.root)
    return Root(status.st_dev, status.st_ino)


def require_same(source: Source, root: Root) -> None:
    """Check that the root is still the same folder.

    Raises:
        UsageError: the root can't be listed.
        RefusedError: the root is another folder.
    """
    if root_of(source) != root:
        raise RefusedError(f"pages.root: {source.root} was replaced while it was scanned; nothing was changed")


def require_root(root: Path) -> os.stat_result:
    """Return the root's status after checking that the root can be listed.

    Raises:
        UsageError: there is no such folder, or it can't be listed.
    """
    try:
        with current().awaiting(_file_system(root)):
            os.listdir(root)
            return os.stat(root)
    except OSError as error:
        raise UsageError(
            f"pages.root: cannot list {root}: {error.strerror}\n"
            "Say where the pages are: pages.root in the configuration (-c FILE), or CACHESYNC_PAGES__ROOT"
        ) from None


def misnamed(path: str) -> Problem | None:
    """Return why a page with this path can't be indexed, or None if it can."""
    shown = spelled(path)
    if shown != path:
        return Problem(shown, "the path is not UTF-8: expected a name that is text")
    if len(path.encode()) > MAX_ID_BYTES:
        return Problem(path, f"the path is longer than {MAX_ID_BYTES} bytes")
    return None


def page_at(source: Source, path: str) -> Entry:
    """Return the entry of one page.

    Raises:
        OSError: there is no such page, or its status can't be read.
    """
    full = f"{source.root}/{path}"
    status = os.lstat(full)
    if stat.S_ISLNK(status.st_mode):
        return _page_at_link(source, path, full, status)
    return Entry(path, signature_of(status), _fault(status, source.max_bytes))


def _page_at_link(source: Source, path: str, full: str, link: os.stat_result) -> Entry:
    """Return the entry of a symbolic link; a link to a file inside the root is a page like any other."""
    try:
        status = os.stat(full)
    except OSError as error:
        nowhere = f"a symbolic link that leads nowhere ({error.strerror}): expected a regular file"
        return Entry(path, signature_of(link), nowhere)
    if not os.path.realpath(full).startswith(os.path.realpath(source.root) + os.sep):
        return Entry(path, signature_of(link), "a symbolic link that leaves the root: expected a file below it")
    if fault := _fault(status, source.max_bytes):
        return Entry(path, signature_of(link), f"a symbolic link to {fault}")
    return Entry(path, signature_of(status), link=True)


def _fault(status: os.stat_result, max_bytes: int) -> str | None:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a device")
    if kind:
        return f"{kind}: expected a regular file"
    if status.st_size > max_bytes:
        return f"{status.st_size:,} bytes: expected at most {max_bytes:,} (pages.max_bytes)"
    return None


_KINDS: Final = {stat.S_IFREG: None, stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def _why_not_followed(link: str) -> str | None:
    """Return the warning for a link at a folder's path, or None if it leads to a file, so that no pages are missed."""
    try:
        status = os.stat(link)
    except OSError as error:
        return f"a symbolic link that leads nowhere ({error.strerror}): expected a folder"
    if not stat.S_ISDIR(status.st_mode):
        return None
    return (
        "a symbolic link to a folder, which is not followed, so no page below it is read: expected the folder itself "
        "(move or bind-mount it here), or an entry in pages.exclude"
    )


def signature_of(status: os.stat_result) -> Signature:
    """Return the parts of a file's status that are compared."""
    return Signature(stat.S_IFMT(status.st_mode), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class _Walk:
    """Lists folders from the root down, but only those that may lead to wanted pages."""

    def __init__(self, source: Source, paths: Collection[str]) -> None:
        self.found = Scan({}, {}, [], [])
        self._source = source
        self._root = str(source.root)
        self._pattern = source.pattern
        self._check = current().check
        self._wanted = set(paths)
        self._leading = {place for path in paths for place in places_of(path)}

    def run(self) -> None:
        """Find the wanted pages."""
        waiting = [(EVERYTHING, EVERYTHING in self._wanted)]
        while waiting:
            self._check()
            folder, whole = waiting.pop()
            try:
                with os.scandir(f"{self._root}/{folder}") as entries:
                    waiting += self._folder(folder, entries, whole)
            except OSError as error:
                self._unread(folder.rstrip("/"), error)

    def _folder(self, folder: str, entries: Iterator[os.DirEntry[str]], whole: bool) -> Iterator[tuple[str, bool]]:
        """Add the wanted pages of one folder. Yield its subfolders, each with whether everything below it is wanted."""
        for entry in entries:
            self._check()
            path = folder + entry.name
            below = path + "/"
            try:
                if (whole or below in self._leading) and self._is_folder(entry, below):
                    yield below, whole or below in self._wanted
                if (whole or path in self._wanted) and self._pattern.matches(path):
                    self._page(path)
            except OSError as error:
                self._unread(path, error)

    def _is_folder(self, entry: os.DirEntry[str], path: str) -> bool:
        """Return whether an entry is a folder that may lead to pages; add a warning for a link at a folder's path."""
        if entry.is_dir(follow_symlinks=False):
            return self._pattern.may_lead_to_pages(path)
        if entry.is_symlink() and self._pattern.may_lead_to_pages(path):
            self._link(path[:-1])
        return False

    def _link(self, path: str) -> None:
        message = None if self._pattern.matches(path) else _why_not_followed(f"{self._root}/{path}")
        if message:
            self.found.warnings.append(PathWarning(spelled(path), message))

    def _page(self, path: str) -> None:
        if problem := misnamed(path):
            self.found.problems.append(problem)
        else:
            self.found.entries[path] = page_at(self._source, path)

    def _unread(self, path: str, error: OSError) -> None:
        """Record that ``path`` couldn't be read. A deleted path isn't a problem: the next scan notices the deletion."""
        gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        self.found.unread[path] = gone
        if not gone:
            message = f"cannot be read: {error.strerror}; the index keeps what it has of it"
            self.found.problems.append(Problem(spelled(path) or WHOLE_ROOT, message))

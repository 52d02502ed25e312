"""What is on disk: every page below the root, by its signature. Nothing is read here."""

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
    """Where pages come from."""

    root: Path
    pattern: Pattern
    max_bytes: int

    @property
    def file_system(self) -> str:
        """What has to answer whenever pages are looked at, in words for a person."""
        return _file_system(self.root)


class Entry(NamedTuple):
    """A page as the scan found it."""

    path: str
    signature: Signature
    fault: str | None = None
    """Why it can't even be read: a folder, a device, too large, a symbolic link that leaves the root."""
    link: bool = False
    """It is a symbolic link to a file below the root."""


class PathWarning(msgspec.Struct, frozen=True):
    """Something below the root that keeps no document and no page from being read, but may not be as it was meant."""

    path: str
    """Relative to the root, without a slash at its end."""
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
    """Paths of which nothing is known, since they couldn't be looked at; True: they were gone by then."""
    problems: list[Problem]
    """What can't be in the ledger: unread folders, names that aren't UTF-8 or are too long."""
    warnings: list[PathWarning]
    """Symbolic links where folders of pages could be: they aren't followed. Else, that a root has no page at all."""

    def covers(self, path: str) -> bool:
        """Tell whether a page that wasn't found is really gone: no folder above it is unread."""
        if not self.unread:
            return True
        ends = [match.start() for match in re.finditer("/", path)]
        return not any(above in self.unread for above in ("", path, *(path[:end] for end in ends)))

    def knows(self, path: str) -> bool:
        """Tell whether it is known how a page is: it was found, or is really gone."""
        return path in self.entries or self.covers(path)


EVERYTHING: Final = ""
"""The path of the root's own folder: all pages are below it."""

WHOLE_ROOT: Final = "."
"""The path of a warning or a problem that the root itself has."""

EXPECTED: Final = "expected files that pages.include matches, below no folder that pages.exclude or pages.ignore names"
"""What is to be found where there is no page."""


def scan(source: Source) -> Scan:
    """List the pages below the root.

    The root itself may be a symbolic link; folders that are links aren't followed. A root without a page is warned of.

    Raises:
        UsageError: there is no such folder, or it can't be listed.
        RefusedError: it became another folder meanwhile, so what was found may be half of each.
    """
    found = scan_at(source, [EVERYTHING], root_of(source))
    if not (found.entries or found.unread or found.problems or found.warnings):
        found.warnings.append(PathWarning(WHOLE_ROOT, f"no page in {spelled(str(source.root))}; {EXPECTED}"))
    return found


def scan_at(source: Source, paths: Collection[str], root: "Root") -> Scan:
    """List the pages at some paths. One that ends in ``/`` is a folder, with all that is below it; others are pages.

    What isn't there is gone: :meth:`Scan.covers` says so. Only what the folders above list is there: a file may also
    answer to a path through a link to a folder, or to another spelling of its name.

    Raises:
        UsageError: the root can't be listed.
        RefusedError: it isn't the folder any more that ``root`` says.
    """
    with current().awaiting(source.file_system):
        require_same(source, root)
        walk = _Walk(source, paths)
        walk.run()
        require_same(source, root)
    return walk.found


def is_at(path: str, paths: AbstractSet[str]) -> bool:
    """Tell whether a page, or a folder, is at one of these paths, which are as those of :func:`scan_at`.

    ``path`` has no slash at its end.
    """
    return f"{path}/" in paths or any(place in paths for place in places_of(path))


def places_of(page: str) -> Iterator[str]:
    """Yield the paths that a page is at: its own, and those of the folders that it is in."""
    yield page
    yield EVERYTHING
    for match in re.finditer("/", page):
        yield page[: match.end()]


class Root(NamedTuple):
    """Which folder a root is; another one that takes its place isn't the same."""

    device: int
    inode: int


def root_of(source: Source) -> Root:
    """Tell which folder the root is now.

    Raises:
        UsageError: there is no such folder, or it can't be listed.
    """
    status = require_root(source.root)
    return Root(status.st_dev, status.st_ino)


def require_same(source: Source, root: Root) -> None:
    """Make sure that the root is still that folder.

    Raises:
        UsageError: it can't be listed.
        RefusedError: it is another one.
    """
    if root_of(source) != root:
        raise RefusedError(f"pages.root: {source.root} was replaced while it was looked at; nothing was changed")


def require_root(root: Path) -> os.stat_result:
    """Return the root's status.

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
    """Say why no index can have a page of this path; None: it can."""
    shown = spelled(path)
    if shown != path:
        return Problem(shown, "the path is not UTF-8: expected a name that is text")
    if len(path.encode()) > MAX_ID_BYTES:
        return Problem(path, f"the path is longer than {MAX_ID_BYTES} bytes")
    return None


def entry_at(source: Source, path: str) -> Entry:
    """Look at one page.

    Raises:
        OSError: there is none, or it can't be looked at.
    """
    full = f"{source.root}/{path}"
    status = os.lstat(full)
    if stat.S_ISLNK(status.st_mode):
        return _entry_at_link(source, path, full, status)
    return Entry(path, signature_of(status), _fault(status, source.max_bytes))


def _entry_at_link(source: Source, path: str, full: str, link: os.stat_result) -> Entry:
    """A symbolic link to a file inside the root is a page like any other."""
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
    """Say what a link in the place of a folder leads to; None: to a file, where there would be no pages anyway."""
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
    """Return what of a file's status is compared."""
    return Signature(stat.S_IFMT(status.st_mode), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class _Walk:
    """Lists folders from the root down, as far as there may be pages in them that are wanted."""

    def __init__(self, source: Source, paths: Collection[str]) -> None:
        self.found = Scan({}, {}, [], [])
        self._source = source
        self._root = str(source.root)
        self._pattern = source.pattern
        self._check = current().check
        self._wanted = set(paths)
        self._leading = {place for path in paths for place in places_of(path)}

    def run(self) -> None:
        """Find what is wanted."""
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
        """Take the pages of one folder, and yield the folders in it, each with whether all that is in it is wanted."""
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
        """Tell whether there is a folder in which pages can be; warn of a link in the place of one."""
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
            self.found.entries[path] = entry_at(self._source, path)

    def _unread(self, path: str, error: OSError) -> None:
        """Remember that nothing is known of ``path``. That it is gone by now is no problem: the next scan sees it."""
        gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        self.found.unread[path] = gone
        if not gone:
            message = f"cannot be looked at: {error.strerror}; what the index has of it stays as it is"
            self.found.problems.append(Problem(spelled(path) or WHOLE_ROOT, message))

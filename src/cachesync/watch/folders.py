"""The watched folders: all folders that may lead to pages."""

import errno
import os
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from cachesync.sync.scan import Source, places_of
from cachesync.watch import inotify
from cachesync.watch.inotify import Inotify
from cachesync.watch.limits import CannotWatchError, too_few_watches

_MASK: Final = (
    inotify.CREATE
    | inotify.DELETE
    | inotify.MOVED_FROM
    | inotify.MOVED_TO
    | inotify.CLOSE_WRITE
    | inotify.MODIFY
    | inotify.ATTRIB
    | inotify.DELETE_SELF
    | inotify.MOVE_SELF
    | inotify.ONLYDIR
    | inotify.EXCL_UNLINK
)
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_EXHAUSTED: Final = frozenset({errno.ENOSPC, errno.ENOMEM})
_YIELD_EVERY: Final = 500


class Folder:
    """A watched folder. Its path is empty for the root and ends in ``/`` for any other."""

    __slots__ = ("below", "path", "watch")

    def __init__(self, path: str, watch: int) -> None:
        self.path = path
        self.watch = watch
        self.below: dict[str, Folder] | None = None  # dicts for 100,000 leaf folders would take too much memory


class PathSet:
    """A set of folders, with fast access to the folders at and below a path."""

    def __init__(self) -> None:
        self._at: dict[str, set[str]] = {}
        """For each path, the folders at or below it; paths without folders are left out."""

    def add(self, folder: str) -> None:
        """Add a folder."""
        for place in places_of(folder):
            self._at.setdefault(place, set()).add(folder)

    def at(self, path: str) -> AbstractSet[str]:
        """Return the folders at ``path`` and below it."""
        return self._at.get(path, frozenset())

    def remove_at(self, path: str) -> None:
        """Remove the folders at ``path`` and below it."""
        for folder in [*self.at(path)]:
            for place in {*places_of(folder)}:
                self._at[place].discard(folder)
                if not self._at[place]:
                    del self._at[place]


class Folders:
    """The tree of watched folders, which the reader of events keeps equal to the disk.

    The tree doesn't trust an event, but checks what is on disk at its path. Any later change causes another event.
    """

    def __init__(self, source: Source, inotify: Inotify, yield_to_events: Callable[[], None]) -> None:
        """Create an empty tree. ``yield_to_events`` is called at intervals while many folders are added."""
        self._source = source
        self._inotify = inotify
        self._yield_to_events = yield_to_events
        self._by_watch: dict[int, Folder] = {}
        self._top: Folder | None = None
        self.blocked = PathSet()
        """Folders that can't be watched because permission is denied."""
        self._links = PathSet()
        """Symbolic links at folders' paths, with a trailing slash: delete events don't show that a path was a link."""
        self.moved: set[str] = set()
        """The earlier paths of folders that were found elsewhere."""

    def __len__(self) -> int:
        return len(self._by_watch)

    def of(self, watch: int) -> Folder | None:
        """Return the folder of a watch, or None if the folder is no longer watched."""
        return self._by_watch.get(watch)

    def has(self, path: str) -> bool:
        """Return whether a folder, or a link, was at ``path`` when the disk was last checked."""
        return path in self._links.at(path) or self._at(path) is not None

    def refresh(self, path: str) -> None:
        """Watch the folder now at ``path``, if any, and all folders below it, instead of those that were there before.

        Raises:
            OSError: the root can't be watched.
            CannotWatchError: there are too few watches, or one folder is at two paths.
        """
        if before := self._at(path):
            self._forget(before)
        self.blocked.remove_at(path)
        self._links.remove_at(path)
        above = self._at(_above(path)) if path else None
        if above or not path:
            self._add(above, path)

    def _add(self, above: Folder | None, path: str) -> None:
        waiting = [(above, path)]
        while waiting:
            above, path = waiting.pop()
            if above and self.of(above.watch) is not above:
                continue  # the parent was found elsewhere in the meantime, and the event for its move is still to come
            if folder := self._watch(above, path):  # before the folder is listed, so that no new subfolder is missed
                waiting += [(folder, below) for below in self._listed(path)]
            if len(self) % _YIELD_EVERY == 0:
                self._yield_to_events()

    def _watch(self, above: Folder | None, path: str) -> Folder | None:
        try:
            watch = self._inotify.add(self._full(path), _MASK | (inotify.DONT_FOLLOW if path else 0))
            while known := self._by_watch.get(watch):
                self._found_elsewhere(known, path)
                watch = self._inotify.add(self._full(path), _MASK | (inotify.DONT_FOLLOW if path else 0))
        except OSError as error:
            if error.errno in _EXHAUSTED:
                raise too_few_watches(count(self._source)) from None
            if not path:
                raise
            if error.errno not in _GONE:
                self.blocked.add(path)
            elif is_link(self._source, path):
                self._links.add(path)
            return None
        folder = self._by_watch[watch] = Folder(path, watch)
        if above is None:
            self._top = folder
        else:
            above.below = above.below or {}
            above.below[path] = folder
        return folder

    def _found_elsewhere(self, known: Folder, path: str) -> None:
        """Forget a watch whose folder is now at ``path``; the event for that move is still to come."""
        old, new = self._full(known.path), self._full(path)
        if known.path != path and _same(old, new):
            if not _is_listed(new):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), new)
            if _is_listed(old):
                raise CannotWatchError(
                    f"{old} and {new} are one folder (a bind mount), which can only be watched at one place"
                )
        self.moved.add(known.path)
        self._forget(known)

    def _forget(self, folder: Folder) -> None:
        """Remove the watches of a folder and all folders below it, which would report changes under their old paths."""
        above = self._at(_above(folder.path)) if folder.path else None
        if above and above.below and above.below.get(folder.path) is folder:
            del above.below[folder.path]
        forgotten = [folder]
        while forgotten:
            folder = forgotten.pop()
            if self._by_watch.pop(folder.watch, None):
                self._inotify.remove(folder.watch)
            forgotten += (folder.below or {}).values()

    def _listed(self, path: str) -> Iterator[str]:
        try:
            yield from subfolders(self._source, path, links=True)
        except OSError as error:
            if error.errno not in _GONE:
                self.blocked.add(path)

    def _at(self, path: str) -> Folder | None:
        folder, end = self._top, path.find("/")
        while folder and end >= 0:
            folder = (folder.below or {}).get(path[: end + 1])
            end = path.find("/", end + 1)
        return folder

    def _full(self, path: str) -> str:
        # A trailing slash would follow a link, which is right only for the root.
        return f"{self._source.root}/{path[:-1]}"


def subfolders(source: Source, path: str, *, links: bool = False) -> list[str]:
    """Return the subfolders of a folder that may lead to pages, and with ``links`` also the symbolic links.

    Raises:
        OSError: the folder can't be listed.
    """
    with os.scandir(f"{source.root}/{path}") as entries:
        names = [
            f"{path}{entry.name}/"
            for entry in entries
            if entry.is_dir(follow_symlinks=False) or (links and entry.is_symlink())
        ]
    return [name for name in names if source.pattern.may_lead_to_pages(name)]


def is_link(source: Source, path: str) -> bool:
    """Return whether a symbolic link is at ``path``, which ends in a slash, where a folder of pages could be."""
    return source.pattern.may_lead_to_pages(path) and Path(source.root, path).is_symlink()


def count(source: Source) -> int:
    """Return how many folders there are to watch, including the root. Folders that can't be listed count as empty."""
    waiting, counted = [""], 0
    while waiting:
        counted += 1
        try:
            waiting += subfolders(source, waiting.pop())
        except OSError:
            continue
    return counted


def _above(path: str) -> str:
    return path[: path.rfind("/", 0, -1) + 1]


def _is_listed(path: str) -> bool:
    """Return whether the parent lists exactly this name: case-insensitive file systems also accept other spellings."""
    above, _, name = path.rpartition("/")
    with os.scandir(above) as entries:
        return any(entry.name == name for entry in entries)


def _same(left: str, right: str) -> bool:
    try:
        return os.path.samestat(os.lstat(left), os.lstat(right))
    except OSError:
        return False

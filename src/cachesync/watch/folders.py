"""The folders that are watched: all that may lead to pages."""

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
_BREATH: Final = 500


class Folder:
    """A watched folder. Its path is empty for the root, and ends in ``/`` for any other."""

    __slots__ = ("below", "path", "watch")

    def __init__(self, path: str, watch: int) -> None:
        self.path = path
        self.watch = watch
        self.below: dict[str, Folder] | None = None  # a dict for each of 100,000 folders with nothing below is too much


class PathSet:
    """Folders, of which those at a path and below it are found without looking at the others."""

    def __init__(self) -> None:
        self._at: dict[str, set[str]] = {}
        """By each folder that is one of them or that one of them is in."""

    def add(self, folder: str) -> None:
        """Add a folder."""
        for place in places_of(folder):
            self._at.setdefault(place, set()).add(folder)

    def at(self, path: str) -> AbstractSet[str]:
        """Return the folders that are at ``path`` or below it."""
        return self._at.get(path, frozenset())

    def remove_at(self, path: str) -> None:
        """Remove the folders that are at ``path`` or below it."""
        for folder in [*self.at(path)]:
            for place in {*places_of(folder)}:
                self._at[place].discard(folder)
                if not self._at[place]:
                    del self._at[place]


class Folders:
    """The watched folders as a tree, kept in step with the disk by whoever reads the events.

    It believes no event: what is at a path is asked of the disk, after which any change is another event.
    """

    def __init__(self, source: Source, inotify: Inotify, breathe: Callable[[], None]) -> None:
        """Begin with none. ``breathe`` is called now and then while many are added."""
        self._source = source
        self._inotify = inotify
        self._breathe = breathe
        self._by_watch: dict[int, Folder] = {}
        self._top: Folder | None = None
        self.blocked = PathSet()
        """Folders that can't be watched, since they may not be read."""
        self._links = PathSet()
        """Symbolic links in the place of folders, with a slash at the end: no event tells that what went was a link."""
        self.moved: set[str] = set()
        """Where folders were that have been found elsewhere."""

    def __len__(self) -> int:
        return len(self._by_watch)

    def of(self, watch: int) -> Folder | None:
        """Return the folder of a watch; None where it isn't watched any more."""
        return self._by_watch.get(watch)

    def has(self, path: str) -> bool:
        """Tell whether a folder, or a link in the place of one, was at ``path`` when the disk was last asked."""
        return path in self._links.at(path) or self._at(path) is not None

    def refresh(self, path: str) -> None:
        """Watch the folder that is at ``path`` now, if one is, and all below it; and none that was there before.

        Raises:
            OSError: the root can't be watched.
            CannotWatchError: there are too few watches, or one folder is at two places.
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
                continue  # found elsewhere meanwhile, of which an event is still to come
            if folder := self._watch(above, path):  # first watched, then listed: what comes in between is in both
                waiting += [(folder, below) for below in self._listed(path)]
            if len(self) % _BREATH == 0:
                self._breathe()

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
        """Forget a watch whose folder is at ``path`` now: the event that says so is still to come."""
        old, new = self._full(known.path), self._full(path)
        if known.path != path and _same(old, new):
            _require_listed(new)
            if _is_listed(old):
                raise CannotWatchError(
                    f"{old} and {new} are one folder (a bind mount), which can only be watched at one place"
                )
        self.moved.add(known.path)
        self._forget(known)

    def _forget(self, folder: Folder) -> None:
        """End the watches of a folder and of all below it: they would go on to tell of it by its old path."""
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
        # With a slash at its end a link would be followed: the root's is to be, no other.
        return f"{self._source.root}/{path[:-1]}"


def subfolders(source: Source, path: str, *, links: bool = False) -> list[str]:
    """Return the folders in a folder that may lead to pages; with ``links`` also the symbolic links.

    Raises:
        OSError: it can't be listed.
    """
    with os.scandir(f"{source.root}/{path}") as entries:
        names = [
            f"{path}{entry.name}/"
            for entry in entries
            if entry.is_dir(follow_symlinks=False) or (links and entry.is_symlink())
        ]
    return [name for name in names if source.pattern.may_lead_to_pages(name)]


def is_link(source: Source, path: str) -> bool:
    """Tell whether a symbolic link is at ``path``, which ends in a slash, in the place of a folder of pages."""
    return source.pattern.may_lead_to_pages(path) and Path(source.root, path).is_symlink()


def count(source: Source) -> int:
    """Return how many folders there are to watch, the root among them. Those that can't be listed count as empty."""
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
    """Tell whether the folder above has this name: on a file system that folds names, others answer too."""
    above, _, name = path.rpartition("/")
    with os.scandir(above) as entries:
        return any(entry.name == name for entry in entries)


def _require_listed(path: str) -> None:
    if not _is_listed(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _same(left: str, right: str) -> bool:
    try:
        return os.path.samestat(os.lstat(left), os.lstat(right))
    except OSError:
        return False

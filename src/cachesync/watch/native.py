"""Watch the pages with inotify, which takes no time while nothing changes."""

import select
import time
from collections.abc import Iterator
from typing import Final

from cachesync.sync.scan import Source
from cachesync.watch import inotify
from cachesync.watch.folders import Folders, count, is_link
from cachesync.watch.inotify import Inotify
from cachesync.watch.limits import no_instance, queue_length, require_local, require_watches
from cachesync.watch.messages import Message, WatchState, sendable
from cachesync.watch.mounts import MountTable
from cachesync.watch.root import CHECK_SECONDS, WatchedRoot, await_root, is_at

_GATHER_SECONDS: Final = 0.01
"""How long to collect events after the first: a burst becomes a hundred batches a second, not a hundred thousand."""

_PAUSE_SECONDS: Final = (0.1, 5.0)
"""The first pause after an overflow, and the longest, in seconds."""

_APPEARED: Final = inotify.CREATE | inotify.MOVED_TO
_ENTRY_CHANGED: Final = inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO


class _RestartError(Exception):
    """Watching must be restarted because the root or its mounts have changed."""


class _OverflowError(Exception):
    """Events were lost."""


def follow(source: Source, *, only_local: bool) -> Iterator[Message]:
    """Yield forever what inotify reports about the pages below the root, after a message that everything is dirty.

    Raises:
        CannotWatchError: the pages can't be watched or, with ``only_local``, some writes to them wouldn't be noticed.
    """
    pause = _PAUSE_SECONDS[0]
    while True:
        root = yield from await_root(source.root, "native")
        if only_local:
            require_local(source)
        require_watches(count(source))
        began = time.monotonic()
        try:
            yield from _watch(source, root)
        except _RestartError:
            continue
        except _OverflowError:
            lost = f"more changed at once than the kernel's queue holds ({queue_length()}); all pages are scanned again"
            yield Message(state=WatchState("native", False, lost), overflows=1)
            pause = _PAUSE_SECONDS[0] if time.monotonic() - began > 10 * pause else min(2 * pause, _PAUSE_SECONDS[1])
            time.sleep(pause)
        except OSError as error:
            yield Message(
                state=WatchState("native", False, f"pages.root: cannot watch {source.root}: {error.strerror}")
            )
            time.sleep(CHECK_SECONDS)


def _watch(source: Source, root: WatchedRoot) -> Iterator[Message]:
    try:
        instance = Inotify()
    except OSError as error:
        raise no_instance(error) from None
    with instance, MountTable(source) as mounted:
        watched = WatchedFolders(source, instance)
        folders = watched.begin()
        yield Message(dirty=("",), state=WatchState("native", True, folders=folders))
        check_at = time.monotonic() + CHECK_SECONDS
        while True:
            watched.await_events(check_at - time.monotonic())
            dirty = watched.settle()
            state = WatchState("native", True, folders=len(watched)) if len(watched) != folders else None
            folders = len(watched)
            if dirty or state:
                yield Message(dirty=dirty, state=state)
            if time.monotonic() >= check_at:
                if not is_at(source.root, root) or mounted.changed():
                    raise _RestartError
                check_at = time.monotonic() + CHECK_SECONDS


class WatchedFolders:
    """Turns events into dirty paths, and keeps the set of watched folders up to date."""

    def __init__(self, source: Source, instance: Inotify) -> None:
        self._source = source
        self._pattern = source.pattern
        self._inotify = instance
        self._folders = Folders(source, instance, self._take)
        self._dirty: set[str] = set()
        self._changed: set[str] = set()
        """Folders that were created, deleted or replaced, so that their watches must be renewed."""
        self._poll = select.poll()
        self._poll.register(instance.fd, select.POLLIN)

    def __len__(self) -> int:
        return len(self._folders)

    def begin(self) -> int:
        """Watch all folders and return how many there are.

        Raises:
            OSError: the root can't be watched.
        """
        self._folders.refresh("")
        self.settle()
        return len(self)

    def await_events(self, seconds: float) -> None:
        """Wait at most ``seconds`` for events, and read them."""
        if not self._changed and self._poll.poll(max(0, int(seconds * 1000) + 1)):
            time.sleep(_GATHER_SECONDS)
        self._take()

    def settle(self) -> tuple[str, ...]:
        """Update the watches, and only then return the dirty paths, so that no change in between is missed."""
        changed, self._changed = sorted(self._changed), set()
        done = None
        for path in changed:
            if done is None or not path.startswith(done):
                self._folders.refresh(path)
                done = path
        dirty, self._dirty = self._dirty | self._folders.moved, set()
        self._folders.moved.clear()
        return tuple(sorted({sendable(path) for path in dirty}))

    def _take(self) -> None:
        for watch, mask, name in inotify.events(self._inotify.read()):
            if mask & inotify.Q_OVERFLOW:
                raise _OverflowError
            if mask & inotify.UNMOUNT:
                raise _RestartError
            folder = self._folders.of(watch)
            if folder is None:
                continue
            if not name:
                self._folder_itself(folder.path, mask)
                continue
            path = folder.path + name
            place = f"{path}/"
            if mask & inotify.ISDIR or self._folders.has(place) or (mask & _APPEARED and is_link(self._source, place)):
                self._folder(place, mask)
            if self._pattern.matches(path):
                self._dirty.add(path)

    def _folder_itself(self, path: str, mask: int) -> None:
        if mask & inotify.ATTRIB:
            self._folder(path, mask)
        elif path:
            self._changed.add(path)
        else:
            raise _RestartError

    def _folder(self, path: str, mask: int) -> None:
        if not self._pattern.may_lead_to_pages(path):
            return
        self._dirty.add(path)
        if mask & _ENTRY_CHANGED:
            self._changed.add(path)
        else:
            self._changed.update(self._folders.blocked.at(path))

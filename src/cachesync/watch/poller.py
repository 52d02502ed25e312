"""Watch the pages by scanning them at intervals, if inotify is unavailable or would miss changes."""

import time
from collections.abc import Iterator
from typing import Final

from cachesync.errors import CachesyncError
from cachesync.sync.scan import WHOLE_ROOT, Scan, Source, scan
from cachesync.watch.messages import Message, WatchState, sendable
from cachesync.watch.root import CHECK_SECONDS, await_root, is_at

_PAUSE_PER_CPU_SECOND: Final = 10
_PAUSE_PER_SECOND: Final = 3
"""Pauses for each second of a scan, so that scans take less than a tenth of a core and a quarter of the time."""


def follow(source: Source, reason: str | None) -> Iterator[Message]:
    """Yield forever what differs from one scan to the next, after a message that everything is dirty.

    ``reason`` is why the pages aren't watched natively.
    """
    while True:
        root = yield from await_root(source.root, "polling")
        try:
            before, pause = timed_scan(source)
            yield Message(dirty=("",), state=WatchState("polling", True, reason))
            while True:
                time.sleep(pause)
                if not is_at(source.root, root):
                    break
                now, pause = timed_scan(source)
                if dirty := difference(source, before, now):
                    yield Message(dirty=dirty)
                before = now
        except CachesyncError as error:
            yield Message(state=WatchState("polling", False, str(error).partition("\n")[0]))
            time.sleep(CHECK_SECONDS)


def timed_scan(source: Source) -> tuple[Scan, float]:
    """Scan the pages, and return what was found and how many seconds to pause afterwards."""
    began, cpu_began = time.monotonic(), time.thread_time()
    found = scan(source)
    return found, pause_after(time.monotonic() - began, time.thread_time() - cpu_began)


def pause_after(seconds: float, cpu_seconds: float) -> float:
    """Return how many seconds to pause after a scan that took ``seconds``, and ``cpu_seconds`` of a core."""
    return max(CHECK_SECONDS, _PAUSE_PER_CPU_SECOND * cpu_seconds, _PAUSE_PER_SECOND * seconds)


def difference(source: Source, before: Scan, now: Scan) -> tuple[str, ...]:
    """Return the paths that became dirty between two scans."""
    dirty = {path for path, entry in now.entries.items() if before.entries.get(path) != entry}
    dirty |= before.entries.keys() - now.entries.keys()
    links = {warning.path for warning in {*before.warnings} ^ {*now.warnings}} - {WHOLE_ROOT}
    dirty |= {f"{path}/" for path in links}
    unread = {path for path, _ in before.unread.items() ^ now.unread.items()}
    dirty |= {f"{path}/" if path else "" for path in unread} | {path for path in unread if source.pattern.matches(path)}
    if not unread and set(before.problems) != set(now.problems):
        dirty.add("")
    return tuple(sorted({sendable(path) for path in dirty}))

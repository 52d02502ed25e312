"""The watcher as watchdog has it: an emitter puts into a queue what a dispatcher hands on.

Of watchdog's own emitters, the one for Linux loses changes unseen (where its queue overflows, where watches run out,
where folders are moved), and the one that polls keeps more than a page's signature. So what watches is ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver, EventEmitter, EventQueue, ObservedWatch

from cachesync.sync.scan import Source
from cachesync.watch import native, poller
from cachesync.watch.limits import CannotWatchError
from cachesync.watch.messages import Message, Mode

_QUEUED: Final = 100
"""How many messages may wait for a slow reader. Beyond that the kernel's queue fills, and says so if it must."""


def follow(source: Source, mode: Mode) -> Iterator[Message]:
    """Yield for ever what may have changed, and how it is watched."""
    reason = None
    if mode != "polling":
        try:
            yield from native.follow(source, only_local=mode == "auto")
        except CannotWatchError as error:
            reason = str(error)
    yield from poller.follow(source, reason)


@dataclass(unsafe_hash=True)  # compared by its message too: the queue drops what equals the event before
class MessageEvent(FileSystemEvent):
    """An event whose path is the root's and whose news are in the message."""

    message: Message = field(kw_only=True)


class PageEmitter(EventEmitter):
    """Emits messages about pages."""

    def __init__(
        self,
        event_queue: EventQueue,
        watch: ObservedWatch,
        *,
        messages: Iterator[Message],
        timeout: float = 1.0,
        event_filter: list[type[FileSystemEvent]] | None = None,
    ) -> None:
        super().__init__(event_queue, watch, timeout=timeout, event_filter=event_filter)
        self._messages = messages

    def queue_events(self, timeout: float) -> None:  # noqa: ARG002  it blocks until there is one
        """Queue the next message."""
        self.queue_event(MessageEvent(self.watch.path, message=next(self._messages)))


def observer(source: Source, mode: Mode, handler: FileSystemEventHandler) -> BaseObserver:
    """Return an observer, not started yet, that hands every message on to ``handler``."""
    emitter = partial(PageEmitter, messages=follow(source, mode))
    made = BaseObserver(cast("type[EventEmitter]", emitter))
    made.event_queue.maxsize = _QUEUED
    made.schedule(handler, str(source.root), recursive=True)
    return made

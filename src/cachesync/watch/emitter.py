"""The watcher as a watchdog emitter.

watchdog provides the two threads of the watcher's process and the bounded queue between them. While the dispatcher's
thread waits for a slow reader of our messages, the emitter's thread continues to empty the kernel's queue, which would
lose events if it filled up. A message that equals the one before it is queued only once.

The events are our own. Of watchdog's emitters, the one for Linux silently loses changes (when its queue overflows, when
watches run out, when folders are moved), and the polling one keeps more in memory than a page's signature.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver, EventEmitter

from cachesync.sync.scan import Source
from cachesync.watch import native, poller
from cachesync.watch.limits import CannotWatchError
from cachesync.watch.messages import Message, Mode

_QUEUED: Final = 100
"""How many messages may wait for a slow reader. Beyond that, the kernel's queue fills up and reports an overflow."""


def follow(source: Source, mode: Mode) -> Iterator[Message]:
    """Yield messages forever about what may have changed and how the pages are watched."""
    reason = None
    if mode != "polling":
        try:
            yield from native.follow(source, only_local=mode == "auto")
        except CannotWatchError as error:
            reason = str(error)
    yield from poller.follow(source, reason)


@dataclass(unsafe_hash=True)  # the message is compared as well: the queue drops an event that equals the one before
class MessageEvent(FileSystemEvent):
    """An event that carries a message. Its path is always the root's."""

    message: Message = field(kw_only=True)


class PageEmitter(EventEmitter):
    """Emits messages about pages."""

    def __init__(self, *where: Any, messages: Iterator[Message], **options: Any) -> None:
        super().__init__(*where, **options)
        self._messages = messages

    def queue_events(self, timeout: float) -> None:  # noqa: ARG002  it blocks until there is a message
        """Queue the next message."""
        self.queue_event(MessageEvent(self.watch.path, message=next(self._messages)))


def observer(source: Source, mode: Mode, handler: FileSystemEventHandler) -> BaseObserver:
    """Return an observer that passes every message to ``handler``. The observer hasn't been started yet."""
    emitter = partial(PageEmitter, messages=follow(source, mode))
    made = BaseObserver(cast("type[EventEmitter]", emitter))
    made.event_queue.maxsize = _QUEUED
    made.schedule(handler, str(source.root), recursive=True)
    return made

"""The watcher's process: it reads its settings from stdin and writes messages to stdout.

The process exits when its stdin is closed, because its parent has then exited, for whatever reason.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Final

import msgspec
from watchdog.events import FileSystemEvent, FileSystemEventHandler

from cachesync.pages.pattern import Pattern
from cachesync.sync.scan import Source
from cachesync.watch.emitter import MessageEvent, observer
from cachesync.watch.messages import WatchSettings

FAILED: Final = 70


class _MessageWriter(FileSystemEventHandler):
    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()

    def dispatch(self, event: FileSystemEvent) -> None:
        """Write the message as one line."""
        if isinstance(event, MessageEvent):
            sys.stdout.buffer.write(self._encoder.encode(event.message) + b"\n")
            sys.stdout.buffer.flush()


def _end(failure: threading.ExceptHookArgs) -> None:
    """Exit the process when a thread fails: the other threads would continue without reporting anything."""
    if not issubclass(failure.exc_type, BrokenPipeError):
        what = " ".join(f"cachesync.watch: {failure.exc_type.__name__}: {failure.exc_value}".split())
        os.write(2, f"{what}\n".encode(errors="backslashreplace"))
    os._exit(FAILED)


def main() -> None:
    """Watch until stdin is closed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # meant for the parent, but sent to the whole group
        signal.signal(number, signal.SIG_IGN)
    threading.excepthook = _end
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=WatchSettings)
    pattern = Pattern(settings.include, settings.exclude, settings.ignore)
    source = Source(Path(os.fsdecode(settings.root)), pattern, settings.max_bytes)
    observer(source, settings.mode, _MessageWriter()).start()
    sys.stdin.buffer.read()
    os._exit(0)  # without joining threads, which may be waiting for events, or for a reader of stdout that has exited


if __name__ == "__main__":
    main()

"""The watcher's process: settings come in on stdin, messages go out on stdout.

It ends when its stdin does, since then its parent has ended, however that came about.
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


class _Teller(FileSystemEventHandler):
    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()

    def dispatch(self, event: FileSystemEvent) -> None:
        """Write the message as one line."""
        if isinstance(event, MessageEvent):
            sys.stdout.buffer.write(self._encoder.encode(event.message) + b"\n")
            sys.stdout.buffer.flush()


def _end(failure: threading.ExceptHookArgs) -> None:
    """End the process when a thread fails: without one of them the others would go on and tell nothing."""
    if not issubclass(failure.exc_type, BrokenPipeError):
        what = " ".join(f"cachesync.watch: {failure.exc_type.__name__}: {failure.exc_value}".split())
        os.write(2, f"{what}\n".encode(errors="backslashreplace"))
    os._exit(FAILED)


def main() -> None:
    """Watch until stdin ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # for the parent, though all of a group get them
        signal.signal(number, signal.SIG_IGN)
    threading.excepthook = _end
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=WatchSettings)
    pattern = Pattern(settings.include, settings.exclude, settings.ignore)
    source = Source(Path(os.fsdecode(settings.root)), pattern, settings.max_bytes)
    observer(source, settings.mode, _Teller()).start()
    sys.stdin.buffer.read()
    os._exit(0)  # threads that wait for events, or for a reader of theirs that has gone, wait no longer


if __name__ == "__main__":
    main()

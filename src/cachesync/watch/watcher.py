"""The service's side of the watcher: runs the process that reports which pages may have changed.

The watcher is a separate process because a reader of events would be too slow in an interpreter with busy threads.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from cachesync.log import DEFECT, get_logger
from cachesync.retry import delays
from cachesync.sync.scan import Source
from cachesync.watch.messages import Message, Mode, WatchSettings, WatchState

_DEFECT_SECONDS: Final = 5.0
"""How long to wait after an unexpected exception."""

_END_SECONDS: Final = 5.0

_log = get_logger()


class WatcherState(WatchState, frozen=True):
    """The watcher's state."""

    overflows: int = 0
    """The number of overflows: how often more changed at once than could be reported."""
    restarts: int = 0
    """How many times the watcher's process had to be restarted."""


class Watcher:
    """Watches pages from :meth:`start` to :meth:`stop`.

    One thread calls both callbacks, so they must return quickly. An exception in a callback is logged, and watching is
    restarted. A dirty path is relative to the root. A path with a trailing slash stands for a folder and everything
    below it; an empty path stands for everything.

    Whenever watching starts or restarts, the empty path is reported first, which covers what changed while nothing was
    watched. Then ``on_change`` is called with a state that is ``watching``.
    """

    def __init__(
        self,
        source: Source,
        mode: Mode,
        on_dirty: Callable[[list[str]], None],
        on_change: Callable[[WatcherState], None],
    ) -> None:
        root = os.fsencode(os.path.abspath(source.root))  # noqa: PTH100  the child must follow its links
        pattern = source.pattern
        self._settings = WatchSettings(root, pattern.include, pattern.exclude, pattern.ignore, source.max_bytes, mode)
        self._on_dirty = on_dirty
        self._on_change = on_change
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self.state = WatcherState("polling" if mode == "polling" else "native", False, "it is being started")
        """The last state."""

    @property
    def pid(self) -> int | None:
        """The process's id, or None if there is no process. While a process is being started, this waits for it."""
        with self._lock:
            process = self._process
        return process.pid if process and process.returncode is None else None

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the process and wait until it exits. No callback is called afterwards, and no callback may call this."""
        with self._lock:
            self._stopped.set()
            process = self._process
        if process:
            _end(process)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        pauses = delays()
        while not self._stopped.is_set():
            try:
                if self._watch_once() and not self._stopped.is_set():
                    pauses = delays()
                    self._on_dirty([""])
                if not self._stopped.wait(next(pauses)):
                    self._change(msgspec.structs.replace(self.state, restarts=self.state.restarts + 1))
            except Exception:  # noqa: BLE001  nothing would restart this thread, and the next try may succeed
                _log.exception(DEFECT, action="defect.found")
                self._stopped.wait(_DEFECT_SECONDS)

    def _watch_once(self) -> bool:
        """Start the process, handle its messages until it exits, and return whether it has watched anything."""
        watched = False
        try:
            with self._lock:
                if self._stopped.is_set():
                    return False
                process = self._process = _start(self._settings)
            try:
                for message in _messages(process):
                    watched |= bool(message.dirty)
                    self._handle(message)
            finally:
                _end(process)
                if process.stdout:
                    process.stdout.close()
            reason = f"the watcher ended ({_outcome(process.returncode)}); it is being restarted"
        except (OSError, msgspec.DecodeError) as error:
            reason = f"the watcher failed ({error}); it is being restarted"
        if not self._stopped.is_set():
            self._change(msgspec.structs.replace(self.state, watching=False, reason=reason, folders=0))
        return watched

    def _handle(self, message: Message) -> None:
        if self._stopped.is_set():
            return
        if message.dirty:
            self._on_dirty(list(message.dirty))
        if message.state or message.overflows:
            told = msgspec.structs.asdict(message.state) if message.state else {}
            overflows = self.state.overflows + message.overflows
            self._change(msgspec.structs.replace(self.state, overflows=overflows, **told))

    def _change(self, state: WatcherState) -> None:
        before, self.state = self.state, state
        if (before.mode, before.watching, before.reason) != (state.mode, state.watching, state.reason):
            _log_state(state)
        self._on_change(state)


def _log_state(state: WatcherState) -> None:
    if not state.watching:
        _log.warning(
            "pages are not watched",
            action="watcher.degraded",
            mode=state.mode,
            reason=state.reason or "not started yet",
        )
    elif state.reason:
        _log.warning(
            "pages are watched", action="watcher.degraded", mode=state.mode, folders=state.folders, reason=state.reason
        )
    else:
        _log.info("pages are watched", action="watcher.started", mode=state.mode, folders=state.folders)


def _start(settings: WatchSettings) -> subprocess.Popen[bytes]:
    # -P keeps the working directory out of sys.path: modules there must not be imported.
    command = [sys.executable, "-P", "-m", "cachesync.watch"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603  our own module
    if process.stdin:
        with contextlib.suppress(BrokenPipeError):  # the process has already exited, which the reader will notice
            os.write(process.stdin.fileno(), msgspec.json.encode(settings) + b"\n")
    return process


def _messages(process: subprocess.Popen[bytes]) -> Iterator[Message]:
    decoder = msgspec.json.Decoder(Message)
    for line in process.stdout or ():
        if line.endswith(b"\n"):  # otherwise the process was killed while writing the line
            yield decoder.decode(line)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Make the process exit by closing its stdin, or kill it if that doesn't help; wait until it has exited."""
    if process.stdin and not process.stdin.closed:
        process.stdin.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _outcome(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"

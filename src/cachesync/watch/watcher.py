"""The watcher as the service has it: a process that says which pages may have changed.

It is a process of its own since a reader of events that shares an interpreter with busy threads comes too late.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Final, Literal

import msgspec

from cachesync.log import get_logger
from cachesync.sync.scan import Source
from cachesync.watch.messages import Message, Mode, WatchSettings, WatchState

_BACK_OFF_SECONDS: Final = (0.1, 5.0)
_END_SECONDS: Final = 5.0

_log = get_logger()


class WatcherState(msgspec.Struct, frozen=True):
    """What the watcher says of itself."""

    mode: Literal["native", "polling"]
    watching: bool
    """False: not yet, or there is no root, or the process is being started again."""
    reason: str | None = None
    """Why it isn't watching, or why it polls though it was to watch natively."""
    folders: int = 0
    """How many are watched; 0 while polling."""
    overflows: int = 0
    """How often more changed at once than could be told, since the watcher was made."""
    restarts: int = 0
    """How often its process had to be started again."""


class Watcher:
    """Watches pages, for as long as it is started.

    Both callbacks are called by one thread, so they must be quick. What one raises is logged, and watching begins anew.
    A dirty path is relative to the root. With a slash at its end it means the folder and anything in it; an empty one
    means everything.

    Whenever watching begins, also again, the first dirty path is the empty one, and after that ``on_change`` hears
    that it is watching. What changes while it isn't watching is told then.
    """

    def __init__(
        self,
        source: Source,
        mode: Mode,
        on_dirty: Callable[[list[str]], None],
        on_change: Callable[[WatcherState], None],
    ) -> None:
        root = os.fsencode(os.path.abspath(source.root))  # noqa: PTH100  links in it are for the child to follow
        pattern = source.pattern
        self._settings = WatchSettings(root, pattern.include, pattern.exclude, pattern.ignore, source.max_bytes, mode)
        self._on_dirty = on_dirty
        self._on_change = on_change
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self.state = WatcherState("polling" if mode == "polling" else "native", False, "it is being started")
        """The last thing it said of itself."""

    @property
    def pid(self) -> int | None:
        """The process that watches; None where there is none. One that is just being started is waited for."""
        with self._lock:
            process = self._process
        return process.pid if process and process.returncode is None else None

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the process and return when it has ended. Nothing is called afterwards; not for use in a callback."""
        with self._lock:
            self._stopped.set()
            process = self._process
        if process:
            _end(process)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        pause = _BACK_OFF_SECONDS[0]
        while not self._stopped.is_set():
            try:
                pause = self._watch_and_wait(pause)
            except Exception:  # noqa: BLE001  nobody is there to start it again, and the next try may go better
                _log.exception("a defect of cachesync: please report it")
                self._stopped.wait(_BACK_OFF_SECONDS[1])

    def _watch_and_wait(self, pause: float) -> float:
        """Watch for as long as it lasts, wait before the next try, and return how long to wait after that."""
        watched = self._watch_once()
        if watched and not self._stopped.is_set():
            pause = _BACK_OFF_SECONDS[0]
            self._on_dirty([""])
        if not self._stopped.wait(pause):
            self._change(msgspec.structs.replace(self.state, restarts=self.state.restarts + 1))
        return min(2 * pause, _BACK_OFF_SECONDS[1])

    def _watch_once(self) -> bool:
        """Start the process, hand on what it says until it ends, and tell whether it has watched anything."""
        watched = False
        try:
            with self._lock:
                if self._stopped.is_set():
                    return False
                process = self._process = _start(self._settings)
            try:
                for message in _said(process):
                    watched |= bool(message.dirty)
                    self._hear(message)
            finally:
                _end(process)
                if process.stdout:
                    process.stdout.close()
            reason = f"the watcher ended ({_outcome(process.returncode)}); it is started again"
        except (OSError, msgspec.DecodeError) as error:
            reason = f"the watcher failed ({error}); it is started again"
        if not self._stopped.is_set():
            self._change(msgspec.structs.replace(self.state, watching=False, reason=reason, folders=0))
        return watched

    def _hear(self, message: Message) -> None:
        if self._stopped.is_set():
            return
        if message.dirty:
            self._on_dirty(list(message.dirty))
        if message.state or message.overflows:
            said = message.state or WatchState(
                self.state.mode, self.state.watching, self.state.reason, self.state.folders
            )
            overflows = self.state.overflows + message.overflows
            counts = {"overflows": overflows, "restarts": self.state.restarts}
            self._change(WatcherState(said.mode, said.watching, said.reason, said.folders, **counts))

    def _change(self, state: WatcherState) -> None:
        before, self.state = self.state, state
        if (before.mode, before.watching, before.reason) != (state.mode, state.watching, state.reason):
            _tell(state)
        self._on_change(state)


def _tell(state: WatcherState) -> None:
    if not state.watching:
        _log.warning("pages are not watched", mode=state.mode, reason=state.reason or "not started yet")
    elif state.reason:
        _log.warning("pages are watched", mode=state.mode, folders=state.folders, reason=state.reason)
    else:
        _log.info("pages are watched", mode=state.mode, folders=state.folders)


def _start(settings: WatchSettings) -> subprocess.Popen[bytes]:
    # Not the working directory (-P): what lies there isn't ours to run.
    command = [sys.executable, "-P", "-m", "cachesync.watch"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603  our own module
    if process.stdin:
        with contextlib.suppress(BrokenPipeError):  # it has ended already, as will be read
            os.write(process.stdin.fileno(), msgspec.json.encode(settings) + b"\n")
    return process


def _said(process: subprocess.Popen[bytes]) -> Iterator[Message]:
    decoder = msgspec.json.Decoder(Message)
    for line in process.stdout or ():
        if line.endswith(b"\n"):  # else it was killed in the middle of it
            yield decoder.decode(line)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process by the end of its stdin, or by force where it doesn't answer; wait until it has ended."""
    if process.stdin and not process.stdin.closed:
        process.stdin.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _outcome(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"

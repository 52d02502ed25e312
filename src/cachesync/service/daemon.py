"""The service: watch the pages, stand by until the index is ours, and serve it until we are told to end."""

import math
import threading
import time
from contextlib import suppress
from typing import Final, NamedTuple

from cachesync.context import Awaited, Context, Pulse, StoppedError, running
from cachesync.errors import CachesyncError, DefectError, OvertakenError, UsageError
from cachesync.index.base import Index
from cachesync.index.connection_health import SERVICE, ConnectionHealth
from cachesync.log import get_logger
from cachesync.service import systemd
from cachesync.service.debounce import DirtyPaths
from cachesync.service.loop import LoopSettings, ServiceLoop, tell_queue
from cachesync.service.metrics import Metrics
from cachesync.service.state import ServiceState
from cachesync.sync.scan import EVERYTHING
from cachesync.watch.messages import Mode
from cachesync.watch.watcher import Watcher, WatcherState

_log = get_logger()

_RETRY_SECONDS: Final = 2.0
_BEAT_SECONDS: Final = 10.0
"""How often the loop wakes up to show that it goes on, where nobody wants to hear it more often."""


class WatchOptions(NamedTuple):
    """What the configuration says of noticing changes."""

    mode: Mode
    debounce: float
    debounce_max: float


class Daemon:
    """One run of the service under one configuration: :meth:`start` it, and :meth:`end` it some day."""

    def __init__(
        self,
        settings: LoopSettings,
        watch: WatchOptions,
        index: Index,
        state: ServiceState,
        metrics: Metrics,
        health: ConnectionHealth,
    ) -> None:
        """``health`` are those that ``index`` was opened with."""
        self._settings = settings
        self._index = index
        self._state = state
        self._metrics = metrics
        self._health = health
        self._dirty = DirtyPaths(watch.debounce, watch.debounce_max)
        self._wake = threading.Event()
        self._failures = 0
        self._has_served = False
        self._refusal: UsageError | None = None
        self._ended = threading.Event()
        self._heart = systemd.Heartbeat()
        every = min(self._heart.every or _BEAT_SECONDS, _BEAT_SECONDS)
        self._context = Context(self._ended, pulse=Pulse(self._heart.beat, every))
        self._watcher = Watcher(settings.source, watch.mode, self._on_dirty, self._on_change)
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)

    def start(self, *, has_served: bool = False) -> None:
        """Begin; ``has_served``: in place of one that has."""
        self._has_served = has_served
        with self._state.changing():
            self._state.role = "starting"
            self._state.caught_up = False
            self._state.watching = None
            self._state.blind = False
            self._state.engine, self._state.url = self._index.engine, self._index.url
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """It is at work; if it isn't, though nobody has stopped it, it has failed."""
        return self._thread.is_alive()

    @property
    def watcher_pid(self) -> int | None:
        """The process that watches."""
        return self._watcher.pid

    @property
    def has_served(self) -> bool:
        """The index was ours, under this configuration or an earlier one: from then on it waits for what is wrong."""
        return self._has_served

    @property
    def refusal(self) -> UsageError | None:
        """Why it has ended by itself, if that is the configuration."""
        return self._refusal

    def end(self) -> None:
        """Begin to end: finish what is in flight, and give the index back."""
        self._state.role = "stopping"
        self._ended.set()
        self._wake.set()

    def join(self, patience: float) -> bool:
        """Wait for the end, but no longer than ``patience`` seconds, and tell whether it has come."""
        self._thread.join(patience)
        return not self._thread.is_alive()

    @property
    def awaited(self) -> Awaited | None:
        """What outside of the process has to answer before the service can go on; None: nothing."""
        return self._context.pulse.awaited

    @property
    def beat_every(self) -> float:
        """In how many seconds at the latest to :meth:`beat` again."""
        return self._context.pulse.every

    def beat(self) -> None:
        """Tell the watchdog that the service goes on, if it is silent only because something outside doesn't answer.

        To be killed and started again would not help then, and take its health endpoints away.
        """
        if self.awaited:
            self._heart.beat()

    def _run(self) -> None:
        self._watcher.start()
        try:
            with running(self._context):
                while not self._ended.is_set():
                    self._serve()
        finally:
            self._watcher.stop()
            self._index.close()

    def _serve(self) -> None:
        """Become the writer, however long that takes, and do its work for as long as it lasts."""
        try:
            self._context.check()
            self._state.role = "starting"
            with self._index.writer(math.inf, serving=True, on_wait=self._stand_by) as writer:
                holder = self._index.status().holder
                with self._state.changing():
                    self._state.role = "serving"
                    self._state.holder = holder
                self._state.troubled(None, time.monotonic())  # whoever served before had it, and isn't there to end it
                _log.info("serving the index", url=self._index.url)
                systemd.status(f"serving {self._index.url}")
                self._health.answered(SERVICE, self._index.url)
                self._failures = 0
                self._has_served = True
                ServiceLoop(
                    self._settings,
                    self._index,
                    writer,
                    self._dirty,
                    self._state,
                    self._metrics,
                    self._health,
                    self._wake,
                ).run()
        except StoppedError:
            pass
        except OvertakenError as error:
            self._state.caught_up = False
            _log.warning("another has become the writer: standing by", reason=str(error))
        except UsageError as error:
            self._refused(error)
        except CachesyncError as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001  nobody is there to start it again, and the next try may go better
            if not self._failures:
                _log.exception("a defect of cachesync: please report it")
            self._failed(str(DefectError.of(error)))

    def _stand_by(self, holder: str) -> None:
        """Say for whom we wait."""
        if (self._state.role, self._state.holder) != ("standing by", holder):
            with self._state.changing():
                self._state.role = "standing by"
                self._state.holder = holder
            systemd.status(f"standing by: {holder} writes")

    @property
    def index_trouble(self) -> str | None:
        """Why the index can't be used now."""
        return self._health.trouble

    def _refused(self, error: UsageError) -> None:
        if self._has_served:
            self._failed(str(error))
        else:
            self._refusal = error
            self._ended.set()

    def _failed(self, reason: str) -> None:
        if self._ended.is_set():
            return
        self._health.gave_up(SERVICE, "other", reason)  # before the log says so: whoever reads that may ask
        if not self._failures:
            _log.warning("the index can't be used for now; trying again", reason=reason)
        self._failures += 1
        with suppress(StoppedError):
            self._context.wait(_RETRY_SECONDS)

    def _on_dirty(self, paths: list[str]) -> None:
        self._dirty.mark(paths, time.monotonic())
        tell_queue(self._dirty, self._state)
        self._wake.set()

    def _on_change(self, watching: WatcherState) -> None:
        before = self._state.watching
        self._state.watching = watching
        if watching.watching and not (before and before.watching):
            self._heart.starting = False
            systemd.ready()
        elif not watching.watching:  # whatever the reason is, a look finds out what it means
            self._on_dirty([EVERYTHING])
        self._wake.set()

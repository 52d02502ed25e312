"""The service: watch the pages, stand by until this process is the writer, then keep the index equal to the pages."""

import math
import threading
import time
from contextlib import suppress
from typing import Final, NamedTuple

from cachesync.context import Awaited, Context, Pulse, StoppedError, running
from cachesync.errors import CachesyncError, DefectError, OvertakenError, UsageError
from cachesync.index.base import Index
from cachesync.index.connection_health import SERVICE, ConnectionHealth
from cachesync.log import DEFECT, get_logger
from cachesync.service import systemd
from cachesync.service.debounce import DirtyPaths
from cachesync.service.loop import ServiceLoop, update_queue
from cachesync.service.metrics import Metrics
from cachesync.service.session import ServiceSettings, Session
from cachesync.service.state import ServiceState
from cachesync.sync.scan import EVERYTHING
from cachesync.watch.messages import Mode
from cachesync.watch.watcher import Watcher, WatcherState

_log = get_logger()

_RETRY_SECONDS: Final = 2.0
_BEAT_SECONDS: Final = 10.0
"""How often the loop wakes up to show that it is alive, unless systemd's watchdog needs to hear it more often."""


class WatchOptions(NamedTuple):
    """The configuration of the watcher and the debounce."""

    mode: Mode
    debounce: float
    debounce_max: float


class Daemon:
    """One run of the service under one configuration, from :meth:`start` to :meth:`end`."""

    def __init__(
        self,
        settings: ServiceSettings,
        watch: WatchOptions,
        index: Index,
        state: ServiceState,
        metrics: Metrics,
        health: ConnectionHealth,
    ) -> None:
        """``health`` is the one that ``index`` was opened with."""
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
        """Start the service's thread. ``has_served``: whether the daemon that this one replaces had been the writer."""
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
        """Whether its thread is running. If it is not, although nothing stopped it, it has failed."""
        return self._thread.is_alive()

    @property
    def watcher_pid(self) -> int | None:
        """The process id of the watcher."""
        return self._watcher.pid

    @property
    def has_served(self) -> bool:
        """Whether it has been the writer, under any configuration. From then on it retries instead of refusing one."""
        return self._has_served

    @property
    def refusal(self) -> UsageError | None:
        """Why the configuration made it end by itself; None if it did not."""
        return self._refusal

    def end(self) -> None:
        """Start to shut down: finish what is in flight and release the lease. Returns at once, see :meth:`join`."""
        self._state.role = "stopping"
        self._ended.set()
        self._wake.set()

    def join(self, patience: float) -> bool:
        """Wait for the end, for at most ``patience`` seconds, and return whether it has ended."""
        self._thread.join(patience)
        return not self._thread.is_alive()

    @property
    def awaited(self) -> Awaited | None:
        """What outside of this process the service is waiting for; None: nothing."""
        return self._context.pulse.awaited

    @property
    def beat_every(self) -> float:
        """The longest time in seconds between two calls of :meth:`beat`."""
        return self._context.pulse.every

    def beat(self) -> None:
        """Send the watchdog a sign of life if the service is only waiting for something outside of this process.

        A restart would not help then, and would take its health endpoints away.
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
        """Wait until this process is the writer, and run the loop for as long as it remains so."""
        try:
            self._context.check()
            self._state.role = "starting"
            with self._index.writer(math.inf, serving=True, on_wait=self._stand_by) as writer:
                holder = self._index.status().holder
                with self._state.changing():
                    self._state.role = "serving"
                    self._state.holder = holder
                self._state.set_trouble(None, time.monotonic())  # trouble of an earlier loop, which can't clear it
                _log.info("serving the index", action="service.active", url=self._index.url)
                systemd.status(f"serving {self._index.url}")
                self._health.answered(SERVICE, self._index.url)
                self._failures = 0
                self._has_served = True
                session = Session(
                    self._settings,
                    self._index,
                    writer,
                    self._dirty,
                    self._state,
                    self._metrics,
                    self._health,
                    self._wake,
                )
                ServiceLoop(session).run()
        except StoppedError:
            pass
        except OvertakenError as error:
            self._state.caught_up = False
            _log.warning(
                "another process has become the writer: standing by", action="service.standby", reason=str(error)
            )
        except UsageError as error:
            self._refused(error)
        except CachesyncError as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001  nothing would restart this thread, and the next try may succeed
            if not self._failures:
                _log.exception(DEFECT, action="defect.found")
            self._failed(str(DefectError.of(error)))

    def _stand_by(self, holder: str) -> None:
        """Record and report which process is the writer while this one waits."""
        if (self._state.role, self._state.holder) != ("standing by", holder):
            with self._state.changing():
                self._state.role = "standing by"
                self._state.holder = holder
            systemd.status(f"standing by: {holder} is the writer")

    @property
    def index_trouble(self) -> str | None:
        """Why the index can't be used now; None: it can."""
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
        self._health.gave_up(SERVICE, "other", reason)  # before it is logged, so that /readyz agrees with the log
        if not self._failures:
            _log.warning("the index can't be used for now; trying again", action="index.unavailable", reason=reason)
        self._failures += 1
        with suppress(StoppedError):
            self._context.wait(_RETRY_SECONDS)

    def _on_dirty(self, paths: list[str]) -> None:
        self._dirty.mark(paths, time.monotonic())
        update_queue(self._dirty, self._state)
        self._wake.set()

    def _on_change(self, watching: WatcherState) -> None:
        before = self._state.watching
        self._state.watching = watching
        if watching.watching and not (before and before.watching):
            self._heart.starting = False
            systemd.ready()
        elif not watching.watching:  # a full pass finds out what is wrong, such as a missing root
            self._on_dirty([EVERYTHING])
        self._wake.set()

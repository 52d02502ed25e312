"""The service: watch the pages, stand by until this process is the writer, then keep the index equal to the pages."""

import math
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Final

from cachesync.context import Context, Pulse, StoppedError, running
from cachesync.errors import CachesyncError, DefectError, OvertakenError, UsageError
from cachesync.index.base import Index
from cachesync.index.connection_health import SERVICE, ConnectionHealth
from cachesync.log import DEFECT, get_logger
from cachesync.service import systemd
from cachesync.service.debounce import DirtyPaths
from cachesync.service.loop import ServiceLoop
from cachesync.service.metrics import Metrics
from cachesync.service.options import ServiceOptions
from cachesync.service.session import Resources, Session
from cachesync.service.state import ServiceState
from cachesync.watch.watcher import Watcher

_log = get_logger()

_RETRY_SECONDS: Final = 2.0
_BEAT_SECONDS: Final = 10.0
"""How often the loop wakes up to record a heartbeat, unless systemd's watchdog needs heartbeats more often."""


class Daemon:
    """One run of the service under one configuration, from :meth:`start` to :meth:`end`."""

    def __init__(
        self,
        options: ServiceOptions,
        index: Index,
        state: ServiceState,
        metrics: Metrics,
        health: ConnectionHealth,
    ) -> None:
        """``health`` is the object that ``index`` was opened with."""
        self.has_served = False
        """Whether the service has been the writer under any configuration. If so, configuration errors are retried."""
        self.refusal: UsageError | None = None
        """Why the daemon rejected the configuration and stopped, or None."""
        self.health = health
        """Whether the index is currently available."""
        dirty = DirtyPaths(*options.debounce)
        self._resources = Resources(options.jobs, index, health, state, metrics, dirty, threading.Event())
        self._failures = 0
        self._ended = threading.Event()
        self._heart = systemd.Heartbeat()
        every = min(self._heart.every or _BEAT_SECONDS, _BEAT_SECONDS)
        self.pulse = Pulse(self._heart.beat, every)
        """The heartbeat of the service's thread, and what the thread is waiting for outside of this process."""
        self._context = Context(self._ended, pulse=self.pulse)
        publish = partial(self._resources.publish_watching, self._heart.started)
        self._watcher = Watcher(options.jobs.source, options.watch_mode, self._resources.mark_dirty, publish)
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)

    def start(self, *, has_served: bool = False) -> None:
        """Start the service's thread. ``has_served`` is taken from the daemon that this one replaces."""
        self.has_served = has_served
        index, state = self._resources.index, self._resources.state
        with state.changing():
            state.role = "starting"
            state.caught_up = False
            state.watching = None
            state.blind = False
            state.engine, state.url = index.engine, index.url
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the service's thread is running. A thread that exits without being stopped has failed."""
        return self._thread.is_alive()

    @property
    def watcher_pid(self) -> int | None:
        """The watcher's process ID."""
        return self._watcher.pid

    def end(self) -> None:
        """Request a shutdown, which finishes the work in flight and releases the lease. :meth:`join` waits for it."""
        self._resources.state.role = "stopping"
        self._ended.set()
        self._resources.wake.set()

    def join(self, patience: float) -> bool:
        """Wait at most ``patience`` seconds for the service's thread to stop, and return whether it has stopped."""
        self._thread.join(patience)
        return not self._thread.is_alive()

    def beat(self) -> None:
        """Send the watchdog a heartbeat if the service is only waiting for something outside of this process.

        During such a wait, a restart would not help and would take the health endpoints away. This method must be
        called every ``pulse.every`` seconds.
        """
        if self.pulse.awaited:
            self._heart.beat()

    def _run(self) -> None:
        self._watcher.start()
        try:
            with running(self._context):
                while not self._ended.is_set():
                    self._serve()
        finally:
            self._watcher.stop()
            self._resources.index.close()

    def _serve(self) -> None:
        """Wait until this process is the writer, and run the loop for as long as it remains the writer."""
        index, state = self._resources.index, self._resources.state
        try:
            self._context.check()
            state.role = "starting"
            with index.writer(math.inf, serving=True, on_wait=self._stand_by) as writer:
                holder = index.status().holder
                with state.changing():
                    state.role = "serving"
                    state.holder = holder
                state.set_trouble(None, time.monotonic())  # an earlier loop's failure, which that loop can't clear
                _log.info("serving the index", action="service.active", url=index.url)
                systemd.status(f"serving {index.url}")
                self.health.answered(SERVICE, index.url)
                self._failures = 0
                self.has_served = True
                ServiceLoop(Session(self._resources, writer)).run()
        except StoppedError:
            pass
        except OvertakenError as error:
            state.caught_up = False
            _log.warning(
                "another process has become the writer: standing by", action="service.standby", reason=str(error)
            )
        except CachesyncError as error:
            if isinstance(error, UsageError) and not self.has_served:
                self.refusal = error
                self._ended.set()
            else:
                self._failed(str(error))
        except Exception as error:  # noqa: BLE001  nothing would restart this thread, and the next try may succeed
            if not self._failures:
                _log.exception(DEFECT, action="defect.found")
            self._failed(str(DefectError.of(error)))

    def _stand_by(self, holder: str) -> None:
        """Record and report which process is the writer while this one waits."""
        state = self._resources.state
        if (state.role, state.holder) != ("standing by", holder):
            with state.changing():
                state.role = "standing by"
                state.holder = holder
            systemd.status(f"standing by: {holder} is the writer")

    def _failed(self, reason: str) -> None:
        if self._ended.is_set():
            return
        self.health.gave_up(SERVICE, "other", reason)  # before the warning, so that /readyz agrees with the log
        if not self._failures:
            _log.warning("the index can't be used for now; trying again", action="index.unavailable", reason=reason)
        self._failures += 1
        with suppress(StoppedError):
            self._context.wait(_RETRY_SECONDS)

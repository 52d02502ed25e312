"""The service, put together from a configuration, and again whenever that is read anew."""

import gc
import time
from collections import Counter
from typing import Any, Final

from cachesync.commands.output import plural
from cachesync.commands.wiring import Wiring
from cachesync.errors import CachesyncError
from cachesync.index.vitals import Vitals
from cachesync.log import get_logger, printable
from cachesync.service import systemd
from cachesync.service.daemon import Daemon, Watch
from cachesync.service.http import Http
from cachesync.service.metrics import CONTENT_TYPE, Metrics
from cachesync.service.schedule import Schedule
from cachesync.service.serving import Settings
from cachesync.service.state import Health, State, health, in_sync, status

_log = get_logger()

_STOP_SECONDS: Final = 15.0
"""How long to wait at the end for requests that nobody answers. A client would give up after 30."""


class Service:
    """What runs under one configuration after the other, and what stays meanwhile."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._state = State()
        self._retries: Counter[str] = Counter()
        self._metrics = Metrics(self._state, self._health, self._retries)
        self._daemon = self._made(wiring)
        self._next: Daemon | None = None
        self._http = self._bound(wiring)

    @property
    def is_alive(self) -> bool:
        """It is at work, or is just being made anew."""
        return self._daemon.is_alive or self.is_changing

    @property
    def is_changing(self) -> bool:
        """A new configuration waits for the one before to end: :meth:`tend` to it."""
        return self._next is not None

    def start(self) -> None:
        """Begin."""
        self._daemon.start()

    def stop(self) -> bool:
        """Finish what is in flight, and end; tell whether all of it is over."""
        systemd.stopping()
        _log.info("stopping")
        self._daemon.end()
        over = self._daemon.join(_STOP_SECONDS)
        self._http.stop()
        if over:
            _log.info("stopped")
        else:
            _log.warning("stopped, though a request is not answered yet; what it was about is done by the next start")
        return over

    def reload(self) -> None:
        """Read the configuration again. One that is refused changes nothing; else the one before begins to end."""
        systemd.reloading()
        try:
            wiring = self._wiring.again()
            daemon = self._made(wiring)
            self._http = self._moved(wiring)
        except CachesyncError as error:
            _log.error("the new configuration is refused; the one before stays in force", reason=str(error))
            systemd.ready()
        else:
            wiring.set_up_log()
            self._wiring = wiring
            self._next = daemon
            self._daemon.end()

    def tend(self) -> None:
        """Let a new configuration begin when the one before has ended."""
        if self._next and self._daemon.join(0):
            self._daemon, self._next = self._next, None
            gc.collect()  # what belonged to the one before is held together by itself
            self._daemon.start()
            _log.info("the configuration was read again")
            systemd.ready()

    def line(self) -> str:
        """Say in a line how the service fares."""
        state = self._state.snapshot()
        trouble = self._daemon.index_trouble or state.trouble
        parts: list[str] = [state.role]
        if trouble:
            parts = [f"waiting: {trouble.splitlines()[0]}"]
        elif state.rolled_back:
            parts = ["rolled back"]
        elif state.role == "serving":
            parts = ["in sync" if in_sync(state, self._daemon.index_trouble) else "catching up"]
        if state.generation:
            parts.append(f"{plural(state.pages, 'page')}, {plural(state.specs, 'spec')}")
        if state.queue and state.generation:
            parts.append(f"{plural(state.queue, 'change')} waiting")
        if state.reindexing is not None:
            parts.append(f"reindex {state.reindexing:.0%}")
        if state.held:
            parts.append(f"{plural(len(state.held), 'page')} held back")
        if state.problems:
            parts.append(plural(len(state.problems), "problem"))
        parts.append(self._http.url)
        return printable(" · ".join(parts))

    def _made(self, wiring: Wiring) -> Daemon:
        """Make a daemon of a configuration. It touches nothing before it is started."""
        config = wiring.config
        settings = Settings(
            source=wiring.source,
            guard=wiring.guard,
            schedule=Schedule(config.schedule.reindex, config.schedule.timezone),
            rescan_interval=config.watch.rescan_interval,
        )
        watch = Watch(config.watch.mode, config.watch.debounce, config.watch.debounce_max)
        vitals = Vitals(self._metrics.bulk, retries=self._retries)
        return Daemon(settings, watch, wiring.index_with(vitals), self._state, self._metrics, vitals)

    def _moved(self, wiring: Wiring) -> Http:
        """Listen where a new configuration says, if that is elsewhere. What can't be done leaves all as it was."""
        before, now = self._wiring.config.http, wiring.config.http
        if (before.host, before.port, before.base_path) == (now.host, now.port, now.base_path):
            return self._http
        if before.port != now.port:
            http = self._bound(wiring)
            self._http.stop()
            return http
        self._http.stop()  # else it would be in its own way
        try:
            return self._bound(wiring)
        except CachesyncError:
            self._http = self._bound(self._wiring)
            raise

    def _bound(self, wiring: Wiring) -> Http:
        """Listen where a configuration says."""
        config = wiring.config.http
        http = Http(
            config.host,
            config.port,
            config.base_path,
            health=self._health,
            status=self._status,
            metrics=lambda: (self._metrics.text(), CONTENT_TYPE),
        )
        http.start()
        _log.info("listening", url=http.url)
        return http

    def _health(self) -> Health:
        return health(self._state, self._daemon.index_trouble, self._wiring.config.http.max_lag, time.monotonic())

    def _status(self) -> dict[str, Any]:
        return status(self._state, self._daemon.index_trouble, self._wiring.config.http.max_lag, time.monotonic())

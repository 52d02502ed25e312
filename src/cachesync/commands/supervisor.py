"""Builds the service from the configuration, and replaces it when the configuration is reloaded."""

import gc
import time
from collections import Counter
from contextlib import suppress
from typing import Any, Final

from rich.cells import cell_len
from rich.text import Text
from starlette.types import ASGIApp

from cachesync.commands.components import Components
from cachesync.commands.listeners import listen, moved
from cachesync.commands.output import plural
from cachesync.errors import CachesyncError, IndexUnavailableError, PortTakenError, UsageError
from cachesync.index.connection_health import ConnectionHealth
from cachesync.log import get_logger, printable
from cachesync.service import systemd
from cachesync.service.daemon import Daemon, WatchOptions
from cachesync.service.endpoints import operators_endpoints
from cachesync.service.metrics import Metrics
from cachesync.service.schedule import Schedule
from cachesync.service.session import ServiceSettings
from cachesync.service.state import Health, ServiceState, health, in_sync, status
from cachesync.web.metrics import CONTENT_TYPE
from cachesync.web.server import WebServer
from cachesync.web.site import build_site

_log = get_logger()

_STOP_SECONDS: Final = 15.0
"""How long to wait at the end for unanswered requests to the index. Its client would give up after 30 seconds."""

_CHANGE_SECONDS: Final = 0.1
_WAIT_SECONDS: Final = 1.0

_PORT_TRIES: Final = 4
"""How often, a second apart, to check whether the process on our port is the index's service: it may be starting."""


class Supervisor:
    """Runs one daemon per configuration, one after the other, with state, metrics and HTTP that outlive them."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._state = ServiceState()
        self._retries: Counter[str] = Counter()
        self._metrics = Metrics(self._state, self._health, self._retries)
        self._daemon = self._make_daemon(components)
        self._next: Daemon | None = None
        self._http = self._make_web_server(components)
        self._listen_or_stand_by()

    @property
    def is_alive(self) -> bool:
        """Whether the service is running or is about to run under a new configuration."""
        return self._daemon.is_alive or self._next is not None

    @property
    def refusal(self) -> UsageError | None:
        """Why the service ended, if its configuration turned out to be invalid."""
        return self._daemon.refusal

    @property
    def tend_within(self) -> float:
        """In how many seconds at the latest :meth:`tend` must be called again."""
        if self._next:
            return _CHANGE_SECONDS
        if self._state.role == "starting" or not self._http.is_started:
            return min(_WAIT_SECONDS, self._daemon.beat_every)
        return self._daemon.beat_every

    def processes(self) -> list[int | None]:
        """Return the child processes whose exit the service itself waits for."""
        return [self._daemon.watcher_pid]

    def start(self) -> None:
        """Start the service."""
        self._daemon.start()

    def stop(self) -> None:
        """Finish the requests in flight and stop; log it if one is still unanswered."""
        systemd.stopping()
        _log.info("stopping", action="service.stopping")
        self._daemon.end()
        over = self._daemon.join(_STOP_SECONDS)
        self._http.stop()
        if over:
            _log.info("stopped", action="service.stopped")
        else:
            _log.warning(
                "stopped although a request is not answered yet; the next start completes its work",
                action="service.stop_timed_out",
            )

    def reload(self) -> None:
        """Read the configuration again and begin to stop the current daemon. If it is invalid, change nothing."""
        systemd.reloading()
        try:
            components = self._components.again()
            daemon = self._make_daemon(components)
            self._http = self._reconfigured_http(components)
        except CachesyncError as error:
            _log.error(
                "the new configuration is refused; the previous one stays in force",
                action="config.refused",
                reason=str(error),
            )
            systemd.ready()
        else:
            components.set_up_log()
            self._components = components
            self._next = daemon
            self._daemon.end()

    def tend(self) -> None:
        """Start the next daemon once the previous one has ended, and HTTP once its port is free."""
        self._daemon.beat()
        if not self._http.is_started:
            with suppress(UsageError):
                listen(self._http)
        if self._next and self._daemon.join(0):
            has_served = self._daemon.has_served
            self._daemon, self._next = self._next, None
            gc.collect()  # the previous daemon's objects refer to each other in cycles
            self._daemon.start(has_served=has_served)
            _log.info("the configuration was read again", action="config.reloaded")
            systemd.ready()

    def line(self, width: int) -> str:
        """Return the service's state and URL as a line of at most ``width`` characters."""
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
        if state.withheld:
            parts.append(f"{plural(len(state.withheld), 'page')} withheld")
        if state.problems:
            parts.append(plural(len(state.problems), "problem"))
        if state.warnings:
            parts.append(plural(len(state.warnings), "warning"))
        return _fit(" · ".join(parts), self._http.url if self._http.is_started else "no HTTP", width)

    def _make_daemon(self, components: Components) -> Daemon:
        """Make the daemon of a configuration. It does nothing until it is started."""
        config = components.config
        settings = ServiceSettings(
            source=components.source,
            guard=components.guard,
            schedule=Schedule(config.schedule.reindex, config.schedule.timezone),
            rescan_interval=config.watch.rescan_interval,
            auto_reindex=config.index.auto_reindex,
        )
        watch = WatchOptions(config.watch.mode, config.watch.debounce, config.watch.debounce_max)
        health = ConnectionHealth(self._metrics.bulk, retries=self._retries)
        return Daemon(settings, watch, components.index_with(health), self._state, self._metrics, health)

    def _reconfigured_http(self, components: Components) -> WebServer:
        """Return the web server as a new configuration requires it. On failure nothing changes."""
        before, now = self._components.config.http, components.config.http
        if (before.host, before.port) != (now.host, now.port):
            return moved(self._http, self._make_web_server(components))
        self._http.answer_with(self._site(components), now.base_path)
        return self._http

    def _listen_or_stand_by(self) -> None:
        """Start to listen; if the port is taken while a service has the index, stand by without HTTP.

        Raises:
            UsageError: the port is taken although no service has the index, or it can't be used at all.
            IndexUnavailableError: the port is taken, and whether a service has the index can't be determined.
        """
        for left in reversed(range(_PORT_TRIES)):
            try:
                listen(self._http)
            except PortTakenError as error:
                if self._has_service(error):
                    _log.warning(
                        "standing by without HTTP until its port is free", action="http.port_taken", reason=str(error)
                    )
                    return
                if not left:
                    raise
                time.sleep(_WAIT_SECONDS)
            else:
                return

    def _has_service(self, taken: PortTakenError) -> bool:
        """Whether a service has the index."""
        try:
            return self._components.index.status().service
        except IndexUnavailableError as error:
            message = f"{taken}\ncannot determine whether that is a service of this index: {error}"
            raise IndexUnavailableError(message) from None
        finally:
            self._components.index.close()

    def _make_web_server(self, components: Components) -> WebServer:
        config = components.config.http
        return WebServer(config.host, config.port, self._site(components), config.base_path)

    def _site(self, components: Components) -> ASGIApp:
        """Return the web application. It opens an index of its own, so that searches don't hold up the service."""
        config = components.config.http
        own = operators_endpoints(self._health, self._status, lambda: (self._metrics.text(), CONTENT_TYPE))
        return build_site(
            config.base_path, own, components.api(is_public=False), config.allow_origins, self._metrics.web.answered
        )

    def _health(self) -> Health:
        daemon = self._daemon
        max_lag = self._components.config.http.max_lag
        return health(self._state, daemon.index_trouble, max_lag, time.monotonic(), daemon.awaited)

    def _status(self) -> dict[str, Any]:
        daemon = self._daemon
        max_lag = self._components.config.http.max_lag
        return status(self._state, daemon.index_trouble, max_lag, time.monotonic(), daemon.awaited)


def _fit(state: str, address: str, width: int) -> str:
    """Join a state and an address, and truncate the state if there is no room for both in full."""
    ending = f" · {printable(address)}"
    room = width - cell_len(ending)
    if room < 1:
        return printable(address)
    text = Text(printable(state))
    text.truncate(room, overflow="ellipsis")
    return text.plain + ending

"""The service, put together from a configuration, and again whenever that is read anew."""

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
from cachesync.service.loop import LoopSettings
from cachesync.service.metrics import Metrics
from cachesync.service.schedule import Schedule
from cachesync.service.state import Health, ServiceState, health, in_sync, status
from cachesync.web.metrics import CONTENT_TYPE
from cachesync.web.server import WebServer
from cachesync.web.site import build_site

_log = get_logger()

_STOP_SECONDS: Final = 15.0
"""How long to wait at the end for requests that nobody answers. A client would give up after 30."""

_CHANGE_SECONDS: Final = 0.1
_WAIT_SECONDS: Final = 1.0

_PORT_TRIES: Final = 4
"""How often, a second apart, to look whether who has the port becomes the index's service: it may have just begun."""


class Supervisor:
    """What runs under one configuration after the other, and what stays meanwhile."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._state = ServiceState()
        self._retries: Counter[str] = Counter()
        self._metrics = Metrics(self._state, self._health, self._retries)
        self._daemon = self._made(components)
        self._next: Daemon | None = None
        self._http = self._web(components)
        self._listen_first()

    @property
    def is_alive(self) -> bool:
        """It is at work, or is just being made anew."""
        return self._daemon.is_alive or self._next is not None

    @property
    def refusal(self) -> UsageError | None:
        """Why it has ended, if its configuration can't be used after all."""
        return self._daemon.refusal

    @property
    def patience(self) -> float:
        """In how many seconds at the latest to :meth:`tend` to it again."""
        if self._next:
            return _CHANGE_SECONDS
        if self._state.role == "starting" or not self._http.is_started:
            return min(_WAIT_SECONDS, self._daemon.beat_every)
        return self._daemon.beat_every

    def processes(self) -> list[int | None]:
        """Return the processes that it has started and waits for."""
        return [self._daemon.watcher_pid]

    def start(self) -> None:
        """Begin."""
        self._daemon.start()

    def stop(self) -> None:
        """Finish what is in flight, and end; tell if not all of it is over."""
        systemd.stopping()
        _log.info("stopping")
        self._daemon.end()
        over = self._daemon.join(_STOP_SECONDS)
        self._http.stop()
        if over:
            _log.info("stopped")
        else:
            _log.warning("stopped, though a request is not answered yet; what it was about is done by the next start")

    def reload(self) -> None:
        """Read the configuration again. One that is refused changes nothing; else the one before begins to end."""
        systemd.reloading()
        try:
            components = self._components.again()
            daemon = self._made(components)
            self._http = self._moved(components)
        except CachesyncError as error:
            _log.error("the new configuration is refused; the one before stays in force", reason=str(error))
            systemd.ready()
        else:
            components.set_up_log()
            self._components = components
            self._next = daemon
            self._daemon.end()

    def tend(self) -> None:
        """Let a new configuration begin when the one before has ended, and HTTP when its port is free."""
        self._daemon.beat()
        if not self._http.is_started:
            with suppress(UsageError):
                listen(self._http)
        if self._next and self._daemon.join(0):
            has_served = self._daemon.has_served
            self._daemon, self._next = self._next, None
            gc.collect()  # what belonged to the one before is held together by itself
            self._daemon.start(has_served=has_served)
            _log.info("the configuration was read again")
            systemd.ready()

    def line(self, width: int) -> str:
        """Say in a line that is ``width`` characters wide at most how the service fares, and where to ask it more."""
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
            parts.append(f"{plural(len(state.withheld), 'page')} held back")
        if state.problems:
            parts.append(plural(len(state.problems), "problem"))
        if state.warnings:
            parts.append(plural(len(state.warnings), "warning"))
        return _fitting(" · ".join(parts), self._http.url if self._http.is_started else "no HTTP", width)

    def _made(self, components: Components) -> Daemon:
        """Make a daemon of a configuration. It touches nothing before it is started."""
        config = components.config
        settings = LoopSettings(
            source=components.source,
            guard=components.guard,
            schedule=Schedule(config.schedule.reindex, config.schedule.timezone),
            rescan_interval=config.watch.rescan_interval,
            auto_reindex=config.index.auto_reindex,
        )
        watch = WatchOptions(config.watch.mode, config.watch.debounce, config.watch.debounce_max)
        health = ConnectionHealth(self._metrics.bulk, retries=self._retries)
        return Daemon(settings, watch, components.index_with(health), self._state, self._metrics, health)

    def _moved(self, components: Components) -> WebServer:
        """Answer by a new configuration, and listen where it says. What can't be done leaves all as it was."""
        before, now = self._components.config.http, components.config.http
        if (before.host, before.port) != (now.host, now.port):
            return moved(self._http, self._web(components))
        self._http.answer_with(self._site(components), now.base_path)
        return self._http

    def _listen_first(self) -> None:
        """Listen, but where the port is taken and a service has the index, leave both for when that ends.

        Raises:
            UsageError: it is taken without such a service, or can't be used at all.
            IndexUnavailableError: it is taken, and whether there is such a service can't be told.
        """
        for left in reversed(range(_PORT_TRIES)):
            try:
                listen(self._http)
            except PortTakenError as error:
                if self._is_served(error):
                    _log.warning("standing by without HTTP until its port is free", reason=str(error))
                    return
                if not left:
                    raise
                time.sleep(_WAIT_SECONDS)
            else:
                return

    def _is_served(self, taken: PortTakenError) -> bool:
        """Tell whether a service has the index."""
        try:
            return self._components.index.status().service
        except IndexUnavailableError as error:
            raise IndexUnavailableError(f"{taken}\nwhether by a service of this index can't be told: {error}") from None
        finally:
            self._components.index.close()

    def _web(self, components: Components) -> WebServer:
        """Make a web server of a configuration."""
        config = components.config.http
        return WebServer(config.host, config.port, self._site(components), config.base_path)

    def _site(self, components: Components) -> ASGIApp:
        """Return what answers over HTTP. It has an index of its own, so that no search is in the service's way."""
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


def _fitting(told: str, address: str, width: int) -> str:
    """Put an address behind what is told, which is cut where there is no room. The address is needed whole."""
    ending = f" · {printable(address)}"
    room = width - cell_len(ending)
    if room < 1:
        return printable(address)
    text = Text(printable(told))
    text.truncate(room, overflow="ellipsis")
    return text.plain + ending

"""Runs the service: starts it, reloads its configuration on SIGHUP, and stops it."""

import gc
import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from cachesync.errors import CachesyncError, UsageError
from cachesync.index.connection_health import ConnectionHealth
from cachesync.log import get_logger
from cachesync.service import systemd
from cachesync.service.daemon import Daemon
from cachesync.service.metrics import Metrics
from cachesync.service.options import ServiceOptions
from cachesync.service.orphans import reap
from cachesync.service.state import Health, ServiceState, health, status
from cachesync.service.web_server import ServiceWebServer, operators_endpoints

_log = get_logger()

STOP_SECONDS: Final = 15.0
"""How long a stop waits for unanswered requests to the index. The index's client would give up after 30 seconds."""

_CHANGE_SECONDS: Final = 0.1
_WAIT_SECONDS: Final = 1.0


class Supervisor:
    """Runs one daemon per configuration, one after another. State, metrics and HTTP outlive the daemons."""

    def __init__(self, options: ServiceOptions, load: Callable[[], ServiceOptions]) -> None:
        """Create the first daemon and listen for HTTP; ``load`` rereads the configuration.

        Raises:
            CachesyncError: HTTP can't be served, see :class:`.ServiceWebServer`.
        """
        self.state = ServiceState()
        """The state of the service, for display."""
        self._options = options
        self._load = load
        self._retries: Counter[str] = Counter()
        self._metrics = Metrics(self.state, self._health, self._retries)
        self._daemon = self._make_daemon(options)
        self._next: Daemon | None = None
        own = operators_endpoints(self._health, self._status, self._metrics.text)
        self._http = ServiceWebServer(options, own, self._metrics.web.answered)

    @property
    def is_alive(self) -> bool:
        """Whether the service is running, or is about to run under a new configuration."""
        return self._daemon.is_alive or self._next is not None

    @property
    def refusal(self) -> UsageError | None:
        """Why the service stopped, if its configuration turned out to be invalid."""
        return self._daemon.refusal

    @property
    def index_trouble(self) -> str | None:
        """Why the index is unavailable, or None if it is available."""
        return self._daemon.health.trouble

    @property
    def url(self) -> str | None:
        """The URL at which HTTP is served; None while HTTP isn't served."""
        return self._http.url

    @property
    def tend_within(self) -> float:
        """The maximum number of seconds until the next call of :meth:`tend`."""
        if self._next:
            return _CHANGE_SECONDS
        is_waiting = self.state.role == "starting" or self.url is None
        return min(_WAIT_SECONDS if is_waiting else math.inf, self._daemon.pulse.every)

    def start(self) -> None:
        """Start the service."""
        self._daemon.start()

    def stop(self) -> None:
        """Finish the requests in flight and stop the service; log a warning if a request is still unanswered."""
        systemd.stopping()
        _log.info("stopping", action="service.stopping")
        self._daemon.end()
        over = self._daemon.join(STOP_SECONDS)
        self._http.stop()
        if over:
            _log.info("stopped", action="service.stopped")
        else:
            _log.warning(
                "stopped although a request is not answered yet; the next start completes its work",
                action="service.stop_timed_out",
            )

    def reload(self) -> None:
        """Reread the configuration and begin to stop the current daemon. An invalid configuration changes nothing."""
        systemd.reloading()
        try:
            options = self._load()
            daemon = self._make_daemon(options)
            self._http.reconfigure(options)
        except CachesyncError as error:
            _log.error(
                "the new configuration is refused; the previous one stays in force",
                action="config.refused",
                reason=str(error),
            )
            systemd.ready()
        else:
            options.set_up_log()
            self._options = options
            self._next = daemon
            self._daemon.end()

    def tend(self) -> None:
        """Start the next daemon once the previous one has stopped, and HTTP once its port is free. Reap orphans."""
        reap(lambda: [self._daemon.watcher_pid])
        self._daemon.beat()
        self._http.try_again()
        if self._next and self._daemon.join(0):
            has_served = self._daemon.has_served
            self._daemon, self._next = self._next, None
            gc.collect()  # the previous daemon's objects refer to each other in cycles
            self._daemon.start(has_served=has_served)
            _log.info("the configuration was read again", action="config.reloaded")
            systemd.ready()

    def _make_daemon(self, options: ServiceOptions) -> Daemon:
        """Return the daemon for a configuration. The daemon does nothing until it is started."""
        health = ConnectionHealth(self._metrics.bulk, retries=self._retries)
        return Daemon(options, options.open_index(health), self.state, self._metrics, health)

    def _health(self) -> Health:
        max_lag, awaited = self._options.max_lag, self._daemon.pulse.awaited
        return health(self.state, self.index_trouble, max_lag, time.monotonic(), awaited)

    def _status(self) -> dict[str, Any]:
        max_lag, awaited = self._options.max_lag, self._daemon.pulse.awaited
        return status(self.state, self.index_trouble, max_lag, time.monotonic(), awaited)

"""The web servers that `cachesync serve` runs over an index that it only reads."""

import contextlib
import gc
import threading

from starlette.requests import Request
from starlette.responses import Response

from cachesync.commands.components import Components
from cachesync.errors import CachesyncError
from cachesync.log import get_logger
from cachesync.service import systemd
from cachesync.web.api import Api
from cachesync.web.app import build_app
from cachesync.web.endpoint import Endpoint
from cachesync.web.metrics import CONTENT_TYPE, ServerMetrics
from cachesync.web.public import PublicStatus
from cachesync.web.searcher import Searcher
from cachesync.web.server import WebServer, listen, moved
from cachesync.web.site import build_site

_log = get_logger()


class WebService:
    """The public web server and, if it is configured, the operators' web server with metrics."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._metrics = ServerMetrics()
        api = components.api(is_public=True)
        self._searcher = api.searcher
        self._server = self._make_server(components, api)
        self._operators = self._make_operators_server(components)

    def start(self) -> None:
        """Start serving.

        Raises:
            UsageError: the configuration is invalid, or a port is taken.
        """
        for server in filter(None, (self._server, self._operators)):
            listen(server)
        systemd.ready()
        threading.Thread(target=_try_index, args=(self._searcher,), name="first look", daemon=True).start()

    def reload(self) -> None:
        """Reread the configuration. An invalid configuration changes nothing."""
        systemd.reloading()
        try:
            components = self._components.again()
            self._reconfigure(components)
        except CachesyncError as error:
            _log.error(
                "the new configuration is refused; the previous one stays in force",
                action="config.refused",
                reason=str(error),
            )
        else:
            components.set_up_log()
            self._components = components
            # The previous application's objects, including its threads and index, refer to each other in cycles. The
            # application isn't closed: closing it would break requests in flight, which may be long exports.
            gc.collect()
            _log.info("the configuration was read again", action="config.reloaded")
        systemd.ready()

    def _reconfigure(self, components: Components) -> None:
        """Serve under another configuration. A failure changes nothing."""
        operators = _replace(self._operators, self._make_operators_server(components))
        try:
            self._server = moved(self._server, self._make_server(components, components.api(is_public=True)))
        except CachesyncError:
            _replace(operators, self._operators)
            raise
        self._operators = operators

    def stop(self) -> None:
        """Stop the servers, each within two seconds."""
        systemd.stopping()
        for server in filter(None, (self._server, self._operators)):
            server.stop()
        _log.info("stopped", action="service.stopped")

    def _make_server(self, components: Components, api: Api) -> WebServer:
        config = components.config.http
        own = PublicStatus(api.searcher, config.max_lag).endpoints()
        site = build_site(config.base_path, own, api, config.allow_origins, self._metrics.web.answered)
        return WebServer(config.host, config.port, site, config.base_path)

    def _make_operators_server(self, components: Components) -> WebServer | None:
        """Return the server of metrics; None if it isn't configured."""
        address = components.config.http.metrics
        if address is None:
            return None
        host, _, port = address.rpartition(":")

        async def measured(_request: Request) -> Response:
            return Response(self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

        app = build_app("", [Endpoint("/metrics", measured)])
        return WebServer(host.strip("[]"), int(port), app, keys=("http.metrics", "http.metrics"))


def _try_index(searcher: Searcher) -> None:
    """Try the index before the first request, so that the log immediately reports an index that can't be searched."""
    with contextlib.suppress(CachesyncError):
        searcher.overview()


def _replace(before: WebServer | None, now: WebServer | None) -> WebServer | None:
    """Stop one server, start another in its place, and return the other. Either server may be None."""
    if before is not None and now is not None:
        return moved(before, now)
    if before is not None:
        before.stop()
    return listen(now) if now is not None else None

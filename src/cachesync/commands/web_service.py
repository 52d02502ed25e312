"""What `cachesync serve` runs: a web server over an index that it only reads."""

import contextlib
import gc
import threading

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from cachesync.commands.components import Components
from cachesync.commands.listeners import listen, moved
from cachesync.errors import CachesyncError
from cachesync.log import get_logger
from cachesync.service import systemd
from cachesync.web.app import build_app
from cachesync.web.endpoint import Endpoint
from cachesync.web.metrics import CONTENT_TYPE, ServerMetrics
from cachesync.web.public import PublicStatus
from cachesync.web.searcher import Searcher
from cachesync.web.server import WebServer
from cachesync.web.site import build_site

_log = get_logger()


class WebService:
    """The web server, and what answers there."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._metrics = ServerMetrics()
        self._server = self._made(components)
        self._operators = self._made_for_operators(components)

    def start(self) -> None:
        """Serve from now on.

        Raises:
            UsageError: the configuration can't be used, or the port is taken.
        """
        for server in self._servers():
            listen(server)
        systemd.ready()
        threading.Thread(target=_look_at, args=(self._searcher,), name="first look", daemon=True).start()

    def _servers(self) -> list[WebServer]:
        return [each for each in (self._server, self._operators) if each]

    def reload(self) -> None:
        """Read the configuration again. One that is refused changes nothing."""
        systemd.reloading()
        try:
            components = self._components.again()
            self._take(components)
        except CachesyncError as error:
            _log.error("the new configuration is refused; the one before stays in force", reason=str(error))
        else:
            components.set_up_log()
            self._components = components
            # What answered before is held together by itself, threads and index included. It ends here, but for
            # requests under way, which may take as long as an export does: closing it would break them.
            gc.collect()
            _log.info("the configuration was read again")
        systemd.ready()

    def _take(self, components: Components) -> None:
        """Serve as another configuration says. What can't be done leaves all as it was."""
        before, now = self._components.config.http, components.config.http
        operators = self._operators
        if before.metrics != now.metrics:
            operators = _instead_of(self._operators, self._made_for_operators(components))
        try:
            if (before.host, before.port) != (now.host, now.port):
                self._server = moved(self._server, self._made(components))
            else:
                self._server.answer_with(self._app(components), now.base_path)
        except CachesyncError:
            if operators is not self._operators:
                _instead_of(operators, self._operators)
            raise
        self._operators = operators

    def stop(self) -> None:
        """End within two seconds each."""
        systemd.stopping()
        for server in self._servers():
            server.stop()
        _log.info("stopped")

    def _made(self, components: Components) -> WebServer:
        config = components.config.http
        return WebServer(config.host, config.port, self._app(components), config.base_path)

    def _app(self, components: Components) -> ASGIApp:
        config = components.config.http
        api = components.api(is_public=True)
        self._searcher = api.searcher
        own = PublicStatus(api.searcher, config.max_lag).endpoints()
        return build_site(config.base_path, own, api, config.allow_origins, self._metrics.web.answered)

    def _made_for_operators(self, components: Components) -> WebServer | None:
        """Make what serves metrics, where the configuration says."""
        address = components.config.http.metrics
        if address is None:
            return None
        host, _, port = address.rpartition(":")

        async def measured(_request: Request) -> Response:
            return Response(self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

        app = build_app("", [Endpoint("/metrics", measured)])
        return WebServer(host.strip("[]"), int(port), app, keys=("http.metrics", "http.metrics"))


def _look_at(searcher: Searcher) -> None:
    """Look whether there is an index before anybody asks: the log says why not."""
    with contextlib.suppress(CachesyncError):
        searcher.overview()


def _instead_of(before: WebServer | None, now: WebServer | None) -> WebServer | None:
    """Let a server listen in place of another one, where there are both."""
    if before is not None and now is not None:
        return moved(before, now)
    if before is not None:
        before.stop()
    return listen(now) if now is not None else None

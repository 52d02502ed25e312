"""The service's web server: it outlives daemons, moves when host or port change, and may have to wait for its port."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp

from cachesync.errors import IndexUnavailableError, PortTakenError, UsageError
from cachesync.log import get_logger
from cachesync.service.options import ServiceOptions
from cachesync.web.app import Observer
from cachesync.web.endpoint import Endpoint
from cachesync.web.server import WebServer, listen, moved
from cachesync.web.site import build_site

_log = get_logger()

_PORT_TRIES: Final = 4
"""How often, a second apart, to check whether the process on our port is the index's service: it may be starting."""

_RETRY_SECONDS: Final = 1.0


class ServiceWebServer:
    """The web server of the page, the API and the operators' endpoints."""

    def __init__(self, options: ServiceOptions, own: Sequence[Endpoint], observe: Observer) -> None:
        """Start to listen; if the port is taken while a service has the index, stand by without HTTP.

        Args:
            options: the configuration.
            own: the operators' endpoints.
            observe: is called after each response.

        Raises:
            UsageError: the port is taken although no service has the index, or it can't be used at all.
            IndexUnavailableError: the port is taken, and whether a service has the index can't be determined.
        """
        self._own = own
        self._observe = observe
        self._http = options.http
        self._server = self._make(options)
        for left in reversed(range(_PORT_TRIES)):
            try:
                listen(self._server)
            except PortTakenError as error:
                if _has_service(options, error):
                    _log.warning(
                        "standing by without HTTP until its port is free", action="http.port_taken", reason=str(error)
                    )
                    return
                if not left:
                    raise
                time.sleep(_RETRY_SECONDS)
            else:
                return

    @property
    def url(self) -> str | None:
        """Its URL; None while its port is taken."""
        return self._server.url if self._server.is_started else None

    def try_again(self) -> None:
        """Start to listen if the port is free now."""
        if not self._server.is_started:
            with suppress(UsageError):
                listen(self._server)

    def reconfigure(self, options: ServiceOptions) -> None:
        """Serve under another configuration. On failure nothing changes.

        Raises:
            UsageError: host or port can't be used.
        """
        before, now = self._http, options.http
        if (before.host, before.port) != (now.host, now.port):
            self._server = moved(self._server, self._make(options))
        else:
            self._server.answer_with(self._site(options), now.base_path)
        self._http = now

    def stop(self) -> None:
        """Stop within two seconds, whatever clients do."""
        self._server.stop()

    def _make(self, options: ServiceOptions) -> WebServer:
        http = options.http
        return WebServer(http.host, http.port, self._site(options), http.base_path)

    def _site(self, options: ServiceOptions) -> ASGIApp:
        http = options.http
        return build_site(http.base_path, self._own, options.open_api(), http.allow_origins, self._observe)


def _has_service(options: ServiceOptions, taken: PortTakenError) -> bool:
    """Whether a service has the index."""
    index = options.open_index(None)
    try:
        return index.status().service
    except IndexUnavailableError as error:
        message = f"{taken}\ncannot determine whether that is a service of this index: {error}"
        raise IndexUnavailableError(message) from None
    finally:
        index.close()

"""The operators' endpoints, and the web server, which outlives daemons, can move, and may have to wait for its port."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from cachesync.errors import IndexUnavailableError, PortTakenError, UsageError
from cachesync.log import get_logger
from cachesync.service.options import ServiceOptions
from cachesync.service.state import Health
from cachesync.web.app import Observer
from cachesync.web.endpoint import Endpoint, json_answer
from cachesync.web.health import ALIVE, READY, STATUS
from cachesync.web.metrics import CONTENT_TYPE
from cachesync.web.openapi import TEXT, content, operation
from cachesync.web.server import WebServer, listen, moved
from cachesync.web.site import build_site

_log = get_logger()

_PORT_TRIES: Final = 4
"""How often, a second apart, to check whether the port's process is a service of the index, which may be starting."""

_RETRY_SECONDS: Final = 1.0

_METRICS: Final = operation("Metrics for Prometheus, in its text format", content(TEXT, "text/plain"))


def operators_endpoints(
    health: Callable[[], Health], status: Callable[[], Mapping[str, Any]], metrics: Callable[[], bytes]
) -> list[Endpoint]:
    """Return the endpoints for operators.

    ``health`` returns whether the service is ready, ``status`` returns the object of ``/api/status``, and ``metrics``
    returns the metrics. The web server's own thread calls these functions, so they must not block.
    """

    async def ready(_request: Request) -> Response:
        found = health()
        return json_answer(found._asdict(), HTTPStatus.OK if found.ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def measured(_request: Request) -> Response:
        return Response(metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def known(_request: Request) -> Response:
        return json_answer(status())

    return [
        ALIVE,
        Endpoint("/readyz", ready, READY),
        Endpoint("/metrics", measured, _METRICS),
        Endpoint("/api/status", known, STATUS),
    ]


class ServiceWebServer:
    """The web server of the web page, the API and the operators' endpoints."""

    def __init__(self, options: ServiceOptions, own: Sequence[Endpoint], observe: Observer) -> None:
        """Listen on the port, or stand by without HTTP if the port is taken and a service is the index's writer.

        ``own`` are the operators' endpoints, and ``observe`` is called after each response.

        Raises:
            UsageError: the port is taken although no service is the writer, or listening fails for another reason.
            IndexUnavailableError: the port is taken, and whether a service is the writer can't be determined.
        """
        self._own = own
        self._observe = observe
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
        """The server's URL; None while its port is taken."""
        return self._server.url if self._server.is_started else None

    def try_again(self) -> None:
        """Listen on the port if it is now free."""
        if not self._server.is_started:
            with suppress(UsageError):
                listen(self._server)

    def reconfigure(self, options: ServiceOptions) -> None:
        """Serve under another configuration. A failure changes nothing.

        Raises:
            UsageError: listening on the new host and port fails.
        """
        self._server = moved(self._server, self._make(options))

    def stop(self) -> None:
        """Stop within two seconds, whatever clients do."""
        self._server.stop()

    def _make(self, options: ServiceOptions) -> WebServer:
        site = build_site(options.base_path, self._own, options.open_api(), options.allow_origins, self._observe)
        return WebServer(options.host, options.port, site, options.base_path)


def _has_service(options: ServiceOptions, taken: PortTakenError) -> bool:
    """Whether a service is the index's writer."""
    index = options.open_index(None)
    try:
        return index.status().service
    except IndexUnavailableError as error:
        message = f"{taken}\ncannot determine whether that is a service of this index: {error}"
        raise IndexUnavailableError(message) from None
    finally:
        index.close()

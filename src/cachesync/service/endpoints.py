"""The HTTP endpoints for operators: readiness, metrics and the service's status."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from cachesync.service.state import Health
from cachesync.web.endpoint import Endpoint, json_answer
from cachesync.web.health import ALIVE, READY, STATUS
from cachesync.web.openapi import TEXT, content, operation

_METRICS: Final = operation("Metrics for Prometheus, in its text format", content(TEXT, "text/plain"))


def operators_endpoints(
    health: Callable[[], Health], status: Callable[[], Mapping[str, Any]], metrics: Callable[[], tuple[bytes, str]]
) -> list[Endpoint]:
    """Return the endpoints for operators.

    ``health`` returns whether the service is ready, ``status`` the object of ``/api/status``, ``metrics`` the metrics
    and their content type. The server's own thread calls them, so they must not block.
    """

    async def ready(_request: Request) -> Response:
        found = health()
        return json_answer(found._asdict(), HTTPStatus.OK if found.ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def measured(_request: Request) -> Response:
        text, content_type = metrics()
        return Response(text, headers={"Content-Type": content_type})

    async def known(_request: Request) -> Response:
        return json_answer(status())

    return [
        ALIVE,
        Endpoint("/readyz", ready, READY),
        Endpoint("/metrics", measured, _METRICS),
        Endpoint("/api/status", known, STATUS),
    ]

"""The endpoints for liveness and the API's description, and descriptions of the readiness and status endpoints."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from cachesync.web.endpoint import Endpoint, Operation, json_answer
from cachesync.web.openapi import HEALTH, content, described, operation

_ANY: Final = content({"type": "object"})


def _or_unready(summary: str, answers: Mapping[str, Any]) -> Operation:
    ready = operation(summary, answers)
    unready = {
        "description": "The index isn't ready or can't be reached; `reason` says why.",
        "content": content(HEALTH),
    }
    return {**ready, "responses": {**ready["responses"], "503": unready}}


READY: Final = _or_unready("Can searches rely on the index? `degraded` lists what needs attention", content(HEALTH))
STATUS: Final = _or_unready("What the index holds, and how up to date it is", _ANY)
_ITSELF: Final = operation("This description, in OpenAPI 3.1", _ANY)


async def _alive(_request: Request) -> Response:
    return json_answer({"status": "alive"})


ALIVE: Final = Endpoint("/healthz", _alive, operation("Is the process alive?", _ANY), is_free=True)
"""The endpoint that answers as long as the process is alive."""


def with_description(base_path: str, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Return the endpoints, and one more that describes all of them in OpenAPI."""

    async def itself(_request: Request) -> Response:
        return json_answer(description)

    every = [*endpoints, Endpoint("/openapi.json", itself, _ITSELF)]
    description = described(base_path, every)
    return every

"""What is asked of any server: is it alive, may one rely on it, and what else can be asked."""

from collections.abc import Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from cachesync.web.endpoint import Endpoint, Operation, json_answer
from cachesync.web.openapi import HEALTH, content, described, operation

_ANY: Final = content({"type": "object"})
_UNREADY: Final = {
    "503": {
        "description": "Nobody can rely on it, or it can't be asked; `reason` says why.",
        "content": content(HEALTH),
    }
}
_RELIABLE: Final = operation(
    "Can searches rely on the index? `degraded` says what somebody should look after", content(HEALTH)
)

_KNOWN: Final = operation("What the index holds, and how fresh it is", _ANY)

READY: Final[Operation] = {**_RELIABLE, "responses": {**_RELIABLE["responses"], **_UNREADY}}
STATUS: Final[Operation] = {**_KNOWN, "responses": {**_KNOWN["responses"], **_UNREADY}}
_ALIVE: Final = operation("Is the process alive?", _ANY)
_ITSELF: Final = operation("This description, in OpenAPI 3.1", _ANY)


async def _alive(_request: Request) -> Response:
    return json_answer({"status": "alive"})


def alive() -> Endpoint:
    """Return where it is asked whether the process is alive."""
    return Endpoint("/healthz", _alive, _ALIVE, is_free=True)


def with_description(base_path: str, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Return endpoints, and one that describes them and itself."""
    description: dict[str, Any] = {}

    async def itself(_request: Request) -> Response:
        return json_answer(description)

    every = [*endpoints, Endpoint("/openapi.json", itself, _ITSELF)]
    description |= described(base_path, every)
    return every

"""The health and status endpoints of ``cachesync serve``. They are public, so they reveal nothing about the engine."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from cachesync.errors import CachesyncError
from cachesync.web.admission import Admission
from cachesync.web.endpoint import Endpoint, json_answer
from cachesync.web.health import ALIVE, READY, STATUS
from cachesync.web.searcher import Overview, Searcher

_AT_ONCE: Final = 2
_SECONDS: Final = 2.0
"""How many seconds the index may take to answer before it counts as not ready."""


class PublicStatus:
    """The endpoints for liveness, readiness and status."""

    def __init__(self, searcher: Searcher, max_lag: float) -> None:
        """``max_lag`` is the lag in seconds from which the index counts as degraded."""
        self._searcher = searcher
        self._max_lag = max_lag
        self._admission = Admission("status", _AT_ONCE, _SECONDS)

    def endpoints(self) -> list[Endpoint]:
        """Return the three endpoints."""
        return [
            ALIVE,
            Endpoint("/readyz", partial(self._answered, self._readiness), READY),
            Endpoint("/api/status", partial(self._answered, self._status), STATUS),
        ]

    async def _answered(self, shown: Callable[[Overview], dict[str, Any]], _request: Request) -> Response:
        """Return what ``shown`` makes of the index's overview, or 503 if the index can't be reached."""
        try:
            found = await self._admission.run(self._searcher.overview)
        except CachesyncError:
            return json_answer(_UNREADY, HTTPStatus.SERVICE_UNAVAILABLE)
        return json_answer(shown(found))

    def _readiness(self, state: Overview) -> dict[str, Any]:
        return {"ready": True, "reason": None, "degraded": self._degraded(state)}

    def _status(self, state: Overview) -> dict[str, Any]:
        note = state.freshness
        now = datetime.now(UTC)
        return {
            "specs": state.specs,
            "pages": state.pages,
            "in_sync": note.in_sync and not note.lag(now) if note and not note.is_finished else None,
            "lag_seconds": round(note.lag(now), 3) if note else None,
            "last_written": note.written if note else None,
            "service": note.is_followed(now) if note else None,
            "reindex_needed": state.outdated,
            "ready": True,
            "degraded": self._degraded(state),
        }

    def _degraded(self, state: Overview) -> list[str]:
        """Return stable identifiers, for monitoring, of what needs attention."""
        note = state.freshness
        is_behind = note and not note.is_finished and note.lag(datetime.now(UTC)) > self._max_lag
        found = [*(note.degraded if note else ()), *(["behind"] if is_behind else [])]
        return [*found, *(["outdated"] if state.outdated else [])]


_UNREADY: Final = {"ready": False, "reason": "not ready", "degraded": []}

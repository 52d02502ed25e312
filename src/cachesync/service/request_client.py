"""The command's side of requests: hand a request to the running service, or do the work here if there is none."""

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import msgspec

from cachesync.context import current, shielded
from cachesync.errors import CachesyncError, IndexUnavailableError, UsageError
from cachesync.index.base import Index
from cachesync.index.lifecycle import Writer
from cachesync.log import get_logger
from cachesync.service.requests import REQUEST, RESPONSE, SIGN, CommandRequest, Response
from cachesync.sync.passes import Progress
from cachesync.sync.scan import require_root

_log = get_logger()

WRITER_WAIT: Final = 60.0
"""How many seconds a writing command waits for another writer to finish, or for an unreachable index to respond."""

SIGN_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.2
_SERVICE_SILENT_SECONDS: Final = 15.0
"""A service without a heartbeat for this many seconds has stopped, because its lease is shorter."""

_BUSY_LOG_SECONDS: Final = 15.0
"""After how long a command logs that the service hasn't begun to carry out the request."""

_CLOSE_SECONDS: Final = 2.0


def carry_out(
    index: Index, request: CommandRequest, progress: Progress, here: Callable[[Writer, str | None], Response]
) -> Response:
    """Carry out a request in the running service or, if there is none, in this process, with the same outcome.

    ``here`` does the work in this process, given the writer and the generation that an earlier attempt was about to
    promote.

    Raises:
        CachesyncError: the request failed.
    """
    index.require_rights()
    response = ask(index, request, progress)
    if response.finished:
        return response
    if request.root:
        require_root(Path(request.root.configured))  # before the index creates anything on disk
    with ExitStack() as stack:
        try:
            writer = stack.enter_context(index.writer(WRITER_WAIT))
        except IndexUnavailableError:  # a service may have been started in the meantime
            again = ask(index, msgspec.structs.replace(request, generation=response.generation), progress)
            if again.finished:
                return again
            raise
        return here(writer, response.generation)


def ask(index: Index, request: CommandRequest, progress: Progress) -> Response:
    """Return the running service's response to a request, unfinished if no service is running or the service stops.

    Raises:
        CachesyncError: the service's error, or an error of the index.
    """
    status = index.status()
    if not status.service:
        return Response(generation=request.generation)
    asking = PendingRequest(index, request, progress)
    try:
        asking.begin()
        _log.info("handed to the running service", action="request.sent", command=request.command, holder=status.holder)
        response = asking.wait(status.sign)
    finally:
        asking.end()
    response.raise_failure()
    return response


class PendingRequest:
    """One request, as seen by the command that waits for the response."""

    def __init__(self, index: Index, request: CommandRequest, progress: Progress) -> None:
        self._index = index
        self._notes = index.notes()
        self._request = request
        self._progress = progress
        self._signs = 0
        self._response = self._none = Response(generation=request.generation)

    def begin(self) -> None:
        """Write the request and signal the service."""
        request = msgspec.structs.replace(self._request, generation=self._response.generation)
        self._notes.put(REQUEST + request.id, msgspec.json.encode(request))
        self._sign()
        self._index.signal()

    def wait(self, sign: str | None) -> Response:
        """Return the response once it is finished or the service has stopped. ``sign`` is the last known heartbeat."""
        now = started = time.monotonic()
        alive = answered = signed = now
        is_logged = False
        while True:
            try:
                self._poll()
                if self._response.finished:
                    return self._response
                if now - signed >= SIGN_SECONDS:
                    signed = now
                    self._keep_alive()
                    status = self._index.status()
                    if status.sign is None or status.sign != sign:
                        sign, alive = status.sign, now
                    if not status.service or now - alive > _SERVICE_SILENT_SECONDS:
                        self._poll()  # the final response may have arrived in the meantime
                        return self._response
                answered = now
                if not is_logged and now - started > _BUSY_LOG_SECONDS and self._response == self._none:
                    _log.info(
                        "the service is busy with something else; waiting for it",
                        action="request.waiting",
                        command=self._request.command,
                    )
                    is_logged = True
            except IndexUnavailableError:
                if now - answered > WRITER_WAIT:
                    raise
            current().wait(POLL_SECONDS)
            now = time.monotonic()

    def _keep_alive(self) -> None:
        """Write a heartbeat. Rewrite the request if the service dropped it while this process was suspended."""
        if self._notes.get(REQUEST + self._request.id) is None:
            self._poll()
            if not self._response.finished:
                self.begin()
        else:
            self._sign()

    def end(self) -> None:
        """Remove the request's notes. The service drops any notes that remain, because no more heartbeats follow."""
        for key in (REQUEST, SIGN, RESPONSE):
            with suppress(CachesyncError), shielded(_CLOSE_SECONDS):
                self._notes.remove(key + self._request.id)

    def _sign(self) -> None:
        self._signs += 1
        self._notes.put(SIGN + self._request.id, str(self._signs).encode())

    def _poll(self) -> None:
        text = self._notes.get(RESPONSE + self._request.id)
        if text is None:
            return
        try:
            self._response = msgspec.json.decode(text, type=Response)
        except msgspec.MsgspecError as error:
            raise UsageError(
                f"the service's response can't be parsed, since it is of another version ({error}): restart the service"
            ) from None
        if self._response.pages:
            self._progress(self._response.done, self._response.pages)

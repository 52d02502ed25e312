"""Starts web servers, and replaces a running one by another."""

from cachesync.errors import CachesyncError
from cachesync.log import get_logger
from cachesync.web.server import WebServer

_log = get_logger()


def listen(server: WebServer) -> WebServer:
    """Start a server, log its URL, and return it.

    Raises:
        UsageError: host or port can't be used: a PortTakenError if another process listens there now.
    """
    server.start()
    _log.info("listening", action="http.listening", url=server.url)
    return server


def moved(before: WebServer, now: WebServer) -> WebServer:
    """Return a server that serves as ``now`` in place of ``before``: ``before`` itself if the address is the same.

    On failure nothing changes.

    Raises:
        UsageError: host or port can't be used.
    """
    if before.address == now.address:
        before.answers = now.answers
        return before
    if before.port != now.port:
        listen(now)
        before.stop()
        return now
    before.stop()  # both need the same port
    try:
        return listen(now)
    except CachesyncError:
        listen(before)
        raise

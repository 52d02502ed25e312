"""How the web servers of commands begin to listen, and how one takes the place of another."""

from cachesync.errors import CachesyncError
from cachesync.log import get_logger
from cachesync.web.server import WebServer

_log = get_logger()


def listen(server: WebServer) -> WebServer:
    """Start a server, say where it listens, and return it.

    Raises:
        UsageError: host or port can't be used: a PortTakenError if another process has it now.
    """
    server.start()
    _log.info("listening", url=server.url)
    return server


def moved(before: WebServer, now: WebServer) -> WebServer:
    """Let a server listen in place of another one, and return it. What can't be done leaves all as it was.

    Raises:
        UsageError: host or port can't be used.
    """
    if before.port != now.port:
        listen(now)
        before.stop()
        return now
    before.stop()  # else it would be in its own way
    try:
        return listen(now)
    except CachesyncError:
        listen(before)
        raise

"""A server of Python's own, for as long as a test wants it."""

import contextlib
import threading
from collections.abc import Iterator
from socketserver import BaseServer
from typing import Final

_POLL_SECONDS: Final = 0.01
"""How soon it notices that it is to end."""


@contextlib.contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    """Serve in a thread until the block ends, and close it then."""
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

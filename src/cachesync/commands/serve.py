"""``cachesync serve``: the API and the page over an index that others keep."""

import signal
from typing import Final

import click

from cachesync.commands.components import Components
from cachesync.commands.signals import waited_for

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SECONDS: Final = 3_600.0


@click.command(short_help="Serve the API and the page over an index that others keep.")
@click.pass_obj
def serve(components: Components) -> int:
    """Answer searches over HTTP, by an API and a page, until SIGTERM or Ctrl-C.

    It only reads: a key that may only read is enough, and several may serve one index. SIGHUP reads the configuration
    again. What it tells is for everybody: /healthz, /readyz and /api/status name nothing of what is behind. Metrics
    are served only where http.metrics says. What is before it (a proxy) does TLS, authentication and limits by client.

    Exit codes: 0 ended by a signal, 2 wrong configuration, or the port is taken.
    """
    from cachesync.commands.web_service import WebService  # noqa: PLC0415  its libraries take a while to load

    with waited_for(_SIGNALS) as caught:
        site = WebService(components)
        site.start()
        try:
            while True:
                numbers = caught(_SECONDS)
                if signal.SIGTERM in numbers or signal.SIGINT in numbers:
                    return 0
                if signal.SIGHUP in numbers:
                    site.reload()
        finally:
            site.stop()

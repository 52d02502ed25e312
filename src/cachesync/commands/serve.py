"""``cachesync serve``: serve the API and the web page from an existing index."""

import signal
from typing import Final

import click

from cachesync.commands.components import Components
from cachesync.commands.signals import catching

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_WAIT_SECONDS: Final = 3_600.0


@click.command(short_help="Serve the API and the web page from an existing index.")
@click.pass_obj
def serve(components: Components) -> int:
    """Serve searches over HTTP, with an API and a web page, until SIGTERM or Ctrl-C.

    It only reads the index: a read-only API key suffices, and several servers can share one index. SIGHUP reloads the
    configuration. Its answers are fit for the public: /healthz, /readyz and /api/status reveal nothing about the index
    behind it. Metrics are served only at http.metrics. Leave TLS, authentication and limits per client to a proxy.

    Exit codes: 0 stopped by a signal, 2 wrong configuration or the port is in use.
    """
    from cachesync.commands.web_service import WebService  # noqa: PLC0415  its libraries are slow to import

    with catching(_SIGNALS) as wait:
        site = WebService(components)
        site.start()
        try:
            while True:
                numbers = wait(_WAIT_SECONDS)
                if signal.SIGTERM in numbers or signal.SIGINT in numbers:
                    return 0
                if signal.SIGHUP in numbers:
                    site.reload()
        finally:
            site.stop()

"""``cachesync run``: run the service."""

import math
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cachesync.commands.components import Components
from cachesync.commands.signals import catching
from cachesync.errors import INTERRUPTED, IndexUnavailableError

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_REFRESH_SECONDS: Final = 1.0
_UNLIMITED_WIDTH: Final = 10_000


@click.command(short_help="Run the service that keeps the index equal to the pages.")
@click.pass_obj
def run(components: Components) -> int:
    """Run the service: bring the index up to date, then follow changes of the pages until SIGTERM or Ctrl-C.

    A second service stands by and takes over when this one ends. SIGHUP reloads the configuration. HTTP serves the web
    page, the API, /healthz, /readyz, /metrics and /api/status. The configuration (`cachesync config`) sets what to
    watch, where to listen for HTTP and when to reindex.

    Exit codes: 0 stopped by a signal, 2 wrong configuration, the index isn't cachesync's, or the port is in use by
    anything but a service of this index, 3 internal error, 130 Ctrl-C twice.
    """
    from cachesync.commands.supervisor import Supervisor  # noqa: PLC0415  its libraries are slow to import
    from cachesync.service.malloc import limit_arenas  # noqa: PLC0415  the same
    from cachesync.service.orphans import reap  # noqa: PLC0415  the same

    limit_arenas()
    pause = _REFRESH_SECONDS if sys.stderr.isatty() else math.inf
    with catching(_SIGNALS) as wait:
        service = Supervisor(components)
        service.start()
        try:
            with _status_line(service.line) as refresh:
                while service.is_alive:
                    refresh()
                    service.tend()
                    reap(service.processes)
                    numbers = wait(min(pause, service.tend_within))
                    if signal.SIGTERM in numbers or signal.SIGINT in numbers:
                        return 0
                    if signal.SIGHUP in numbers:
                        service.reload()
            if service.refusal:
                raise service.refusal
            raise IndexUnavailableError("the service ended because of an internal error, which is in its log")
        finally:
            signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))  # a second Ctrl-C ends it at once
            service.stop()
            # Not by a normal exit, which joins threads: one that waits for a server would keep the process alive.
            if sys.exception() is None:
                os._exit(0)


@contextmanager
def _status_line(line: Callable[[int], str]) -> Iterator[Callable[[], None]]:
    """Keep a status line at the bottom of the terminal, below the log; without a terminal, do nothing."""
    console = Console(stderr=True, width=_UNLIMITED_WIDTH)  # else rich would wrap lines of the log
    if not console.is_terminal:
        yield lambda: None
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda: live.update(Text(line(shutil.get_terminal_size().columns - 1)), refresh=True)

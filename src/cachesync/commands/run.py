"""``cachesync run``: the service."""

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
from cachesync.commands.signals import waited_for
from cachesync.errors import INTERRUPTED, IndexUnavailableError

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_REFRESH_SECONDS: Final = 1.0
_UNLIMITED_WIDTH: Final = 10_000


@click.command(short_help="The service: keep the index equal to the pages.")
@click.pass_obj
def run(components: Components) -> int:
    """Keep the index equal to the pages: catch up, then watch, until SIGTERM or Ctrl-C.

    A second service stands by and takes over when this one ends. SIGHUP reads the configuration again. HTTP serves
    the page, the API, /healthz, /readyz, /metrics and /api/status. What to watch, where HTTP listens and when to
    reindex are in the configuration (`cachesync config`).

    Exit codes: 0 ended by a signal, 2 wrong configuration, a foreign index, or the port is taken by what is no service
    of this index, 3 ended by an error of its own, 130 Ctrl-C twice.
    """
    from cachesync.commands.supervisor import Supervisor  # noqa: PLC0415  its libraries take a while to load
    from cachesync.service.malloc import limit_arenas  # noqa: PLC0415  the same
    from cachesync.service.orphans import reap  # noqa: PLC0415  the same

    limit_arenas()
    pause = _REFRESH_SECONDS if sys.stderr.isatty() else math.inf
    with waited_for(_SIGNALS) as caught:
        service = Supervisor(components)
        service.start()
        try:
            with _status_line(service.line) as refresh:
                while service.is_alive:
                    refresh()
                    service.tend()
                    reap(service.processes)
                    numbers = caught(min(pause, service.patience))
                    if signal.SIGTERM in numbers or signal.SIGINT in numbers:
                        return 0
                    if signal.SIGHUP in numbers:
                        service.reload()
            if service.refusal:
                raise service.refusal
            raise IndexUnavailableError("the service has ended by an error of its own, which is in its log")
        finally:
            signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))  # asked for again: at once
            service.stop()
            # At once: threads that wait for an answer would keep it alive, and so does Python's own end.
            if sys.exception() is None:
                os._exit(0)


@contextmanager
def _status_line(line: Callable[[int], str]) -> Iterator[Callable[[], None]]:
    """Keep a line at the end of a terminal up to date, below whatever is logged; elsewhere there is none."""
    console = Console(stderr=True, width=_UNLIMITED_WIDTH)  # else it would break lines of the log
    if not console.is_terminal:
        yield lambda: None
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda: live.update(Text(line(shutil.get_terminal_size().columns - 1)), refresh=True)

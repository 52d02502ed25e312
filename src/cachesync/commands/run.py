"""``cachesync run``: run the service."""

import math
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import click
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cachesync.commands.components import Components
from cachesync.commands.output import plural
from cachesync.commands.signals import catching
from cachesync.errors import INTERRUPTED, IndexUnavailableError
from cachesync.log import printable
from cachesync.service.malloc import limit_arenas
from cachesync.service.options import JobOptions, ServiceOptions
from cachesync.service.schedule import Schedule
from cachesync.service.state import in_sync
from cachesync.service.supervisor import Supervisor

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
    limit_arenas()
    pause = _REFRESH_SECONDS if sys.stderr.isatty() else math.inf
    with catching(_SIGNALS) as wait:
        service = Supervisor(_options(components), lambda: _options(components.again()))
        service.start()
        try:
            with _status_line(partial(_line, service)) as refresh:
                while service.is_alive:
                    refresh()
                    service.tend()
                    numbers = wait(min(pause, service.tend_within))
                    if signal.SIGTERM in numbers or signal.SIGINT in numbers:
                        return 0
                    if signal.SIGHUP in numbers:
                        service.reload()
            if service.refusal:
                raise service.refusal
            raise IndexUnavailableError("the service ended because of an internal error, which is in its log")
        finally:
            signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))  # a second Ctrl-C exits immediately
            service.stop()
            # A normal exit would join threads, and a thread that waits for a server would keep the process alive.
            if sys.exception() is None:
                os._exit(0)


def _options(components: Components) -> ServiceOptions:
    """Return the configuration's options for the service."""
    config = components.config
    watch, http = config.watch, config.http
    return ServiceOptions(
        JobOptions(
            source=components.source,
            guard=components.guard,
            schedule=Schedule(config.schedule.reindex, config.schedule.timezone),
            rescan_interval=watch.rescan_interval,
            auto_reindex=config.index.auto_reindex,
        ),
        watch_mode=watch.mode,
        debounce=(watch.debounce, watch.debounce_max),
        host=http.host,
        port=http.port,
        base_path=http.base_path,
        allow_origins=http.allow_origins,
        max_lag=http.max_lag,
        open_index=components.connections.index,
        open_api=lambda: components.api(is_public=False),
        set_up_log=components.set_up_log,
    )


def _line(service: Supervisor, width: int) -> str:
    """Return the service's state and URL as a line of at most ``width`` characters."""
    state = service.state.snapshot()
    trouble = service.index_trouble or state.trouble
    parts: list[str] = [state.role]
    if trouble:
        parts = [f"waiting: {trouble.splitlines()[0]}"]
    elif state.rolled_back:
        parts = ["rolled back"]
    elif state.role == "serving":
        parts = ["in sync" if in_sync(state, service.index_trouble) else "catching up"]
    if state.generation:
        parts.append(f"{plural(state.pages, 'page')}, {plural(state.specs, 'spec')}")
    if state.queue and state.generation:
        parts.append(f"{plural(state.queue, 'change')} waiting")
    if state.reindexing is not None:
        parts.append(f"reindex {state.reindexing:.0%}")
    if state.withheld:
        parts.append(f"{plural(len(state.withheld), 'page')} withheld")
    for noun, found in (("problem", state.problems), ("warning", state.warnings)):
        if found:
            parts.append(plural(len(found), noun))
    return _fit(" · ".join(parts), service.url or "no HTTP", width)


def _fit(state: str, address: str, width: int) -> str:
    """Join a state and an address, and truncate the state if there isn't enough room for both."""
    ending = f" · {printable(address)}"
    room = width - cell_len(ending)
    if room < 1:
        return printable(address)
    text = Text(printable(state))
    text.truncate(room, overflow="ellipsis")
    return text.plain + ending


@contextmanager
def _status_line(line: Callable[[int], str]) -> Iterator[Callable[[], None]]:
    """Keep a status line at the bottom of the terminal, below the log; without a terminal, do nothing."""
    console = Console(stderr=True, width=_UNLIMITED_WIDTH)  # otherwise rich would wrap lines of the log
    if not console.is_terminal:
        yield lambda: None
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda: live.update(Text(line(shutil.get_terminal_size().columns - 1)), refresh=True)

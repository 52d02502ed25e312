"""What commands print: results to stdout, progress and problems to stderr."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from cachesync.log import as_json

Tell = Callable[[int, int], None]

_LINE_EVERY_SECONDS: Final = 5.0


_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""What a terminal may take for a command; tables for programs have ends of lines and tabs, too."""

_CONTROLS_IN_JSON: Final = re.compile(b"\x7f|\xc2[\x80-\x9f]")
"""Those that JSON in UTF-8 may have as they are."""


def print_json(value: Any) -> None:
    """Print one JSON object, in UTF-8 whatever the locale says. Nothing in it plays with the terminal."""
    click.echo(_CONTROLS_IN_JSON.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), as_json(value)))


def uncontrolled(text: str) -> str:
    """Spell out what a terminal may take for a command."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def plural(count: int, noun: str) -> str:
    """Say ``1 page``, ``1,200 pages``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@contextmanager
def no_progress() -> Iterator[Tell]:
    """Show nothing: what long work prints on the terminal shows how far it is."""
    yield lambda _done, _total: None


@contextmanager
def progress(label: str) -> Iterator[Tell]:
    """Show how far long work is: a bar on a terminal, a line every few seconds elsewhere."""
    from rich.console import Console  # noqa: PLC0415  rich takes longer to load than a search does

    console = Console(stderr=True)
    if console.is_terminal:
        from rich.progress import (  # noqa: PLC0415  as above
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    told = time.monotonic()

    def line(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _LINE_EVERY_SECONDS:
            told = time.monotonic()
            print(f"{label}: {done:,} of {total:,} pages", file=sys.stderr, flush=True)

    yield line

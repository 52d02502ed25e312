"""Prints the output of commands: results to stdout, progress and problems to stderr."""

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from cachesync.log import as_json, printable

ShowProgress = Callable[[int, int], None]

_LINE_EVERY_SECONDS: Final = 5.0


_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Control characters, which a terminal may interpret, except for line ends and tabs."""

_CONTROLS_IN_JSON: Final = re.compile(b"\x7f|\xc2[\x80-\x9f]")
"""The control characters that JSON in UTF-8 may contain unescaped."""


def print_json(value: Any) -> None:
    """Print one JSON object in UTF-8, regardless of the locale, with all control characters escaped."""
    click.echo(_CONTROLS_IN_JSON.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), as_json(value)))


def uncontrolled(text: str) -> str:
    """Escape control characters, which a terminal may interpret."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def print_problems(found: Iterable[object]) -> None:
    """Print problems and warnings to stderr, one per line."""
    for each in found:
        click.echo(printable(str(each)), err=True)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun, such as ``1 page`` or ``1,200 pages``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def no_progress(_done: int, _total: int) -> None:
    """Ignore the progress."""


@contextmanager
def progress(label: str) -> Iterator[ShowProgress]:
    """Show progress as a bar on a terminal, or as a line every few seconds elsewhere."""
    from rich.console import Console  # noqa: PLC0415  importing rich takes longer than a search

    console = Console(stderr=True)
    if console.is_terminal:
        from rich import progress as bars  # noqa: PLC0415  as above

        text = bars.TextColumn("{task.description}")
        columns = (text, bars.BarColumn(), bars.MofNCompleteColumn(), bars.TimeRemainingColumn())
        with bars.Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    printed_at = time.monotonic()

    def line(done: int, total: int) -> None:
        nonlocal printed_at
        if time.monotonic() - printed_at >= _LINE_EVERY_SECONDS:
            printed_at = time.monotonic()
            print(f"{label}: {done:,} of {total:,} pages", file=sys.stderr, flush=True)

    yield line

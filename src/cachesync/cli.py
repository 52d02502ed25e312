"""The command line: arguments, and how every way to end becomes an exit code."""

import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from cachesync import __version__
from cachesync.commands.check import check
from cachesync.commands.config import config
from cachesync.commands.render import render
from cachesync.commands.search import search
from cachesync.commands.status import status
from cachesync.commands.sync import sync
from cachesync.commands.wiring import Wiring
from cachesync.errors import CachesyncError, IndexUnavailableError, UsageError

INTERRUPTED = 130


class _OutputClosedError(CachesyncError):
    """Whoever read our output has gone, as ``head`` does: what a shell calls 141."""

    exit_code = 128 + signal.SIGPIPE


class _Commands(click.Group):
    """Click would end with 1 where the output is closed, which here means that pages are problems."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains again at exit
            raise _OutputClosedError from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "-c",
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The configuration. Default: $CACHESYNC_CONFIG, then config/cachesync.yml, then built-in defaults.",
)
@click.version_option(__version__)
@click.pass_context
def cachesync(context: click.Context, config_file: Path | None) -> None:
    """Keep a search index equal to a tree of Spack build-cache pages."""
    context.obj = Wiring(config_file)


for command in (sync, search, status, check, render, config):
    cachesync.add_command(command)


def main() -> NoReturn:
    """Run the command line and exit.

    A user never sees a traceback for what users, files or servers do: each kind of error has one sentence and one
    exit code.
    """
    sys.exit(_run())


def _run() -> int:
    try:
        code = cachesync(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return UsageError.exit_code
    except CachesyncError as error:
        for line in str(error).splitlines():
            click.echo(f"cachesync: {line}", err=True)
        return error.exit_code
    except OSError as error:
        click.echo(f"cachesync: {error}", err=True)
        return IndexUnavailableError.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("cachesync: interrupted; what is done stays done, the next run does the rest", err=True)
        return INTERRUPTED

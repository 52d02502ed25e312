"""The command line: arguments, and how every way to end becomes an exit code."""

import errno
import gc
import io
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

import click

from cachesync import __version__, log
from cachesync.commands.awaiting import say_what_is_awaited
from cachesync.commands.check import check
from cachesync.commands.config import config
from cachesync.commands.example import example
from cachesync.commands.kibana import kibana
from cachesync.commands.reindex import reindex
from cachesync.commands.render import render
from cachesync.commands.rollback import rollback
from cachesync.commands.run import run as run_service
from cachesync.commands.search import search
from cachesync.commands.status import status
from cachesync.commands.sync import sync
from cachesync.commands.verify import verify
from cachesync.commands.wiring import Wiring
from cachesync.context import Context, running
from cachesync.errors import INTERRUPTED, CachesyncError, DefectError, IndexUnavailableError, UsageError
from cachesync.log import get_logger, printable

_log = get_logger()


class _OutputError(CachesyncError):
    """What we print can't be written."""

    exit_code = 3


class _OutputClosedError(_OutputError):
    """Whoever read our output has gone, as ``head`` does: what a shell calls 141."""

    exit_code = 128 + signal.SIGPIPE


class _Output(io.FileIO):
    """Standard output. Its errors are told from those of other files."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise _OutputClosedError from None
        except OSError as error:
            closed = "standard output is closed: what was to be printed is lost"
            told = closed if error.errno == errno.EBADF else f"cannot write to standard output: {error.strerror}"
            raise _OutputError(told) from None


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        code = super().invoke(ctx)
        sys.stdout.flush()
        return code


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


for command in (run_service, sync, reindex, rollback, search, status, verify, check, render, kibana, config, example):
    cachesync.add_command(command)


def run() -> int:
    """Run the command line and return its exit code.

    A user never sees a traceback for what users, files or servers do: each kind of error has one sentence and one
    exit code.
    """
    gc.freeze()  # what is loaded by now stays, and of the pages and documents that come none is a cycle
    gc.set_threshold(50_000, 20, 100)
    sys.stdout = _standard_output()
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115  closed by whoever started us
    log.setup("info", "auto")  # until the configuration is read
    threading.excepthook = _thread_failed
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with running(Context()) as context, say_what_is_awaited(context):
            code = cachesync(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return UsageError.exit_code
    except CachesyncError as error:
        if isinstance(error, _OutputError):
            _forget_stdout()
        _tell(str(error))
        return error.exit_code
    except OSError as error:
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        _tell(f"{place}{error.strerror or error}")
        return IndexUnavailableError.exit_code
    except (KeyboardInterrupt, click.Abort):
        _tell("interrupted; run the command again to finish what it began")
        return INTERRUPTED
    except Exception:  # noqa: BLE001  the log has all of it, in its usual form
        _log.exception("a defect of cachesync: please report it")
        return DefectError.exit_code


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Log what has ended a thread that nobody waits for."""
    thread = failure.thread.name if failure.thread else None
    told = (failure.exc_type, failure.exc_value, failure.exc_traceback)
    _log.exception("a defect of cachesync: please report it", thread=thread, exc_info=told)


def _tell(message: str) -> None:
    """Say on stderr why we end. Where that can't be written, the exit code still tells."""
    with suppress(OSError):
        for line in message.splitlines():
            click.echo(f"cachesync: {printable(line)}", err=True)


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    """End as an exception does, so that locks are freed and the terminal is put right."""
    sys.exit(128 + number)


def _standard_output() -> TextIO:
    """Return an output that spells out what its encoding hasn't; one that was closed refuses what is written."""
    before = sys.stdout
    file = before.fileno() if before else os.open(os.devnull, os.O_RDONLY)
    buffer = io.BufferedWriter(_Output(file, "w", closefd=False))
    encoding, is_terminal = (before.encoding, before.isatty()) if before else ("utf-8", False)
    return io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=is_terminal)


def _forget_stdout() -> None:
    """Leave nothing in the buffer: Python would fail on it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

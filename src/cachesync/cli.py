"""The command line: it parses arguments, runs a command, and turns every outcome into an exit code."""

import errno
import gc
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TextIO

import click

from cachesync import log
from cachesync.context import Awaited, Context, running
from cachesync.errors import INTERRUPTED, CachesyncError, DefectError, IndexUnavailableError, UsageError
from cachesync.log import DEFECT, get_logger, printable

_log = get_logger()

_PATIENCE_SECONDS: Final = 1.0
"""How long the work may wait for a server or a file system before the wait is logged."""

_POLL_SECONDS: Final = 0.25


class _OutputError(CachesyncError):
    """Standard output can't be written."""

    exit_code = 3


class _OutputClosedError(_OutputError):
    """The reader of standard output has closed it, as ``head`` does. Shells report a closed pipe as exit code 141."""

    exit_code = 128 + signal.SIGPIPE


class _Stdout(io.FileIO):
    """Standard output that raises errors of its own, which distinguishes them from the errors of other files."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise _OutputClosedError from None
        except OSError as error:
            closed = "standard output is closed: the output is lost"
            message = closed if error.errno == errno.EBADF else f"cannot write to standard output: {error.strerror}"
            raise _OutputError(message) from None


_COMPLETING: Final = "_CACHESYNC_COMPLETE"
"""The environment variable that a shell sets to request completions."""

_COMMANDS: Final = {
    "run": "Run the service that keeps the index equal to the pages.",
    "serve": "Serve the API and the web page from an existing index.",
    "sync": "Make the index equal to the pages, then exit.",
    "reindex": "Build a new index from all pages, then switch to it.",
    "rollback": "Return to the previous generation of the index and pin it.",
    "search": "Find binaries.",
    "show": "Show one binary: its fields, tags, stacks and how to install it.",
    "diff": "List the binaries that were added and removed between two tags.",
    "status": "Show what the index holds and whether it is up to date.",
    "verify": "Compare the index with the pages, document by document.",
    "check": "Check the pages at PATHS for problems without indexing them.",
    "render": "Print the documents of the pages at PATHS as NDJSON.",
    "kibana": "Export or install data views, searches and dashboards for Kibana.",
    "config": "Print the effective configuration, without secrets.",
    "example": "Print an example file: configuration, systemd unit, roles, alerts.",
}
"""The commands and their summaries, in the order in which the help lists them. Each command is defined in the module of
the same name, which is imported when the command is called."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  as click calls it
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  as click calls it
        if cmd_name not in _COMMANDS:
            return None
        found: click.Command = getattr(import_module(f"cachesync.commands.{cmd_name}"), cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  as above
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

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
    help="The configuration file. Default: $CACHESYNC_CONFIG, then config/cachesync.yml, then built-in defaults.",
)
@click.version_option(package_name="cachesync")
@click.pass_context
def cachesync(context: click.Context, config_file: Path | None) -> None:
    """Keep a search index equal to a tree of Spack build-cache pages."""
    from cachesync.commands.components import Components  # noqa: PLC0415  slow to import, and --version doesn't need it

    context.obj = Components(config_file)


def run() -> int:
    """Run the command line and return its exit code.

    Errors caused by users, files or servers never print a traceback: each kind of error has a message of one sentence
    and one exit code.
    """
    gc.freeze()  # modules imported so far are never freed, and pages and documents contain no reference cycles
    gc.set_threshold(50_000, 20, 100)
    sys.stdout = _robust_stdout()
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115  the process was started with stderr closed
    log.setup("info", "auto")  # until the configuration is read
    threading.excepthook = _log_thread_failure
    # Exit by an exception, which releases locks and restores the terminal.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    if _COMPLETING in os.environ:
        from cachesync.commands import completion  # noqa: PLC0415  only shells need it

        completion.register()
    try:
        with running(Context()) as context, _log_waits(context):
            code = cachesync(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return UsageError.exit_code
    except CachesyncError as error:
        if isinstance(error, _OutputError):
            # Discard what is still buffered: otherwise Python would fail a second time when it flushes it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _print_error(str(error))
        return error.exit_code
    except OSError as error:
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        _print_error(f"{place}{error.strerror or error}")
        return IndexUnavailableError.exit_code
    except (KeyboardInterrupt, click.Abort):
        _print_error("interrupted; run the command again to finish what it began")
        return INTERRUPTED
    except Exception:  # noqa: BLE001  it is logged in full, in the log's usual format
        _log.exception(DEFECT, action="defect.found")
        return DefectError.exit_code


@contextmanager
def _log_waits(context: Context) -> Iterator[None]:
    """Log each wait of the context's work that lasts a second or longer, for as long as the block runs."""
    ended = threading.Event()
    threading.Thread(target=_monitor, args=(context, ended), name="awaiting", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _monitor(context: Context, ended: threading.Event) -> None:
    logged: Awaited | None = None
    while not ended.wait(_POLL_SECONDS):
        awaited = context.pulse.awaited
        if awaited and awaited != logged and time.monotonic() - awaited.since >= _PATIENCE_SECONDS:
            logged = awaited
            _log.warning("waiting for an answer", action="command.waiting", of=awaited.what)


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    """Log the exception that a thread didn't catch."""
    thread = failure.thread.name if failure.thread else None
    exc_info = (failure.exc_type, failure.exc_value, failure.exc_traceback)
    _log.exception(DEFECT, action="defect.found", thread=thread, exc_info=exc_info)


def _print_error(message: str) -> None:
    """Print to stderr why the command failed. If stderr can't be written, only the exit code reports the failure."""
    with suppress(OSError):
        for line in message.splitlines():
            click.echo(f"cachesync: {printable(line)}", err=True)


def _robust_stdout() -> TextIO:
    """Return a stdout that escapes characters that its encoding lacks. If stdout was closed, every write fails."""
    before = sys.stdout
    file = before.fileno() if before else os.open(os.devnull, os.O_RDONLY)
    buffer = io.BufferedWriter(_Stdout(file, "w", closefd=False))
    encoding, is_terminal = (before.encoding, before.isatty()) if before else ("utf-8", False)
    return io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=is_terminal)

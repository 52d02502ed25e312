"""The command line: arguments, and how every way to end becomes an exit code."""

import errno
import gc
import io
import os
import signal
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn, TextIO

import click

from cachesync import log
from cachesync.commands.wait_notices import say_what_is_awaited
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


class _Stdout(io.FileIO):
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


_COMPLETING: Final = "_CACHESYNC_COMPLETE"
"""The variable by which a shell asks what to offer."""

_COMMANDS: Final = {
    "run": "The service: keep the index equal to the pages.",
    "serve": "Serve the API and the page over an index that others keep.",
    "sync": "Make the index equal to the pages, then exit.",
    "reindex": "Build the index anew and swap it in when it is whole.",
    "rollback": "Go back to the generation before, and stay there.",
    "search": "Find binaries.",
    "show": "Show one binary whole: its fields, tags and stacks, and how to install it.",
    "diff": "Compare two tags: which binaries came, and which are gone.",
    "status": "Tell what the index holds, and whether it is up to date.",
    "verify": "Compare index and pages document by document.",
    "check": "Parse the pages at PATHS and index nothing.",
    "render": "Print the documents of the pages at PATHS as NDJSON.",
    "kibana": "Data views, searches and dashboards for Kibana.",
    "config": "Print the configuration in force, without secrets.",
    "example": "Print an example file: configuration, systemd unit, roles, alerts.",
}
"""Commands by name, in the order in which they are listed: each is in the module of its name, and loaded when it is
called."""


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
    help="The configuration. Default: $CACHESYNC_CONFIG, then config/cachesync.yml, then built-in defaults.",
)
@click.version_option(package_name="cachesync")
@click.pass_context
def cachesync(context: click.Context, config_file: Path | None) -> None:
    """Keep a search index equal to a tree of Spack build-cache pages."""
    from cachesync.commands.components import Components  # noqa: PLC0415  it takes a while to load, and --version does without

    context.obj = Components(config_file)


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
    if _COMPLETING in os.environ:
        from cachesync.commands import shells  # noqa: PLC0415  only shells need it

        shells.register()
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
    buffer = io.BufferedWriter(_Stdout(file, "w", closefd=False))
    encoding, is_terminal = (before.encoding, before.isatty()) if before else ("utf-8", False)
    return io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=is_terminal)


def _forget_stdout() -> None:
    """Leave nothing in the buffer: Python would fail on it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

"""Log lines on stderr: short ones for a person on a terminal, JSON with Elastic's common names (ECS) elsewhere."""

import json
import logging
import math
import os
import sys
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple, TextIO

import msgspec

_ECS: Final = "8.11.0"
_NAMES: Final = {
    "reason": "error.message",
    "error": "error.message",
    "exception": "error.stack_trace",
    "trace": "trace.id",
    "logger": "log.logger",
}
"""The names in ECS of what calls name for themselves. All else is ours alone, and goes below ``cachesync``."""


class _LogOptions(NamedTuple):
    """How to log."""

    level: int
    console: bool


_chosen: _LogOptions | None = None


class _Logger:
    """A logger of structlog, which is loaded with the first line: it takes as long as a search, which logs none."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_loaded().get_logger(), name)


def get_logger() -> Any:
    """Return a logger, whose methods are those of structlog's."""
    return _Logger()


def setup(level: str, form: Literal["auto", "console", "json"]) -> None:
    """Send log lines to stderr. ``auto`` is console on a terminal and JSON elsewhere."""
    global _chosen  # noqa: PLW0603  how a process logs is one thing
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    _chosen = _LogOptions(logging.getLevelNamesMapping()[level.upper()], console)
    if "structlog" in sys.modules:
        _configure(_chosen)


def _loaded() -> Any:
    """Return structlog, configured."""
    is_new = "structlog" not in sys.modules
    import structlog  # noqa: PLC0415  see above

    if is_new and _chosen:
        _configure(_chosen)
    return structlog


def _configure(chosen: _LogOptions) -> None:
    import structlog  # noqa: PLC0415  see above

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            _console_line if chosen.console else _json_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(chosen.level),
        logger_factory=lambda *_: _LineWriter(sys.stderr),
    )


@contextmanager
def passing(kind: str) -> Iterator[str]:
    """Give all lines that this thread logs meanwhile the kind of a pass and one new ``trace.id``, and yield that."""
    trace = uuid.uuid4().hex
    with _loaded().contextvars.bound_contextvars(trace=trace, **{"pass": kind}):
        yield trace


def relay(library: str) -> None:
    """Log what a library reports as an error by :mod:`logging`, and nothing else of it."""
    theirs = logging.getLogger(library)
    theirs.handlers = [_Relay(logging.ERROR)]
    theirs.propagate = False


def printable(text: str) -> str:
    """Spell out what isn't printable, so that nothing from a page or a server can play with the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def spelled(text: str) -> str:
    """Spell out what isn't UTF-8, as the name of a file may be; what is comes out the same."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def as_json(value: Any) -> bytes:
    """Return a value as JSON, also where texts in it aren't UTF-8: these are spelled out."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_plain(msgspec.to_builtins(value)))


class _Relay(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        get_logger().log(
            record.levelno, record.getMessage().strip(), logger=record.name, exc_info=record.exc_info or False
        )


class _LineWriter:
    """Writes lines whole. One that can't be written is lost: a full disk or a closed pipe ends no service."""

    _lock: Final = threading.Lock()

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def msg(self, line: str) -> None:
        with self._lock, suppress(OSError, ValueError):
            self._file.write(f"{line}\n")
            self._file.flush()

    debug = info = warning = error = critical = msg


def _json_line(_logger: object, level: str, event: Mapping[str, Any]) -> str:
    from cachesync import __version__  # noqa: PLC0415  it is looked up when it is asked for

    values = dict(event)
    line = {
        "@timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z",
        "log.level": level,
        "message": str(values.pop("event", "")),
        "ecs.version": _ECS,
        "service.name": "cachesync",
        "service.version": __version__,
        "process.pid": os.getpid(),
    }
    for name, value in values.items():
        known = _NAMES.get(name)
        line[known if known and known not in line else f"cachesync.{name}"] = str(value) if known else value
    return json.dumps(_plain(line), allow_nan=False)


def _plain(value: Any) -> Any:
    """Return a value as JSON can tell it to anybody: no lone surrogates, no bytes, no numbers that aren't."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return spelled(value)
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping():
            return {_plain(str(key)): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
    return _plain(str(value))


def _console_line(_logger: object, level: str, event: Mapping[str, Any]) -> str:
    values = dict(event)
    message = str(values.pop("event", ""))
    traceback = str(values.pop("exception", ""))
    values.pop("trace", None)
    time = datetime.now().astimezone().strftime("%H:%M:%S")
    words = [time, f"{level:7}", printable(message), *_pairs(values)]
    return "\n".join([" ".join(words), *(f"  {printable(line)}" for line in traceback.splitlines())])


def _pairs(values: Mapping[str, Any]) -> Iterable[str]:
    for name, value in values.items():
        text = printable(str(value))
        yield f'{name}="{text}"' if not text or " " in text else f"{name}={text}"


class Once:
    """Keeps what takes several tries from being told with each of them."""

    def __init__(self) -> None:
        self._told: str | None = None

    def is_news(self, what: str) -> bool:
        """Tell whether this isn't what was told last, and note that it is told now."""
        before, self._told = self._told, what
        return before != what

    def over(self) -> None:
        """What was told is so no more; if it comes again it is news."""
        self._told = None

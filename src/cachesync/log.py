"""Log lines on stderr: short ones on a terminal, JSON in the Elastic Common Schema (ECS) elsewhere."""

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
from typing import Any, Final, Literal, TextIO

import msgspec

_ECS: Final = "8.11.0"
_DATASET: Final = "cachesync.log"
_NAMES: Final = {
    "action": "event.action",
    "reason": "error.message",
    "error": "error.message",
    "exception": "error.stack_trace",
    "trace": "trace.id",
    "logger": "log.logger",
}
"""The ECS fields for the keyword arguments of log calls. All other arguments get the prefix ``cachesync.``."""


DEFECT: Final = "internal error: this is a bug in cachesync, please report it"
"""The message of every unexpected exception, wherever it is caught."""


_chosen: tuple[int, bool] | None = None
"""The log level, and whether lines are for a console; None before :func:`setup` is called."""


class _Logger:
    """A structlog logger that imports structlog for its first line. Importing it would double the time of a search."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_loaded().get_logger(), name)


def get_logger() -> Any:
    """Return a logger with the methods of a structlog logger."""
    return _Logger()


def setup(level: str, form: Literal["auto", "console", "json"]) -> None:
    """Send log lines to stderr. ``auto`` means ``console`` on a terminal and ``json`` elsewhere."""
    global _chosen  # noqa: PLW0603  logging is configured once for the process
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    _chosen = logging.getLevelNamesMapping()[level.upper()], console
    if "structlog" in sys.modules:
        _configure(*_chosen)


def _loaded() -> Any:
    """Import structlog if necessary, and return it configured."""
    is_new = "structlog" not in sys.modules
    import structlog  # noqa: PLC0415  see above

    if is_new and _chosen:
        _configure(*_chosen)
    return structlog


def _configure(level: int, console: bool) -> None:
    import structlog  # noqa: PLC0415  see above

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            _console_line if console else _json_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _LineWriter(sys.stderr),
    )


@contextmanager
def pass_context(kind: str) -> Iterator[str]:
    """Add the kind of a pass and a new ``trace.id`` to all lines that this thread logs in the block; yield the ID."""
    trace = uuid.uuid4().hex
    with _loaded().contextvars.bound_contextvars(trace=trace, **{"pass": kind}):
        yield trace


def relay(library: str) -> None:
    """Log the errors that a library reports through :mod:`logging`, and none of its other lines."""
    theirs = logging.getLogger(library)
    theirs.handlers = [_Relay(logging.ERROR)]
    theirs.propagate = False


def printable(text: str) -> str:
    """Escape unprintable characters, so that text from a page or a server can't manipulate the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def spelled(text: str) -> str:
    """Escape characters that aren't valid UTF-8, as in some file names, and return valid text unchanged."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def as_json(value: Any) -> bytes:
    """Return a value as JSON. Characters that aren't valid UTF-8 are escaped."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_plain(msgspec.to_builtins(value)))


class _Relay(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        get_logger().log(
            record.levelno,
            record.getMessage().strip(),
            action="library.failed",
            logger=record.name,
            exc_info=record.exc_info or False,
        )


class _LineWriter:
    """Writes whole lines, and drops lines that can't be written: a full disk or closed pipe mustn't stop a service."""

    _lock: Final = threading.Lock()

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def msg(self, line: str) -> None:
        with self._lock, suppress(OSError, ValueError):
            self._file.write(f"{line}\n")
            self._file.flush()

    debug = info = warning = error = critical = msg


def _json_line(_logger: object, level: str, event: Mapping[str, Any]) -> str:
    from cachesync import __version__  # noqa: PLC0415  computed when it is first used

    values = dict(event)
    line = {
        "@timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z",
        "log.level": level,
        "message": str(values.pop("event", "")),
        "ecs.version": _ECS,
        "event.dataset": _DATASET,
        "host.name": os.uname().nodename,
        "service.name": "cachesync",
        "service.version": __version__,
        "process.pid": os.getpid(),
    }
    for name, value in values.items():
        known = _NAMES.get(name)
        line[known if known and known not in line else f"cachesync.{name}"] = str(value) if known else value
    return json.dumps(_plain(line), allow_nan=False)


def _plain(value: Any) -> Any:
    """Return a value in a form that any JSON parser accepts: without lone surrogates, bytes, NaN or infinities."""
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
    for name in ("action", "trace"):
        values.pop(name, None)
    time = datetime.now().astimezone().strftime("%H:%M:%S")
    words = [time, f"{level:7}", printable(message), *_pairs(values)]
    return "\n".join([" ".join(words), *(f"  {printable(line)}" for line in traceback.splitlines())])


def _pairs(values: Mapping[str, Any]) -> Iterable[str]:
    for name, value in values.items():
        text = printable(str(value))
        yield f'{name}="{text}"' if not text or " " in text else f"{name}={text}"


class Once:
    """Prevents retries from logging the same message repeatedly."""

    def __init__(self) -> None:
        self._last: str | None = None

    def is_news(self, what: str) -> bool:
        """Return whether a message differs from the last one, and remember it as the last."""
        before, self._last = self._last, what
        return before != what

    def over(self) -> None:
        """Forget the last message because its cause is gone."""
        self._last = None

"""The value types of configuration keys: each function in this module validates and converts a value read from YAML.

YAML yields strings, lists and mappings (see :mod:`cachesync.yamltext`). For an invalid value, every function raises
ValueError with a message that begins with "expected".
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cachesync.yamltext import Value

Read = Callable[[Value], Any]
"""Converts a value read from YAML."""

_UNITS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_YES: Final = frozenset({"true", "yes", "on", "1"})
_NO: Final = frozenset({"false", "no", "off", "0"})


class Secret:
    """A string that can't be shown by accident."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the string."""
        return self._text

    def __repr__(self) -> str:
        return "Secret()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def text(value: Value) -> str:
    """Read a string."""
    if not isinstance(value, str):
        raise ValueError("expected one value")  # noqa: TRY004  the message describes the value that the key should have
    return value


def secret(value: Value) -> Secret:
    """Read a string that must never be shown."""
    return Secret(text(value))


def choice(*names: str) -> Read:
    """Return a function that reads one of the given names."""
    *others, last = (repr(name) for name in names)

    def read(value: Value) -> str:
        if value not in names:
            raise ValueError(f"expected {', '.join(others)} or {last}")
        return text(value)

    return read


def truth(value: Value) -> bool:
    """Read a boolean."""
    word = text(value).strip().lower()
    if word not in _YES | _NO:
        raise ValueError("expected true or false")
    return word in _YES


def integer(least: int, most: int | None = None) -> Read:
    """Return a function that reads an integer from ``least`` to ``most``, where None means no upper bound."""
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"

    def read(value: Value) -> int:
        digits = value.strip().replace("_", "") if isinstance(value, str) else ""
        number = int(digits) if _INTEGER.fullmatch(digits) else None
        if number is None or number < least or (most is not None and number > most):
            raise ValueError(f"expected an integer {bounds}")
        return number

    return read


def fraction(value: Value) -> float:
    """Read a number from 0 to 1."""
    number = value.strip() if isinstance(value, str) else ""
    if not _NUMBER.fullmatch(number) or not 0 <= float(number) <= 1:
        raise ValueError("expected a number from 0 to 1")
    return float(number)


def duration(least: float = 0.0) -> Read:
    """Return a function that reads a duration, given in seconds or with a unit, and returns seconds."""

    def read(value: Value) -> float:
        match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
        seconds = float(match[1]) * _UNITS[match[2]] if match else math.inf
        if math.isinf(seconds):
            raise ValueError("expected seconds, or a number followed by ms, s, m, h or d, as in 300ms")
        if seconds < least:
            raise ValueError(f"expected at least {least:g}s")
        return seconds

    return read


def path(value: Value) -> Path:
    """Read a path, in which ``~`` is the home directory."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected a path")
    return expandable(value)


def expandable(name: str) -> Path:
    """Read a path and check that its ``~`` can be expanded."""
    try:
        Path(name).expanduser()
    except RuntimeError as error:
        raise ValueError(f"expected a path: {error}") from None
    return Path(name)


def texts(value: Value) -> tuple[str, ...]:
    """Read a list of strings; a single string is a list of one."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError("expected a list of values, or one value")
    return tuple(map(text, found))


def matching(pattern: str, expected: str) -> Read:
    """Return a function that reads strings matching a regular expression in full; errors end with ``expected``."""
    compiled = re.compile(pattern)

    def read(value: Value) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise ValueError(f"expected {expected}")
        return value

    return read


def timezone(value: Value) -> str:
    """Read the name of a time zone."""
    import zoneinfo  # noqa: PLC0415  few configurations set a time zone

    name = text(value)
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("expected a time zone like UTC or Europe/Berlin") from None
    return name


def schedule(value: Value) -> str | None:
    """Read a cron expression, or return None for an empty string."""
    from cronsim import CronSim, CronSimError  # noqa: PLC0415  few configurations set a schedule

    expression = text(value)
    if not expression.strip():
        return None
    try:
        due = len(expression.split()) == 5 and next(CronSim(expression, datetime.now(UTC)), None)
    except CronSimError:
        due = None
    if not due:
        raise ValueError("expected a cron expression like '0 4 * * 0': minute, hour, day of month, month, day of week")
    return expression

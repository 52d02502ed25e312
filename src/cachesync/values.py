"""What a key of the configuration may be: each function makes its value of what YAML has, or says what was expected.

YAML gives texts, lists and mappings, see :mod:`cachesync.yamltext`. Every function here raises ValueError, with a
sentence that begins with what was expected.
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cachesync.yamltext import Value

Read = Callable[[Value], Any]
"""Makes a value of what YAML has."""

_UNITS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_YES: Final = frozenset({"true", "yes", "on", "1"})
_NO: Final = frozenset({"false", "no", "off", "0"})


class Secret:
    """A text that is shown nowhere by accident."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return "Secret()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def text(value: Value) -> str:
    """Take any text."""
    if not isinstance(value, str):
        raise ValueError("expected one value")  # noqa: TRY004  it is told as what the key's value should have been
    return value


def secret(value: Value) -> Secret:
    """Take any text, and keep it to itself."""
    return Secret(text(value))


def choice(*names: str) -> Read:
    """Take one of some names."""
    *others, last = (repr(name) for name in names)

    def read(value: Value) -> str:
        if value not in names:
            raise ValueError(f"expected {', '.join(others)} or {last}")
        return text(value)

    return read


def truth(value: Value) -> bool:
    """Take yes or no."""
    said = text(value).strip().lower()
    if said not in _YES | _NO:
        raise ValueError("expected true or false")
    return said in _YES


def integer(least: int, most: int | None = None) -> Read:
    """Take a whole number within bounds."""
    bounds = f"from {least} on" if most is None else f"from {least} to {most}"

    def read(value: Value) -> int:
        said = value.strip().replace("_", "") if isinstance(value, str) else ""
        number = int(said) if _INTEGER.fullmatch(said) else None
        if number is None or number < least or (most is not None and number > most):
            raise ValueError(f"expected an integer {bounds}")
        return number

    return read


def fraction(value: Value) -> float:
    """Take a number from 0 to 1."""
    said = value.strip() if isinstance(value, str) else ""
    if not _NUMBER.fullmatch(said) or not 0 <= float(said) <= 1:
        raise ValueError("expected a number from 0 to 1")
    return float(said)


def duration(least: float = 0.0) -> Read:
    """Take seconds, or a number with its unit, and return seconds."""

    def read(value: Value) -> float:
        match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
        seconds = float(match[1]) * _UNITS[match[2]] if match else math.inf
        if math.isinf(seconds):
            raise ValueError("expected seconds, or a number with ms, s, m, h or d behind it, as in 300ms")
        if seconds < least:
            raise ValueError(f"expected at least {least:g}s")
        return seconds

    return read


def path(value: Value) -> Path:
    """Take a path; ``~`` is the home folder."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected a path")
    return expandable(value)


def expandable(place: str) -> Path:
    """Take a path whose ``~`` means a home folder that is known."""
    try:
        Path(place).expanduser()
    except RuntimeError as error:
        raise ValueError(f"expected a path: {error}") from None
    return Path(place)


def texts(value: Value) -> tuple[str, ...]:
    """Take a list of texts; a single text is a list of one."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError("expected a list of values, or one value")
    return tuple(map(text, found))


def matching(pattern: str, expected: str) -> Read:
    """Take a text that matches a regular expression as a whole; else it is said what was expected."""
    compiled = re.compile(pattern)

    def read(value: Value) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise ValueError(f"expected {expected}")
        return value

    return read


def timezone(value: Value) -> str:
    """Take the name of a time zone."""
    import zoneinfo  # noqa: PLC0415  few have one of their own

    name = text(value)
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("expected a time zone like UTC or Europe/Berlin") from None
    return name


def schedule(value: Value) -> str | None:
    """Take a cron expression; an empty one is none."""
    from cronsim import CronSim, CronSimError  # noqa: PLC0415  few have a schedule

    expression = text(value)
    if not expression.strip():
        return None
    try:
        comes = len(expression.split()) == 5 and next(CronSim(expression, datetime.now(UTC)), None)
    except CronSimError:
        comes = None
    if not comes:
        raise ValueError("expected a cron expression like '0 4 * * 0': minute, hour, day of month, month, day of week")
    return expression

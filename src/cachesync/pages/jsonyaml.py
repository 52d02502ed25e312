"""JSON that means the same in YAML.

YAML takes nearly all JSON as it is. It differs in some characters, which it refuses or folds, in keys that are very
long, and in ours, in nesting and in keys given twice. What is let through here has none of that.
"""

import json
from typing import Any, Final

import msgspec

_STEP: Final = 250
_GAP: Final = b"  "
_LONG_GAP: Final = b" " * (2 * _STEP)
"""It has at least two spaces side by side among every 250th byte, which are told much sooner than itself."""

MAX_KEY: Final = 80
"""Characters of a key. With each as an escape of six and with a gap before the colon, it is below YAML's 1,024."""

_MAX_DEPTH: Final = 8


class DoubtError(Exception):
    """YAML might read something else."""


def require_plain(value: bytes) -> None:
    """Make sure that YAML has no rule of its own for the characters of JSON in one line.

    Raises:
        DoubtError: there are tabs, characters that can't be printed, or many blanks in a row.
    """
    if b"\t" in value or b"\r" in value or b"\x7f" in value or (_GAP in value[::_STEP] and _LONG_GAP in value):
        raise DoubtError
    if not value.isascii() and not value.decode().isprintable():
        raise DoubtError


def require_unique_keys(value: bytes) -> None:
    """Make sure that no mapping in JSON has a key twice or a very long one, and that nothing is nested deeply.

    Raises:
        DoubtError: that is not so.
        msgspec.MsgspecError: the same, or it isn't JSON.
    """
    _decode_shallow(value)
    json.loads(value, object_pairs_hook=_require_unique)


def _require_unique(pairs: list[tuple[str, Any]]) -> None:
    keys = {key for key, _ in pairs}
    if len(keys) != len(pairs) or any(len(key) > MAX_KEY for key in keys):
        raise DoubtError


def _nested(levels: int) -> Any:
    """Return the type of JSON with so many lists and mappings in each other."""
    scalar = str | int | float | bool | None
    if not levels:
        return scalar
    inner = _nested(levels - 1)
    return scalar | list[inner] | dict[str, inner]  # type: ignore[valid-type]  # made at run time


_decode_shallow: Final = msgspec.json.Decoder(_nested(_MAX_DEPTH)).decode

"""Checks that JSON means the same in YAML.

Nearly all JSON is also YAML. The exceptions are some characters, which YAML rejects or folds, and very long keys; our
own YAML loader also bounds nesting and rejects duplicate keys. JSON that passes these checks has none of that.
"""

import json
from typing import Any, Final

import msgspec

_STEP: Final = 250
_GAP: Final = b"  "
_LONG_GAP: Final = b" " * (2 * _STEP)
"""Every 250th byte of text that contains it includes two adjacent spaces, which are much faster to find."""

MAX_KEY: Final = 80
"""Characters of a key. Even if each is an escape of six, and with a gap before the colon, it is below YAML's 1,024."""

_MAX_DEPTH: Final = 8


class DoubtError(Exception):
    """YAML might read this JSON differently."""


def require_plain(value: bytes) -> None:
    """Check that YAML treats no character of this one-line JSON differently.

    Raises:
        DoubtError: there are tabs, unprintable characters, or many spaces in a row.
    """
    if b"\t" in value or b"\r" in value or b"\x7f" in value or (_GAP in value[::_STEP] and _LONG_GAP in value):
        raise DoubtError
    if not value.isascii() and not value.decode().isprintable():
        raise DoubtError


def require_unique_keys(value: bytes) -> None:
    """Check that no mapping in JSON has a duplicate or very long key, and that nothing is nested deeply.

    Raises:
        DoubtError: a key is duplicate or too long.
        msgspec.MsgspecError: it is nested too deeply, or isn't JSON.
    """
    _decode_shallow(value)
    json.loads(value, object_pairs_hook=_require_unique)


def _require_unique(pairs: list[tuple[str, Any]]) -> None:
    keys = {key for key, _ in pairs}
    if len(keys) != len(pairs) or any(len(key) > MAX_KEY for key in keys):
        raise DoubtError


def _nested(levels: int) -> Any:
    """Return the type of JSON with lists and mappings nested up to this many levels."""
    scalar = str | int | float | bool | None
    if not levels:
        return scalar
    inner = _nested(levels - 1)
    return scalar | list[inner] | dict[str, inner]  # type: ignore[valid-type]  # made at run time


_decode_shallow: Final = msgspec.json.Decoder(_nested(_MAX_DEPTH)).decode

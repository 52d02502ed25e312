"""Checks that JSON means the same in YAML.

Nearly all JSON is also YAML. The exceptions are some characters, which YAML rejects or folds, and very long keys. Our
own YAML loader also limits nesting and rejects duplicate keys. JSON that passes the checks has none of these flaws.
"""

import json
from typing import Any, Final

import msgspec

_STEP: Final = 250
_GAP: Final = b"  "
_LONG_GAP: Final = b" " * (2 * _STEP)
"""A gap so long that taking every 250th byte of it leaves two adjacent spaces, which are much faster to find."""

MAX_KEY: Final = 80
"""The most characters of a key. Even with escapes of six and a gap before the colon, a key is below YAML's 1,024."""

_MAX_DEPTH: Final = 8


class DoubtError(Exception):
    """Raised for JSON that YAML might read differently."""


def require_plain(value: bytes) -> None:
    """Check that every character of one-line JSON means the same in YAML.

    Raises:
        DoubtError: the JSON contains tabs, unprintable characters, or many spaces in a row.
    """
    if b"\t" in value or b"\r" in value or b"\x7f" in value or (_GAP in value[::_STEP] and _LONG_GAP in value):
        raise DoubtError
    if not value.isascii() and not value.decode().isprintable():
        raise DoubtError


def require_unique_keys(value: bytes) -> None:
    """Check that no mapping in JSON has a duplicate or very long key, and that nothing is nested deeply.

    Raises:
        DoubtError: a key is duplicate or too long.
        msgspec.MsgspecError: the value is nested too deeply, or isn't JSON.
    """
    _decode_shallow(value)
    json.loads(value, object_pairs_hook=_require_unique)


def _require_unique(pairs: list[tuple[str, Any]]) -> None:
    keys = {key for key, _ in pairs}
    if len(keys) != len(pairs) or any(len(key) > MAX_KEY for key in keys):
        raise DoubtError


def _nested(levels: int) -> Any:
    """Return the type of JSON whose lists and mappings are nested at most ``levels`` deep."""
    scalar = str | int | float | bool | None
    if not levels:
        return scalar
    inner = _nested(levels - 1)
    return scalar | list[inner] | dict[str, inner]  # type: ignore[valid-type]  # the type is built at run time


_decode_shallow: Final = msgspec.json.Decoder(_nested(_MAX_DEPTH)).decode

"""Reads secrets from the configuration or from files of their own. No message ever contains one."""

import re
from pathlib import Path
from typing import Final

from cachesync.errors import UsageError
from cachesync.values import Secret

_SPACE: Final = ord(" ")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_=-]+")


def secret(key: str, value: Secret | str | None, file: Path | None) -> str | None:
    """Return a secret; None if it isn't set, or is set to an empty environment variable.

    ``key`` is its name in the configuration, such as ``index.api_key``, ``value`` is the value there, and ``file`` is
    the file that contains it instead. An API key must be one line of base64.

    Raises:
        UsageError: it can't be read, is invalid, or is given both ways.
    """
    found, where = value.reveal() if isinstance(value, Secret) else value or "", ""
    if not found:
        if file is None:
            return None
        key, where = f"{key}_file", f" in {file}"
        found = _content(key, file)
    elif file is not None:
        raise UsageError(f"{key}: expected either this or {key}_file, not both")
    if key.partition(".")[2].startswith("api_key") and not _BASE64.fullmatch(found):
        raise UsageError(f"{key}: expected one line of base64{where}: the 'encoded' value of the created key")
    if not found or any(ord(each) < _SPACE for each in found):
        raise UsageError(f"{key}: expected one line{where}, not empty and without control characters")
    return found


def _content(key: str, file: Path) -> str:
    """Return the text of a file without a byte order mark and trailing line ends."""
    try:
        return file.read_text("utf-8-sig").strip("\r\n")
    except OSError as error:
        raise UsageError(f"{key}: cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{key}: cannot read {file}: expected UTF-8") from None

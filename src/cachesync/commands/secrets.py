"""Secrets, from the configuration or from files of their own. What they are is never said."""

import re
from pathlib import Path
from typing import Final

from cachesync.errors import UsageError
from cachesync.values import Secret

_BLANK: Final = ord(" ")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_=-]+")


def secret(key: str, value: Secret | str | None, file: Path | None) -> str | None:
    """Return a secret; None where there is none, as of an empty variable of the environment.

    Args:
        key: its name in the configuration, as in ``index.api_key``. An API key is one line of base64.
        value: what the configuration says itself.
        file: where it is kept otherwise.

    Raises:
        UsageError: it can't be read, can't be one, or is given twice.
    """
    found, where = value.reveal() if isinstance(value, Secret) else value or "", ""
    if not found:
        if file is None:
            return None
        key, where = f"{key}_file", f" in {file}"
        found = _content(key, file)
    elif file is not None:
        raise UsageError(f"{key}: expected it, or {key}_file, not both")
    if key.partition(".")[2].startswith("api_key") and not _BASE64.fullmatch(found):
        raise UsageError(f"{key}: expected one line of base64{where}: what creating a key answers as 'encoded'")
    if not found or any(ord(each) < _BLANK for each in found):
        raise UsageError(f"{key}: expected one line{where}, not empty and without control characters")
    return found


def _content(key: str, file: Path) -> str:
    """Return what is in a file, but for a mark of its encoding at its beginning and what ends its line."""
    try:
        return file.read_text("utf-8-sig").strip("\r\n")
    except OSError as error:
        raise UsageError(f"{key}: cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{key}: cannot read {file}: expected UTF-8") from None

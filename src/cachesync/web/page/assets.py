"""The files beside the page: one stylesheet, one script, one icon."""

from pathlib import Path
from typing import Final, NamedTuple

import xxhash

FOLDER: Final = Path(__file__).parents[1]
"""What has the templates and these files in it."""

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """A file, and where it is served."""

    name: str
    """Below the base path. That of a stylesheet or script changes with its content, so it may be kept for ever."""
    content: bytes
    media_type: str


def stylesheet() -> Asset:
    """Return the stylesheet."""
    return _named_by_content("cachesync.css")


def script() -> Asset:
    """Return the script."""
    return _named_by_content("cachesync.js")


def icon() -> Asset:
    """Return the icon."""
    return Asset("icon.svg", *_read("icon.svg"))


def _named_by_content(file: str) -> Asset:
    content, media_type = _read(file)
    stem, _, suffix = file.rpartition(".")
    return Asset(f"static/{stem}.{xxhash.xxh3_64_hexdigest(content)}.{suffix}", content, media_type)


def _read(file: str) -> tuple[bytes, str]:
    path = FOLDER / "static" / file
    return path.read_bytes(), _TYPES[path.suffix]

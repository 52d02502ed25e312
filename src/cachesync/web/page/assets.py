"""The page's static files: one stylesheet, one script, one icon."""

from pathlib import Path
from typing import Final, NamedTuple

import xxhash

FOLDER: Final = Path(__file__).parents[1]
"""The folder of the templates and static files."""

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """A static file and its URL."""

    name: str
    """Its path below the base path. That of a stylesheet or script has a digest, so it can be cached forever."""
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

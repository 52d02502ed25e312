"""The page's static files: one stylesheet, one script, one icon."""

from pathlib import Path
from typing import Final, NamedTuple

import xxhash

FOLDER: Final = Path(__file__).parents[1]
"""The folder that contains the templates and static files."""

_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class Asset(NamedTuple):
    """A static file and its URL."""

    name: str
    """The path below the base path. A stylesheet's or script's path contains a digest, so it can be cached forever."""
    content: bytes
    media_type: str
    caching: str = "public, max-age=86400"
    """The value of the ``Cache-Control`` header."""


def load() -> tuple[Asset, Asset, Asset]:
    """Return the stylesheet, the script and the icon."""
    style, code, icon = (FOLDER / "static" / name for name in ("cachesync.css", "cachesync.js", "icon.svg"))
    return _named_by_content(style), _named_by_content(code), Asset(icon.name, icon.read_bytes(), _TYPES[icon.suffix])


def _named_by_content(file: Path) -> Asset:
    content = file.read_bytes()
    name = f"static/{file.stem}.{xxhash.xxh3_64_hexdigest(content)}{file.suffix}"
    return Asset(name, content, _TYPES[file.suffix], "public, max-age=31536000, immutable")

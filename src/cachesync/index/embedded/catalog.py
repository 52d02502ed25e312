"""Lists the generations in the folder of an embedded index, and which of them is live.

``DIR/NAME/live`` is a symbolic link to the live generation's folder ``DIR/NAME/NAME-1``, so going live takes one
rename. A folder with a file ``building`` was never live. A folder to be removed is first renamed ``NAME-1.removed``, so
a partly removed generation is never mistaken for a whole one. ``DIR/NAME/held`` names the generation that a rollback
made live and, during a second rollback, the previous one. While either of them is live, the index is pinned.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from cachesync.errors import IndexUnavailableError
from cachesync.index.catalog import Catalog, GenerationEntry, number_in

META: Final = "cachesync.json"
LIVE: Final = "live"
PIN: Final = "held"
BUILDING: Final = "building"
REMOVED: Final = ".removed"


def read_catalog(folder: Path) -> Catalog:
    """List the generations in an index's folder. A generation is whole if its metadata was written.

    The highest number takes into account every folder, the link and the pins. Folders may have been deleted by hand; if
    a number were reused, the link could lead to an empty generation, a pin could apply to the wrong generation, and
    the remains of an old generation could block the new one.

    Raises:
        IndexUnavailableError: the generations can't be listed, which is no reason to build another.
    """
    linked = _linked_name(folder)
    try:
        names = [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return Catalog([], None, None, 0)
    except OSError as error:
        raise IndexUnavailableError(f"cannot read {folder}: {error.strerror}") from error
    found = (_entry(folder / name, number) for name, number in _numbered(folder.name, names) if name != linked)
    entries = list(filter(None, found))
    live = _live_entry(folder, linked) if linked else None
    names = [name.removesuffix(REMOVED) for name in names] + pins(folder) + ([linked] if linked else [])
    highest = max((number for _, number in _numbered(folder.name, names)), default=0)
    return Catalog([*entries, *([live] if live else [])], live, None, highest)


def _numbered(index: str, names: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield each name that has the form of a generation's name, with the generation's number."""
    for name in names:
        if (number := number_in(index, name)) is not None:
            yield name, number


def _live_entry(folder: Path, linked: str) -> GenerationEntry:
    """Return the generation that readers find, wherever the link leads, and even if nothing is there any more.

    Without a number of its own, as in an index that was renamed, the generation counts as the latest.
    """
    number = number_in(folder.name, linked)
    whole = is_there(folder / linked / META)
    return GenerationEntry(linked, sys.maxsize if number is None else number, building=False, public=True, whole=whole)


def _entry(folder: Path, number: int) -> GenerationEntry | None:
    """Return the generation that isn't live in a folder with a generation's name; None if no build has created it."""
    whole = is_there(folder / META)
    if not (whole or _has_only_mark(folder)):
        return None
    building = not whole or is_there(folder / BUILDING)
    return GenerationEntry(folder.name, number, building, public=False, whole=whole)


def _has_only_mark(folder: Path) -> bool:
    """Whether a folder contains nothing but a build's mark, which is written before our metadata."""
    try:
        return all(entry.name == BUILDING for entry in folder.iterdir())
    except OSError:  # the writer has removed it just now, or it isn't a folder, or not one that we may read
        return False


def live_folder(folder: Path) -> Path | None:
    """Return the live generation's folder, or None if no generation is live.

    Raises:
        IndexUnavailableError: the link can't be read, which is no reason to build another generation.
    """
    linked = _linked_name(folder)
    return folder / linked if linked else None


def _linked_name(folder: Path) -> str | None:
    try:
        return str((folder / LIVE).readlink())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IndexUnavailableError(f"cannot read {folder / LIVE}: {error.strerror}") from error


def pins(folder: Path) -> list[str]:
    """Return the generations that pin the index while they are live."""
    try:
        return (folder / PIN).read_text().split()
    except OSError:
        return []


def is_there(file: Path) -> bool:
    """Whether a file exists.

    Raises:
        IndexUnavailableError: the file system reported an error.
    """
    try:
        return file.is_file()
    except OSError as error:
        raise IndexUnavailableError(f"cannot read {file}: {error.strerror}") from error

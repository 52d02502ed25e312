"""Lists the generations in the folder of an embedded index, and which of them is live.

``DIR/NAME/live`` is a symbolic link to the live generation's folder ``DIR/NAME/NAME-1``, so going live takes one
rename. A folder with a file ``building`` was never live. A folder to be removed is first renamed ``NAME-1.removed``, so
a partly removed generation is never mistaken for a whole one. ``DIR/NAME/held`` names the generation that a rollback
made live and, during a second rollback, the previous one. While either of them is live, the index is pinned.
"""

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
    linked = live_folder(folder)
    try:
        names = [entry.name for entry in folder.iterdir()]
        entries = [
            _entry(folder / name, number, linked)
            for name, number in _numbered(folder.name, names)
            if _is_ours(folder / name, linked)
        ]
    except FileNotFoundError:
        return Catalog([], None, None, 0)
    except OSError as error:
        raise IndexUnavailableError(f"cannot read {folder}: {error.strerror}") from error
    names = [name.removesuffix(REMOVED) for name in names] + pins(folder) + ([linked.name] if linked else [])
    live = next((entry for entry in entries if entry.public), None)
    broken = f"{folder / LIVE} leads to {linked}, which isn't a generation" if linked and not live else None
    return Catalog(entries, live, broken, max((number for _, number in _numbered(folder.name, names)), default=0))


def _numbered(index: str, names: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield each name that has the form of a generation's name, with the generation's number."""
    for name in names:
        if (number := number_in(index, name)) is not None:
            yield name, number


def _entry(folder: Path, number: int, linked: Path | None) -> GenerationEntry:
    public = folder == linked
    whole = is_there(folder / META)
    building = not public and (not whole or is_there(folder / BUILDING))
    return GenerationEntry(folder.name, number, building, public, whole)


def _is_ours(folder: Path, linked: Path | None) -> bool:
    """Whether a folder with a generation's name is one: the link leads to it, or a build of ours has created it."""
    if folder == linked:
        return folder.is_dir()
    return not folder.is_symlink() and (is_there(folder / META) or _has_only_mark(folder))


def _has_only_mark(folder: Path) -> bool:
    """Whether a folder contains nothing but a build's mark, which is written before our metadata."""
    try:
        return all(entry.name == BUILDING for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):  # the writer may have removed it just now
        return False


def live_folder(folder: Path) -> Path | None:
    """Return the live generation's folder, or None if no generation is live.

    Raises:
        IndexUnavailableError: the link can't be read, which is no reason to build another generation.
    """
    try:
        return folder / (folder / LIVE).readlink()
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

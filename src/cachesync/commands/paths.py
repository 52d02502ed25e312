"""Pages named on the command line."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cachesync.documents import Rendered, render
from cachesync.errors import UsageError
from cachesync.pages.page import PREFIX, Page, Problem, parse
from cachesync.sync.read import Content, Moving, Unreadable, read
from cachesync.sync.scan import Entry, Scan, Source, look_at, root_of, scan_at


class Named(NamedTuple):
    """A page named by a path, and its documents."""

    page: str
    """The page's path below the root."""
    documents: Rendered | Problem
    """A problem names the file as the user would."""


def named_pages(paths: tuple[Path, ...], source: Source) -> Iterator[Named]:
    """Read the pages at ``paths`` by the rules of ``sync``; a folder stands for all pages in it.

    Raises:
        UsageError: nothing is there, or a folder has no page.
    """
    for path in paths:
        if not os.path.lexists(path):
            raise UsageError(f"{path}: No such file or directory")
    for path in paths:
        root, below = _placed(path, source.root)
        placed = source._replace(root=root)
        is_folder = path.is_dir() and not placed.pattern.matches(below)
        folder = f"{below}/" if below else ""
        found = scan_at(placed, [folder], root_of(placed)) if is_folder else _one(placed, below)
        if not (found.entries or found.problems):
            raise UsageError(f"{path}: no page in this folder; expected files that pages.include matches")
        named = [Named(problem.page, problem) for problem in found.problems]
        named += [Named(page, _documents(entry, placed)) for page, entry in sorted(found.entries.items())]
        for page, documents in named:
            if isinstance(documents, Problem):
                shown = path / os.path.relpath(page, below or ".") if is_folder else path
                yield Named(page, Problem(str(shown), documents.message, documents.line))
            else:
                yield Named(page, documents)


def _placed(path: Path, root: Path) -> tuple[Path, str]:
    """Return the root that a path is below, and the path below it.

    Elsewhere than below ``pages.root``, the root is what holds the ``_cache`` folder that the path is in, else a folder
    itself, else the folder that a file is in.
    """
    absolute = Path(os.path.normpath(path.absolute()))  # not resolved: a page is named by where it was found
    for base in (Path(os.path.normpath(root.absolute())), root.resolve()):
        if absolute.is_relative_to(base):
            below = absolute.relative_to(base).as_posix()
            return base, "" if below == "." else below
    before, cache, after = f"{absolute.as_posix()}/".rpartition(f"/{PREFIX}")
    if cache:
        return Path(before or "/"), (PREFIX + after).rstrip("/")
    return (absolute, "") if absolute.is_dir() else (absolute.parent, absolute.name)


def _one(source: Source, path: str) -> Scan:
    try:
        return Scan({path: look_at(source, path)}, {}, [])
    except OSError as error:
        return Scan({}, {}, [Problem(path, f"cannot be looked at: {error.strerror}")])


def _documents(entry: Entry, source: Source) -> Rendered | Problem:
    match read(source, entry):
        case Content(data):
            page = parse(entry.path, data)
            return render(page) if isinstance(page, Page) else page
        case Unreadable(message):
            return Problem(entry.path, message)
        case Moving():
            return Problem(entry.path, "it changed while it was read: try again")

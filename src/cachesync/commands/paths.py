"""Pages named on the command line."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cachesync.documents import Rendered, render
from cachesync.errors import UsageError
from cachesync.pages.page import PREFIX, Page, Problem, parse
from cachesync.sync.apply import Source
from cachesync.sync.read import Content, Moving, Unreadable, read
from cachesync.sync.scan import Entry, signature_of


class Named(NamedTuple):
    """A page named by a path, and its documents."""

    file: Path
    page: str
    """The page's path below the root."""
    documents: list[Rendered] | Problem
    """A problem names the file as the user would."""


def named_pages(paths: tuple[Path, ...], source: Source) -> Iterator[Named]:
    """Read the pages at ``paths``; a folder stands for all pages in it.

    Raises:
        UsageError: nothing is there, or a folder has no page.
    """
    for path in paths:
        files = _pages_below(path, source) if path.is_dir() else [path]
        if not files:
            raise UsageError(f"{path}: no page in this folder; expected files that pages.include matches")
        for file in files:
            page = page_path(file, source.root)
            found = _parse(file, page, source)
            documents = render(found) if isinstance(found, Page) else found
            if isinstance(documents, Problem):
                documents = Problem(str(file), documents.message, documents.line)
            yield Named(file, page, documents)


def page_path(file: Path, root: Path) -> str:
    """Return what the path of a page is below the root.

    A file elsewhere is named from its ``_cache`` folder on, if it is in one.
    """
    absolute = _absolute(file)
    for base in (_absolute(root), root.resolve()):
        if absolute.is_relative_to(base):
            return absolute.relative_to(base).as_posix()
    before, folder, after = absolute.as_posix().rpartition(f"/{PREFIX}")
    return PREFIX + after if folder else before.lstrip("/") or absolute.name


def _absolute(path: Path) -> Path:
    """Make a path absolute without following links: a page is named by where it was found."""
    return Path(os.path.normpath(path.absolute()))


def _pages_below(folder: Path, source: Source) -> list[Path]:
    """List a folder's pages by name. Folders that are links aren't followed, as in a scan."""
    files = [Path(path) / name for path, _, names in os.walk(folder) for name in names]
    return sorted(file for file in files if source.pattern.matches(page_path(file, source.root)))


def _parse(file: Path, page: str, source: Source) -> Page | Problem:
    try:
        entry = Entry(str(file.absolute()), signature_of(file.stat()))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    match read(Path("/"), entry, source.max_bytes):
        case Content(data):
            return parse(page, data)
        case Unreadable(message):
            return Problem(page, message)
        case Moving():
            return Problem(page, "it changed while it was read: try again")

"""Pages named on the command line."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cachesync.documents import Rendered, render
from cachesync.errors import UsageError
from cachesync.log import spelled
from cachesync.pages.page import PREFIX, Page, Problem, parse
from cachesync.sync.passes import Progress
from cachesync.sync.read import Changing, Content, Unreadable, read
from cachesync.sync.scan import EXPECTED, Entry, PathWarning, Scan, Source, by_path, misnamed, page_at, root_of, scan_at


class Named(NamedTuple):
    """A page named by a path, and its documents; or what there is a warning of."""

    page: str
    """The page's path below the root."""
    documents: Rendered | Problem | PathWarning
    """A problem and a warning name the file as the user would."""


class _PathTarget(NamedTuple):
    """What is at a path of the command line."""

    path: Path
    source: Source
    below: str
    """The path below the root."""
    is_folder: bool
    """It stands for the pages in it."""
    found: Scan

    def problem(self, problem: Problem) -> Problem:
        """Name the file of a problem as the user would."""
        return Problem(self._shown(problem.page), problem.message, problem.line)

    def warnings(self) -> list[PathWarning]:
        """Name the paths of warnings as the user would."""
        return [PathWarning(self._shown(each.path), each.message) for each in by_path(self.found.warnings)]

    def _shown(self, path: str) -> str:
        shown = self.path / os.path.relpath(path, spelled(self.below) or ".") if self.is_folder else self.path
        return spelled(os.path.normpath(shown))


def named_pages(paths: tuple[Path, ...], source: Source, progress: Progress) -> Iterator[Named]:
    """Read the pages at ``paths`` by the rules of ``sync``; a folder stands for all pages in it.

    Raises:
        UsageError: nothing is there, or a folder has no page. None is read then.
    """
    places = [_look(path, source) for path in paths]
    done, pages = 0, sum(len(place.found.entries) for place in places)
    for place in places:
        for warning in place.warnings():
            yield Named(warning.path, warning)
        for problem in place.found.problems:
            yield Named(problem.page, place.problem(problem))
        for page, entry in sorted(place.found.entries.items()):
            documents = _documents(entry, place.source)
            yield Named(page, place.problem(documents) if isinstance(documents, Problem) else documents)
            done += 1
            progress(done, pages)


def _look(path: Path, source: Source) -> _PathTarget:
    """Look at what is at a path.

    Raises:
        UsageError: nothing, or a folder without a page.
    """
    root, below = _placed(path, source.root)
    placed = source._replace(root=root)
    is_folder = _is_folder(path) and not placed.pattern.matches(below)
    try:
        found = _folder(placed, below) if is_folder else _file(placed, below)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except OSError as error:
        found = Scan({}, {}, [Problem(below or ".", f"cannot be read: {error.strerror}")], [])
    place = _PathTarget(path, placed, below, is_folder, found)
    if not (found.entries or found.problems):
        raise UsageError("\n".join([f"{path}: no page in this folder; {EXPECTED}", *map(str, place.warnings())]))
    return place


def _folder(source: Source, below: str) -> Scan:
    next(source.root.iterdir(), None)  # else it would be asked for by the configuration's name
    return scan_at(source, [f"{below}/" if below else ""], root_of(source))


def _file(source: Source, path: str) -> Scan:
    if problem := misnamed(path):
        os.lstat(source.root / path)
        return Scan({}, {}, [problem], [])
    return Scan({path: page_at(source, path)}, {}, [], [])


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
    return (absolute, "") if _is_folder(absolute) else (absolute.parent, absolute.name)


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112  Path's own fails where it may not look


def _documents(entry: Entry, source: Source) -> Rendered | Problem:
    match read(source, entry):
        case Content(data):
            page = parse(entry.path, data)
            return render(page) if isinstance(page, Page) else page
        case Unreadable(message):
            return Problem(entry.path, message)
        case Changing():
            return Problem(entry.path, "it changed while it was read: try again")

"""Reads the pages that are named on the command line."""

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
    """A page named on the command line with its documents, or a path with its problem or warning."""

    page: str
    """The page's path below the root."""
    documents: Rendered | Problem | PathWarning
    """The documents, problem or warning. Problems and warnings show the path as given on the command line."""


class _PathTarget(NamedTuple):
    """The file or folder that a path on the command line refers to."""

    path: Path
    source: Source
    below: str
    """The path below the root."""
    is_folder: bool
    """Whether the path is a folder, which stands for the pages in it."""
    found: Scan

    def problem(self, problem: Problem) -> Problem:
        """Return a problem with its path as given on the command line."""
        return Problem(self._shown(problem.page), problem.message, problem.line)

    def warnings(self) -> list[PathWarning]:
        """Return the warnings with their paths as given on the command line."""
        return [PathWarning(self._shown(each.path), each.message) for each in by_path(self.found.warnings)]

    def _shown(self, path: str) -> str:
        shown = self.path / os.path.relpath(path, spelled(self.below) or ".") if self.is_folder else self.path
        return spelled(os.path.normpath(shown))


def named_pages(paths: tuple[Path, ...], source: Source, progress: Progress) -> Iterator[Named]:
    """Yield the pages at ``paths``, read by the rules of ``sync``. A folder stands for all pages in it.

    Raises:
        UsageError: a path doesn't exist, or a folder doesn't contain a page. In either case, no pages are read.
    """
    targets = [_target(path, source) for path in paths]
    done, pages = 0, sum(len(target.found.entries) for target in targets)
    for target in targets:
        for warning in target.warnings():
            yield Named(warning.path, warning)
        for problem in target.found.problems:
            yield Named(problem.page, target.problem(problem))
        for page, entry in sorted(target.found.entries.items()):
            documents = _documents(entry, target.source)
            yield Named(page, target.problem(documents) if isinstance(documents, Problem) else documents)
            done += 1
            progress(done, pages)


def _target(path: Path, source: Source) -> _PathTarget:
    """Return the file or folder that a path refers to, with its pages.

    Raises:
        UsageError: the path doesn't exist, or it is a folder without a page.
    """
    root, below = _split_at_root(path, source.root)
    rooted = source._replace(root=root)
    is_folder = _is_folder(path) and not rooted.pattern.matches(below)
    try:
        found = _scan_folder(rooted, below) if is_folder else _scan_file(rooted, below)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except OSError as error:
        found = Scan({}, {}, [Problem(below or ".", f"cannot be read: {error.strerror}")], [])
    target = _PathTarget(path, rooted, below, is_folder, found)
    if not (found.entries or found.problems):
        raise UsageError("\n".join([f"{path}: no page in this folder; {EXPECTED}", *map(str, target.warnings())]))
    return target


def _scan_folder(source: Source, below: str) -> Scan:
    next(source.root.iterdir(), None)  # fails here with an error about the path: a scan would blame pages.root
    return scan_at(source, [f"{below}/" if below else ""], root_of(source))


def _scan_file(source: Source, path: str) -> Scan:
    if problem := misnamed(path):
        os.lstat(source.root / path)
        return Scan({}, {}, [problem], [])
    return Scan({path: page_at(source, path)}, {}, [], [])


def _split_at_root(path: Path, root: Path) -> tuple[Path, str]:
    """Return the root that a path is below, and the path below that root.

    For a path outside ``pages.root``, the root is the folder that contains the path's ``_cache`` folder. For a path
    without a ``_cache`` folder, the root is the path itself if it is a folder, otherwise the folder of the file.
    """
    absolute = Path(os.path.normpath(path.absolute()))  # links are not resolved: a page is named by where it was found
    for base in (Path(os.path.normpath(root.absolute())), root.resolve()):
        if absolute.is_relative_to(base):
            below = absolute.relative_to(base).as_posix()
            return base, "" if below == "." else below
    before, cache, after = f"{absolute.as_posix()}/".rpartition(f"/{PREFIX}")
    if cache:
        return Path(before or "/"), (PREFIX + after).rstrip("/")
    return (absolute, "") if _is_folder(absolute) else (absolute.parent, absolute.name)


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112  Path.is_dir raises PermissionError


def _documents(entry: Entry, source: Source) -> Rendered | Problem:
    match read(source, entry):
        case Content(data):
            page = parse(entry.path, data)
            return render(page) if isinstance(page, Page) else page
        case Unreadable(message):
            return Problem(entry.path, message)
        case Changing():
            return Problem(entry.path, "it changed while it was read: try again")

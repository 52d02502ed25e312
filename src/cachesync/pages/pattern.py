"""Patterns that select which files are pages."""

import fnmatch
import functools
import re
from collections.abc import Iterator
from typing import Final

import pathspec


class Pattern:
    """Selects pages: paths that match ``include`` but not ``exclude``, in the syntax of ``.gitignore``.

    Files and folders whose names begin with a dot or match ``ignore`` (with the wildcards of :mod:`fnmatch`) are
    neither pages nor folders of pages, unless a pattern of ``include`` spells their names out.
    """

    def __init__(self, include: tuple[str, ...], exclude: tuple[str, ...] = (), ignore: tuple[str, ...] = ()) -> None:
        """Compile the patterns.

        Raises:
            ValueError: one of the patterns is invalid.
        """
        self.include, self.exclude, self.ignore = include, exclude, ignore
        try:
            self._include = pathspec.GitIgnoreSpec.from_lines(include).match_file
            self._exclude = pathspec.GitIgnoreSpec.from_lines([*exclude, *_emptied_folders(exclude)]).match_file
        except (ValueError, re.error) as error:
            raise ValueError(f"invalid pattern: {error}") from None
        self._names = tuple(map(_names, include))
        self._is_ignored = re.compile("|".join([r"\.", *map(fnmatch.translate, ignore)])).match
        self._has_ignored = functools.lru_cache(_FOLDERS)(lambda path: any(map(self._is_ignored, path.split("/"))))
        self._starts = tuple(_fixed_start(pattern) for pattern in include)
        self._ends = _fixed_ends(include)
        self._plain = _PLAIN.fullmatch(include[0]) if len(include) == 1 else None

    def matches(self, path: str) -> bool:
        """Whether the file at a path below the root is a page, provided that its folder may lead to pages.

        The path itself must match ``include``; a match with one of the folders above the file isn't enough.
        """
        if not path.endswith(self._ends):
            return False
        return self._is_included(path) and not (self.exclude and self._exclude(_line(path)))

    def _is_included(self, path: str) -> bool:
        if self._plain:  # nearly always the case; matching with pathspec takes ten times as long
            name = f"/{self._plain['name']}"
            return path.startswith(self._plain["start"]) and path.endswith(name) and f"{name}/" not in path
        line = _line(path)
        included = self._include(line) and not self._include(line.rpartition("/")[0])
        return included and not self._ignores(path, path.count("/"))

    def is_fixed_to(self, start: str, name: str) -> bool:
        """Whether every page is called ``name`` and is below the folder ``start``, which ends in ``/``."""
        return self._ends == (name,) and all(each.startswith(start) for each in self._starts)

    def may_lead_to_pages(self, folder: str) -> bool:
        """Whether there can be pages below a folder, a path that ends in ``/``. Other folders needn't be listed."""
        if not (folder.startswith(self._starts) or any(start.startswith(folder) for start in self._starts)):
            return False
        return not self._ignores(folder) and not (self.exclude and self._exclude(_line(folder)))

    def _ignores(self, path: str, first: int = 0) -> bool:
        """Whether a path has ignored names, from index ``first`` on, and no pattern spells all of them out."""
        above, _, name = path.rstrip("/").rpartition("/")
        if not (self._is_ignored(name) or self._has_ignored(above)):
            return False
        names = enumerate(path.split("/"))
        ignored = [(depth, name) for depth, name in names if depth >= first and self._is_ignored(name)]
        return not any(all(_spells_out(pattern, *each) for each in ignored) for pattern in self._names)


_FOLDERS: Final = 1_000
"""The most folders for which it is cached whether they have ignored names. Paths are checked folder by folder."""


def _line(path: str) -> str:
    """Return a path with its line breaks replaced, because pathspec can't match line breaks."""
    return path.replace("\n", "?")


def _names(pattern: str) -> tuple[str, ...]:
    """Return the names that a pattern of ``include`` consists of, from the root down."""
    names = pattern.replace("\\", "").strip("/").split("/")
    return tuple(names if "/" in pattern.rstrip("/") else ["**", *names])


def _spells_out(names: tuple[str, ...], depth: int, name: str) -> bool:
    """Whether a pattern matches a name at the given depth, and not by a wildcard for the name's first character."""
    open_from = names.index("**") if "**" in names else len(names)
    fitting = names[depth : depth + 1] if depth < open_from else names[open_from:]
    return any(each[:1] == name[:1] and fnmatch.fnmatchcase(name, each) for each in fitting)


def _emptied_folders(exclude: tuple[str, ...]) -> Iterator[str]:
    """Yield each folder whose whole content, but not the folder itself, is excluded by a pattern like ``tag/*``."""
    for pattern in exclude:
        folder = re.sub(r"(/\*\*?)+$", "", pattern)
        if folder != pattern and folder.strip("/*"):
            yield f"/{folder.lstrip('/')}/"


_PLAIN: Final = re.compile(r"/?(?P<start>[\w.-]+/)\*\*/(?P<name>[\w.-]+)", re.ASCII)
"""A pattern like ``_cache/**/specs.md``: one name, anywhere below one folder."""


def _fixed_ends(include: tuple[str, ...]) -> tuple[str, ...]:
    """Return the suffixes of all pages' paths: ``specs.md`` for ``_cache/**/specs.md``, or an empty one if unknown.

    The suffixes rule out most folders and other files without matching any pattern.
    """
    ends = tuple(pattern.rpartition("/")[2] for pattern in include)
    return ends if all(end and not set(end) & _WILD for end in ends) else ("",)


_WILD: Final = frozenset("*?[\\ ")


def _fixed_start(pattern: str) -> str:
    """Return the folders before the first wildcard: ``_cache/`` for ``_cache/**/specs.md``, ``""`` for ``specs.md``."""
    if "/" not in pattern.rstrip("/"):
        return ""
    folders = pattern.lstrip("/").split("/")[:-1]
    wild = next((position for position, name in enumerate(folders) if set(name) & _WILD), len(folders))
    return "".join(f"{name}/" for name in folders[:wild])

"""Which files are pages."""

import fnmatch
import functools
import re
from collections.abc import Iterator
from typing import Final

import pathspec


class Pattern:
    """Which paths are pages: ``include`` without ``exclude``, in the language of ``.gitignore``.

    Names that begin with a dot, and those that ``ignore`` has (with the wildcards of :mod:`fnmatch`), are neither pages
    nor folders of pages, unless a pattern of ``include`` spells them out.
    """

    def __init__(self, include: tuple[str, ...], exclude: tuple[str, ...] = (), ignore: tuple[str, ...] = ()) -> None:
        """Compile the patterns.

        Raises:
            ValueError: one of them is none.
        """
        self.include, self.exclude, self.ignore = include, exclude, ignore
        try:
            self._include = pathspec.GitIgnoreSpec.from_lines(include).match_file
            self._exclude = pathspec.GitIgnoreSpec.from_lines([*exclude, *_emptied_folders(exclude)]).match_file
        except (ValueError, re.error) as error:
            raise ValueError(f"no pattern: {error}") from None
        self._names = tuple(map(_names, include))
        self._is_ignored = re.compile("|".join([r"\.", *map(fnmatch.translate, ignore)])).match
        self._has_ignored = functools.lru_cache(_FOLDERS)(lambda path: any(map(self._is_ignored, path.split("/"))))
        self._starts = tuple(_fixed_start(pattern) for pattern in include)
        self._ends = _fixed_ends(include)
        self._plain = _PLAIN.fullmatch(include[0]) if len(include) == 1 else None

    def matches(self, path: str) -> bool:
        """Tell whether a file is a page by its path below the root, where its folder may lead to pages.

        That a folder above it matches ``include`` isn't enough.
        """
        if not path.endswith(self._ends):
            return False
        return self._is_included(path) and not (self.exclude and self._exclude(_line(path)))

    def _is_included(self, path: str) -> bool:
        if self._plain:  # as nearly always; asking the patterns takes ten times as long
            name = f"/{self._plain['name']}"
            return path.startswith(self._plain["start"]) and path.endswith(name) and f"{name}/" not in path
        line = _line(path)
        included = self._include(line) and not self._include(line.rpartition("/")[0])
        return included and not self._ignores(path, path.count("/"))

    def is_fixed_to(self, start: str, name: str) -> bool:
        """Tell whether all pages are called ``name`` and stand below the folder ``start`` (which ends in ``/``)."""
        return self._ends == (name,) and all(each.startswith(start) for each in self._starts)

    def may_lead_to_pages(self, folder: str) -> bool:
        """Tell whether pages can be below ``folder``, a path that ends in ``/``: nothing else need be listed."""
        if not (folder.startswith(self._starts) or any(start.startswith(folder) for start in self._starts)):
            return False
        return not self._ignores(folder) and not (self.exclude and self._exclude(_line(folder)))

    def _ignores(self, path: str, first: int = 0) -> bool:
        """Tell whether a path has, from its ``first`` name on, one that is ignored and that no pattern spells out."""
        above, _, name = path.rstrip("/").rpartition("/")
        if not (self._is_ignored(name) or self._has_ignored(above)):
            return False
        names = enumerate(path.split("/"))
        ignored = [(depth, name) for depth, name in names if depth >= first and self._is_ignored(name)]
        return not any(all(_spells_out(pattern, *each) for each in ignored) for pattern in self._names)


_FOLDERS: Final = 1_000
"""Of how many folders to remember whether their paths have ignored names: paths are asked for folder by folder."""


def _line(path: str) -> str:
    """Return a path as pathspec can match it: a line break in it would match nothing."""
    return path.replace("\n", "?")


def _names(pattern: str) -> tuple[str, ...]:
    """Return the names of a pattern of ``include``, from the root down."""
    names = pattern.replace("\\", "").strip("/").split("/")
    return tuple(names if "/" in pattern.rstrip("/") else ["**", *names])


def _spells_out(names: tuple[str, ...], depth: int, name: str) -> bool:
    """Tell whether a pattern names what is called so at this depth, by more than a wildcard at the beginning."""
    open_from = names.index("**") if "**" in names else len(names)
    fitting = names[depth : depth + 1] if depth < open_from else names[open_from:]
    return any(each[:1] == name[:1] and fnmatch.fnmatchcase(name, each) for each in fitting)


def _emptied_folders(exclude: tuple[str, ...]) -> Iterator[str]:
    """Yield the folders of which a pattern like ``tag/*`` excludes everything, though not the folder itself."""
    for pattern in exclude:
        folder = re.sub(r"(/\*\*?)+$", "", pattern)
        if folder != pattern and folder.strip("/*"):
            yield f"/{folder.lstrip('/')}/"


_PLAIN: Final = re.compile(r"/?(?P<start>[\w.-]+/)\*\*/(?P<name>[\w.-]+)", re.ASCII)
"""A pattern like ``_cache/**/specs.md``: some name, anywhere below some folder."""


def _fixed_ends(include: tuple[str, ...]) -> tuple[str, ...]:
    """Return what every page's path ends in: ``specs.md`` for ``_cache/**/specs.md``; nothing where that is open.

    It saves the patterns from being asked about each folder and each neighbour of a page.
    """
    ends = tuple(pattern.rpartition("/")[2] for pattern in include)
    return ends if all(end and not set(end) & _WILD for end in ends) else ("",)


_WILD: Final = frozenset("*?[\\ ")


def _fixed_start(pattern: str) -> str:
    """Return the folders that a pattern is fixed to: ``_cache/`` for ``_cache/**/specs.md``, none for ``specs.md``."""
    if "/" not in pattern.rstrip("/"):
        return ""
    folders = pattern.lstrip("/").split("/")[:-1]
    wild = next((position for position, name in enumerate(folders) if set(name) & _WILD), len(folders))
    return "".join(f"{name}/" for name in folders[:wild])

"""Which files are pages."""

import re
from typing import Final

import pathspec


class Pattern:
    """Which paths are pages: ``include`` without ``exclude``, in the language of ``.gitignore``."""

    def __init__(self, include: tuple[str, ...], exclude: tuple[str, ...] = ()) -> None:
        """Compile the patterns.

        Raises:
            ValueError: one of them is none.
        """
        self.include, self.exclude = include, exclude
        try:
            self._include = pathspec.GitIgnoreSpec.from_lines(include).match_file
            self._exclude = pathspec.GitIgnoreSpec.from_lines(exclude).match_file
        except (ValueError, re.error) as error:
            raise ValueError(f"no pattern: {error}") from None
        self._starts = tuple(_fixed_start(pattern) for pattern in include)
        self._ends = _fixed_ends(include)
        self._plain = _PLAIN.fullmatch(include[0]) if len(include) == 1 and not exclude else None

    def matches(self, path: str) -> bool:
        """Tell whether a file is a page by its path below the root. That a folder above it matches isn't enough."""
        if not path.endswith(self._ends):
            return False
        if self._plain:  # as nearly always; asking the patterns takes ten times as long
            name = f"/{self._plain['name']}"
            return path.startswith(self._plain["start"]) and path.endswith(name) and f"{name}/" not in path
        path = path.replace("\n", "?")  # to pathspec, a line break matches nothing
        return self._include(path) and not self._include(path.rpartition("/")[0]) and not self._exclude(path)

    def is_fixed_to(self, start: str, name: str) -> bool:
        """Tell whether all pages are called ``name`` and stand below the folder ``start`` (which ends in ``/``)."""
        return self._ends == (name,) and all(each.startswith(start) for each in self._starts)

    def may_lead_to_pages(self, folder: str) -> bool:
        """Tell whether pages can be below ``folder``, a path that ends in ``/``: nothing else need be listed."""
        return any(folder.startswith(start) or start.startswith(folder) for start in self._starts)


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

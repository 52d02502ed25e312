"""Decorations that people add to a package's name or leave out: ``libcurl``, ``numpy``, ``hdf5-devel``."""

from collections.abc import Container, Iterator, Sequence
from typing import Final, NamedTuple

from cachesync.search.typos import parts

LANGUAGES: Final = {
    "py": "py-", "python": "py-", "python2": "py-", "python3": "py-",
    "r": "r-", "cran": "r-", "bioc": "r-", "bioconductor": "r-",
    "perl": "perl-", "lua": "lua-", "ruby": "ruby-",
}  # fmt: skip
"""Words for a language, and the prefix that Spack gives to packages of this language."""

_BEFORE: Final = frozenset(("amd", "apache", "gnu", "google", "lib", "nvidia", "xorg"))
_AFTER: Final = frozenset(("compiler", "dev", "devel", "library", "libs", "toolkit"))
"""Words that only name a package's origin or kind."""

_BEFORE_IN_ONE_WORD: Final = _BEFORE | {"rocm"}
_AFTER_IN_ONE_WORD: Final = _AFTER | {
    "all", "base", "bin", "build", "c", "c++", "cli", "client", "common", "core", "cpp", "cpu", "cxx", "doc", "full",
    "gpu", "headers", "lib", "mpi", "nox", "openmpi", "serial", "server", "tools", "utils",
}  # fmt: skip
"""Suffixes of the packages into which distributions split a single package, such as ``hdf5-mpi``. As a separate word,
as in ``hdf5 mpi``, a suffix may be a variant."""

_MAX_REMOVED: Final = 4
"""The maximum number of decorations that are removed: ``libfftw3-mpi-dev`` has four."""


class Affix(NamedTuple):
    """A prefix and a suffix that the core of a package's name may have."""

    before: str
    after: str
    cost: int
    """How unlikely people are to leave the affix out: 1 or more, or 0 for the prefix of a typed language."""

    def around(self, core: str) -> str:
        """Return the whole name with this core, normalized as by :func:`cachesync.search.typos.plain`."""
        return f"{self.before}{core}{self.after}".replace("-", "")

    def is_around(self, package: str) -> bool:
        """Whether a package's name has this prefix and suffix, including their hyphens."""
        return package.startswith(self.before) and package.endswith(self.after)


_LEFT_OUT: Final = (
    *(Affix("lib", "", 1), Affix("", "-c", 1), Affix("py-", "", 1), Affix("", "-cpp", 1), Affix("r-", "", 1)),
    *(Affix("perl-", "", 1), Affix("lua-", "", 1), Affix("ruby-", "", 1)),
    *(Affix("", f"-{each}", 1) for each in ("cc", "cxx", "hip", "js", "lib", "ng", "plus")),
    *(Affix("py-py", "", 3), Affix("lua-lua", "", 3)),
)
"""Affixes that people leave out, the most likely first."""

_OF_LANGUAGE: Final = {
    language: (
        Affix(language, "", 0),
        *(each for each in _LEFT_OUT if each.before.startswith(language) and each.cost > 1),
    )
    for language in LANGUAGES.values()
}


class Core(NamedTuple):
    """Typed words without some of their decorations."""

    parts: tuple[str, ...]
    language: str = ""
    """The prefix of the package's name, if a word for a language was removed."""
    cost: int = 0
    """The cost of the removed decorations: 1 for each meaningless word, more for what may be a part of the name."""
    numberless: bool = False
    """Whether a number was removed, which may be a version."""

    @property
    def text(self) -> str:
        """The core, normalized as by :func:`cachesync.search.typos.plain`."""
        return "".join(self.parts)

    def affixes(self) -> tuple[Affix, ...]:
        """Return the affixes that the package's name may have, the most likely first."""
        return _OF_LANGUAGE[self.language] if self.language else _LEFT_OUT


def cores(words: Sequence[str]) -> list[Core]:
    """Return the words unchanged, then with more and more decorations removed, but without empty results.

    If there are several words, decorations that may be conditions of their own are not removed.
    """
    without_one = _without_one_in_one_word if len(words) == 1 else _without_one
    layer = [Core(tuple(part for word in words for part in parts(word)))]
    found: list[Core] = []
    for _ in range(_MAX_REMOVED + 1):
        layer = [core for core in layer if core.parts]
        found += layer
        layer = [less for core in layer for less in without_one(core)]
    return found


def _without_one(core: Core, before: Container[str] = _BEFORE, after: Container[str] = _AFTER) -> Iterator[Core]:
    """Yield the cores that remain after one more decoration is removed."""
    first, last = core.parts[0], core.parts[-1]
    rest, front, cost = core.parts[1:], core.parts[:-1], core.cost + 1
    if rest and first in LANGUAGES and core.language in ("", LANGUAGES[first]):
        yield core._replace(parts=rest, cost=cost, language=LANGUAGES[first])
    if rest and first in before:
        yield core._replace(parts=rest, cost=cost)
    if front and last in after:
        yield core._replace(parts=front, cost=cost)
    if first.startswith("lib") and len(first) > 4:
        yield core._replace(parts=(first[3:], *rest), cost=cost)
    if last.endswith("+"):
        yield core._replace(parts=(*front, last.rstrip("+")), cost=cost)


def _without_one_in_one_word(core: Core) -> Iterator[Core]:
    """Yield such cores for a single word, and also remove decorations that would be conditions as separate words."""
    yield from _without_one(core, _BEFORE_IN_ONE_WORD, _AFTER_IN_ONE_WORD)
    last, front = core.parts[-1], core.parts[:-1]
    if front and last in LANGUAGES and not core.language:
        yield core._replace(parts=front, cost=core.cost + 1, language=LANGUAGES[last])
        yield core._replace(parts=front, cost=core.cost + 2)
    if last.endswith("toolkit") and len(last) > 9:
        yield core._replace(parts=(*front, last.removesuffix("toolkit")), cost=core.cost + 1)
    if (numberless := _without_number(core.parts)) not in ((), core.parts):
        yield core._replace(parts=numberless, cost=core.cost + 2, numberless=True)


def _without_number(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Remove a number at the end, such as a version: ``glib2`` and ``glib 2 0`` become ``glib``."""
    if not parts[-1].isdigit():
        return (*parts[:-1], parts[-1].rstrip("0123456789"))
    while parts and parts[-1].isdigit():
        parts = parts[:-1]
    return parts

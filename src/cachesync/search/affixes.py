"""What people put before and behind a package's name, or leave out: ``libcurl``, ``numpy``, ``hdf5-devel``."""

from collections.abc import Container, Iterator, Sequence
from typing import Final, NamedTuple

from cachesync.search.typos import parts

LANGUAGES: Final = {
    "py": "py-", "python": "py-", "python2": "py-", "python3": "py-",
    "r": "r-", "cran": "r-", "bioc": "r-", "bioconductor": "r-",
    "perl": "perl-", "lua": "lua-", "ruby": "ruby-",
}  # fmt: skip
"""Words for a language, and how Spack begins the names of its packages."""

_BEFORE: Final = frozenset(("amd", "apache", "gnu", "google", "lib", "nvidia", "xorg"))
_BEHIND: Final = frozenset(("compiler", "dev", "devel", "library", "libs", "toolkit"))
"""Words that say whose a package is, or of which kind, and nothing more."""

_BEFORE_IN_ONE_WORD: Final = _BEFORE | {"rocm"}
_BEHIND_IN_ONE_WORD: Final = _BEHIND | {
    "all", "base", "bin", "build", "c", "c++", "cli", "client", "common", "core", "cpp", "cpu", "cxx", "doc", "full",
    "gpu", "headers", "lib", "mpi", "nox", "openmpi", "serial", "server", "tools", "utils",
}  # fmt: skip
"""Words by which distributions tell the packages that they make of one: ``hdf5-mpi``, where ``hdf5 mpi`` may ask for a
variant."""

_MOST: Final = 4
"""So many decorations may be taken off: ``libfftw3-mpi-dev`` has four."""


class Affix(NamedTuple):
    """What a package's name may have around its core."""

    before: str
    behind: str
    cost: int
    """How unlikely it is that somebody leaves it out: 1, or more."""

    def around(self, core: str) -> str:
        """Return the whole name, spelled as by :func:`cachesync.search.typos.plain`."""
        return f"{self.before}{core}{self.behind}".replace("-", "")

    def is_around(self, package: str) -> bool:
        """Tell whether a package's name begins and ends so, with the hyphens that belong to it."""
        return package.startswith(self.before) and package.endswith(self.behind)


_LEFT_OUT: Final = (
    *(Affix("lib", "", 1), Affix("", "-c", 1), Affix("py-", "", 1), Affix("", "-cpp", 1), Affix("r-", "", 1)),
    *(Affix("perl-", "", 1), Affix("lua-", "", 1), Affix("ruby-", "", 1)),
    *(Affix("", f"-{each}", 1) for each in ("cc", "cxx", "hip", "js", "lib", "ng", "plus")),
    *(Affix("py-py", "", 3), Affix("lua-lua", "", 3)),
)
"""The likeliest first."""

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
    """How the name of its package begins, if a word for the language was taken off."""
    cost: int = 0
    """How much was taken off: 1 for what says nothing, more for what may be a part of the name after all."""
    numberless: bool = False
    """A number was taken off, which may be a version."""

    @property
    def text(self) -> str:
        """Its spelling, as by :func:`cachesync.search.typos.plain`."""
        return "".join(self.parts)

    def affixes(self) -> tuple[Affix, ...]:
        """Return what the name of its package may have around it, the likeliest first."""
        return _OF_LANGUAGE[self.language] if self.language else _LEFT_OUT


def cores(words: Sequence[str]) -> list[Core]:
    """Return the words as they are, if there is anything in them, then with ever more decorations taken off.

    Of several words, none is taken off that may be a condition of its own.
    """
    without_one = _without_one_in_one_word if len(words) == 1 else _without_one
    layer = [Core(tuple(part for word in words for part in parts(word)))]
    found: list[Core] = []
    for _ in range(_MOST + 1):
        layer = [core for core in layer if core.parts]
        found += layer
        layer = [less for core in layer for less in without_one(core)]
    return found


def _without_one(core: Core, before: Container[str] = _BEFORE, behind: Container[str] = _BEHIND) -> Iterator[Core]:
    """Yield what is left without one decoration more."""
    first, last = core.parts[0], core.parts[-1]
    rest, front, cost = core.parts[1:], core.parts[:-1], core.cost + 1
    if rest and first in LANGUAGES and core.language in ("", LANGUAGES[first]):
        yield core._replace(parts=rest, cost=cost, language=LANGUAGES[first])
    if rest and first in before:
        yield core._replace(parts=rest, cost=cost)
    if front and last in behind:
        yield core._replace(parts=front, cost=cost)
    if first.startswith("lib") and len(first) > 4:
        yield core._replace(parts=(first[3:], *rest), cost=cost)
    if last.endswith("+"):
        yield core._replace(parts=(*front, last.rstrip("+")), cost=cost)


def _without_one_in_one_word(core: Core) -> Iterator[Core]:
    """Yield what is left without one decoration more, of those too that would be conditions as words of their own."""
    yield from _without_one(core, _BEFORE_IN_ONE_WORD, _BEHIND_IN_ONE_WORD)
    last, front = core.parts[-1], core.parts[:-1]
    if front and last in LANGUAGES and not core.language:
        yield core._replace(parts=front, cost=core.cost + 1, language=LANGUAGES[last])
        yield core._replace(parts=front, cost=core.cost + 2)
    if last.endswith("toolkit") and len(last) > 9:
        yield core._replace(parts=(*front, last.removesuffix("toolkit")), cost=core.cost + 1)
    if (numberless := _without_number(core.parts)) not in ((), core.parts):
        yield core._replace(parts=numberless, cost=core.cost + 2, numberless=True)


def _without_number(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out a number at the end, such as a version: of ``glib2`` and of ``glib 2 0`` stays ``glib``."""
    if not parts[-1].isdigit():
        return (*parts[:-1], parts[-1].rstrip("0123456789"))
    while parts and parts[-1].isdigit():
        parts = parts[:-1]
    return parts

"""A spec as a small immutable tree that knows where each piece stood, and the spec as Spack writes it."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_BEGINS_WITH_KEY: Final = re.compile("[A-Za-z0-9_]")
_COMMIT: Final = re.compile("[0-9a-fA-F]{40}")


class Word(NamedTuple):
    """A part of what was typed."""

    text: str
    at: int
    """Its first character, counted from 1, as everywhere below."""

    def __str__(self) -> str:
        return self.text


class Exactly(NamedTuple):
    """One version and no other: ``@=1.2``."""

    version: str
    at: int

    def __str__(self) -> str:
        return f"={self.version}"


class Between(NamedTuple):
    """Versions from ``low`` on up to all that begin like ``high``: ``@1.2:1.4``. None: no such bound.

    ``@1.2`` has it as both.
    """

    low: str | None
    high: str | None
    at: int

    def __str__(self) -> str:
        return self.high or ":" if self.low == self.high else f"{self.low or ''}:{self.high or ''}"


class GitRef(NamedTuple):
    """A branch, tag or commit: ``@git.main``. It may have to stand for a version, too: ``@git.main=1.2``."""

    ref: str
    version: Exactly | Between | None
    at: int

    def __str__(self) -> str:
        written = self.ref if _COMMIT.fullmatch(self.ref) else f"git.{self.ref}"
        match self.version:
            case None:
                return written
            case Exactly(version):
                return f"{written}={version}"
            case Between(low, high):
                return f"{written}={low or ''}:{high or ''}"


Versions = Exactly | Between | GitRef
"""An item of the list behind ``@``, any of which will do."""


class Variant(NamedTuple):
    """A variant is on or off, or has all of some values; no values: it is there, with any value."""

    name: str
    value: bool | tuple[str, ...]
    at: int
    exact: bool = False
    """It has no other values."""
    propagated: bool = False
    """It is for all dependencies, too, as far as they have it."""

    def __str__(self) -> str:
        if isinstance(self.value, bool):
            return ("+" if self.value else "~") * (2 if self.propagated else 1) + self.name
        sign = (":" if self.exact else "") + ("==" if self.propagated else "=")
        return f"{self.name}{sign}{_quoted(','.join(self.value)) if self.value else '*'}"


class Flags(NamedTuple):
    """Flags of a compiler: ``cflags=-O3``."""

    name: str
    value: str
    at: int
    propagated: bool = False

    def __str__(self) -> str:
        return f"{self.name}{'==' if self.propagated else '='}{_quoted(self.value)}"


class Compiler(NamedTuple):
    """What is behind ``%``: ``%gcc@11``, ``%c,cxx=gcc``."""

    name: Word
    """In today's spelling."""
    at: int
    versions: tuple[Versions, ...] = ()
    virtuals: tuple[str, ...] = ()
    """What it is used as: c, cxx, fortran."""
    attributes: tuple[Word, ...] = ()
    """What else is said of the edge, in square brackets."""
    namespace: Word | None = None
    propagated: bool = False
    """``%%``: dependencies prefer it, too."""

    def __str__(self) -> str:
        return ("%%" if self.propagated else "%") + _edge(self.virtuals, self.attributes) + _name(self)


class SpecQuery(NamedTuple):
    """One node, and what it depends on. A field with nothing in it is no condition."""

    name: Word | None = None
    namespace: Word | None = None
    versions: tuple[Versions, ...] = ()
    variants: tuple[Variant, ...] = ()
    flags: tuple[Flags, ...] = ()
    platform: Word | None = None
    os: Word | None = None
    targets: tuple[Word, ...] = ()
    """Names and ranges, any of which will do."""
    hash: Word | None = None
    """Its beginning, or all of it."""
    compilers: tuple[Compiler, ...] = ()
    dependencies: "tuple[Dependency, ...]" = ()
    tail: tuple[Word, ...] = ()
    """What stood behind a compiler and was taken for the package's, as Spack did up to 0.23. Since 1.0 it means the
    compiler, of which documents have no variants."""

    def __str__(self) -> str:
        return canonical(self)


class Dependency(NamedTuple):
    """What is behind ``^``."""

    spec: SpecQuery
    at: int
    virtuals: tuple[str, ...] = ()
    attributes: tuple[Word, ...] = ()

    def __str__(self) -> str:
        # Without a name, a key would be taken for a virtual package that another one is to provide.
        anonymous = "* " if not self.spec.name and _BEGINS_WITH_KEY.match(str(self.spec)) else ""
        return f"^{_edge(self.virtuals, self.attributes)}{anonymous}{self.spec}"


def canonical(spec: SpecQuery) -> str:
    """Return the spec as Spack writes it, compilers last. Read again, it has the same conditions."""
    switches = "".join(str(each) for each in ordered(spec.variants) if isinstance(each.value, bool))
    start = _name(spec) + switches
    glued = f"/{spec.hash}" if spec.hash and start and start == str(spec.name) else ""
    parts = [start + glued, *_blank_separated(spec)]
    if spec.hash and not glued:
        parts.append(f"/{spec.hash}")
    parts += map(str, spec.compilers)
    parts += map(str, spec.dependencies)
    return " ".join(filter(None, parts)) or "*"


def _blank_separated(spec: SpecQuery) -> Iterator[str]:
    """Write what needs blanks around it, since values run to the next one."""
    yield from (str(each) for each in spec.flags)
    yield from (str(each) for each in ordered(spec.variants) if not isinstance(each.value, bool))
    if spec.namespace and not spec.name:
        yield f"namespace={spec.namespace}"
    if spec.platform:
        yield f"platform={spec.platform}"
    if spec.os:
        yield f"os={spec.os}"
    if spec.targets:
        yield f"target={','.join(map(str, spec.targets))}"


def ordered(variants: tuple[Variant, ...]) -> list[Variant]:
    """Return variants in Spack's order: switches first, then by name."""
    return sorted(variants, key=lambda each: (not isinstance(each.value, bool), each.name))


def written_versions(versions: tuple[Versions, ...]) -> str:
    """Return a list of versions with its ``@``; nothing where there is none, or where any version will do."""
    if any(isinstance(each, Between) and each.low == each.high is None for each in versions):
        return ""
    if len(versions) < 2:
        return "".join(f"@{each}" for each in versions)
    # Behind @ a reference would end the list, behind = it doesn't.
    return "@" + ",".join(f"={each}" if isinstance(each, GitRef) else str(each) for each in versions)


def _name(node: SpecQuery | Compiler) -> str:
    namespace = f"{node.namespace}." if node.namespace and node.name else ""
    return f"{namespace}{node.name or ''}{written_versions(node.versions)}"


def _edge(virtuals: tuple[str, ...], attributes: tuple[Word, ...]) -> str:
    """Write what is said of a dependency before its name."""
    used_as = ",".join(virtuals)
    if attributes:
        used_as = f" virtuals={used_as}" if virtuals else ""
        return f"[{' '.join(map(str, attributes))}{used_as}] "
    return f"{used_as}=" if virtuals else ""


_NEEDS_NO_QUOTES: Final = re.compile("[A-Za-z0-9,/_.-]+")


def _quoted(value: str) -> str:
    if _NEEDS_NO_QUOTES.fullmatch(value):
        return value
    if "'" in value and '"' not in value:
        return f'"{value}"'
    return "'" + value.replace("'", "\\'") + "'"

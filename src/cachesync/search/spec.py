"""Specs as small immutable trees that record the position of each part, and the same specs in Spack's notation."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_BEGINS_WITH_KEY: Final = re.compile("[A-Za-z0-9_]")
_COMMIT: Final = re.compile("[0-9a-fA-F]{40}")


class Word(NamedTuple):
    """A word of a query."""

    text: str
    at: int
    """The position of the first character, counted from 1; ``at`` means the same in all classes below."""

    def __str__(self) -> str:
        return self.text


class Exactly(NamedTuple):
    """Exactly one version: ``@=1.2``."""

    version: str
    at: int

    def __str__(self) -> str:
        return f"={self.version}"


class Between(NamedTuple):
    """A range from ``low`` up to all versions that begin with ``high``: ``@1.2:1.4``. None means no bound.

    In ``@1.2``, both bounds are 1.2.
    """

    low: str | None
    high: str | None
    at: int

    def __str__(self) -> str:
        return self.high or ":" if self.low == self.high else f"{self.low or ''}:{self.high or ''}"


class GitRef(NamedTuple):
    """A branch, tag or commit (``@git.main``), which must also stand for the version if given (``@git.main=1.2``)."""

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
"""An item of the list after ``@``. A binary must match one of the items."""


class Variant(NamedTuple):
    """A variant that is on or off, or has all of the given values. Without values, the variant has any value."""

    name: str
    value: bool | tuple[str, ...]
    at: int
    exact: bool = False
    """Whether the variant has no values other than the given ones."""
    propagated: bool = False
    """Whether the condition also applies to all dependencies that have the variant."""

    def __str__(self) -> str:
        if isinstance(self.value, bool):
            return ("+" if self.value else "~") * (2 if self.propagated else 1) + self.name
        sign = (":" if self.exact else "") + ("==" if self.propagated else "=")
        return f"{self.name}{sign}{_quoted(','.join(self.value)) if self.value else '*'}"


class Flags(NamedTuple):
    """Compiler flags: ``cflags=-O3``."""

    name: str
    value: str
    at: int
    propagated: bool = False

    def __str__(self) -> str:
        return f"{self.name}{'==' if self.propagated else '='}{_quoted(self.value)}"


class Compiler(NamedTuple):
    """A compiler after ``%``: ``%gcc@11``, ``%c,cxx=gcc``."""

    name: Word
    """The compiler's current name."""
    at: int
    versions: tuple[Versions, ...] = ()
    virtuals: tuple[str, ...] = ()
    """The languages for which the compiler is used: c, cxx, fortran."""
    attributes: tuple[Word, ...] = ()
    """The other attributes of the edge, which are given in square brackets."""
    namespace: Word | None = None
    propagated: bool = False
    """Whether the compiler was given with ``%%``, which means that dependencies prefer it as well."""

    def __str__(self) -> str:
        return ("%%" if self.propagated else "%") + _edge(self.virtuals, self.attributes) + _name(self)


class SpecQuery(NamedTuple):
    """A node and its dependencies. Empty fields are not conditions."""

    name: Word | None = None
    namespace: Word | None = None
    versions: tuple[Versions, ...] = ()
    variants: tuple[Variant, ...] = ()
    flags: tuple[Flags, ...] = ()
    platform: Word | None = None
    os: Word | None = None
    targets: tuple[Word, ...] = ()
    """Names and ranges of targets. A binary must match one of them."""
    hash: Word | None = None
    """The whole hash or its beginning."""
    compilers: tuple[Compiler, ...] = ()
    dependencies: "tuple[Dependency, ...]" = ()
    tail: tuple[Word, ...] = ()
    """The conditions after a compiler. They apply to the package, as in Spack up to 0.23. Since 1.0 they would apply to
    the compiler, but documents don't contain variants of compilers."""

    def __str__(self) -> str:
        return canonical(self)


class Dependency(NamedTuple):
    """A dependency after ``^``."""

    spec: SpecQuery
    at: int
    virtuals: tuple[str, ...] = ()
    attributes: tuple[Word, ...] = ()

    def __str__(self) -> str:
        # Without a name before it, a key would be read as a virtual package that the dependency must provide.
        anonymous = "* " if not self.spec.name and _BEGINS_WITH_KEY.match(str(self.spec)) else ""
        return f"^{_edge(self.virtuals, self.attributes)}{anonymous}{self.spec}"


def canonical(spec: SpecQuery) -> str:
    """Return the spec as Spack writes it, with compilers last. Parsing the result yields the same conditions."""
    switches = "".join(str(each) for each in ordered(spec.variants) if isinstance(each.value, bool))
    start = _name(spec) + switches
    glued = f"/{spec.hash}" if spec.hash and start and start == str(spec.name) else ""
    parts = [start + glued, *_space_separated(spec)]
    if spec.hash and not glued:
        parts.append(f"/{spec.hash}")
    parts += map(str, spec.compilers)
    parts += map(str, spec.dependencies)
    return " ".join(filter(None, parts)) or "*"


def _space_separated(spec: SpecQuery) -> Iterator[str]:
    """Yield the parts that need spaces around them because a value extends to the next space."""
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
    """Return variants in Spack's order: Boolean variants first, then the others, each by name."""
    return sorted(variants, key=lambda each: (not isinstance(each.value, bool), each.name))


def written_versions(versions: tuple[Versions, ...]) -> str:
    """Return a list of versions with its ``@``, or an empty string if the list is empty or allows any version."""
    if any(isinstance(each, Between) and each.low == each.high is None for each in versions):
        return ""
    if len(versions) < 2:
        return "".join(f"@{each}" for each in versions)
    # A reference right after @ would end the list; a reference after = doesn't.
    return "@" + ",".join(f"={each}" if isinstance(each, GitRef) else str(each) for each in versions)


def _name(node: SpecQuery | Compiler) -> str:
    namespace = f"{node.namespace}." if node.namespace and node.name else ""
    return f"{namespace}{node.name or ''}{written_versions(node.versions)}"


def _edge(virtuals: tuple[str, ...], attributes: tuple[Word, ...]) -> str:
    """Return the part of a dependency that precedes its name."""
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

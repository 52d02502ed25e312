"""Names, versions and variants of real packages, read from ``packages.txt`` beside this file."""

from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

_FILE: Final = Path(__file__).with_name("packages.txt")

Kind = Literal["switch", "single", "multiple"]


class Variant(NamedTuple):
    """A variant of a package."""

    name: str
    kind: Kind
    choices: tuple[str, ...]
    """Its settings, the default first: ``+`` and ``~`` for a switch, otherwise values, or several as in ``a,b``."""


class Package(NamedTuple):
    """A package."""

    name: str
    build_system: str
    needs_compiler: bool
    versions: tuple[str, ...]
    """The newest first."""
    variants: tuple[Variant, ...]
    """By name."""


@cache
def packages() -> dict[str, Package]:
    """Return all packages by name, the best-known ones first."""
    lines = [line for line in _FILE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    starts = [number for number, line in enumerate(lines) if not line.startswith(" ")]
    found = (_package(*lines[start:end]) for start, end in zip(starts, [*starts[1:], len(lines)], strict=True))
    return {package.name: package for package in found}


def _package(first: str, versions: str, variants: str = "") -> Package:
    name, build_system, *more = first.split()
    return Package(
        name, build_system, more != ["none"], tuple(versions.split()), tuple(map(_variant, variants.split()))
    )


def _variant(text: str) -> Variant:
    if text[0] in "+~":
        return Variant(text[1:], "switch", ("+", "~") if text[0] == "+" else ("~", "+"))
    name, _, choices = text.partition("=")
    return Variant(name.rstrip(":"), "multiple" if name.endswith(":") else "single", tuple(choices.split("|")))

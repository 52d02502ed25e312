"""Whether a binary satisfies a spec, by Spack's rules and without keys or queries, and the document of a binary.

It shares no code with the search but the tree of the spec.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from archspec.cpu import TARGETS  # type: ignore[import-untyped]

from cachesync.pages.version import version_key
from cachesync.search.spec import Between, Compiler, Exactly, GitRef, SpecQuery, Variant, Versions

INFINITE = ["stable", "nightly", "trunk", "head", "master", "main", "develop", "infinity"]
BEFORE_FINAL = ["alpha", "beta", "rc", "final"]
RENAMED = {
    "clang": "llvm",
    "oneapi": "intel-oneapi-compilers",
    "intel": "intel-oneapi-compilers-classic",
    "rocmcc": "llvm-amdgpu",
    "arm": "acfl",
}

Component = tuple[int, int | str]
"""0 and letters, 1 and a number, or 2 and the place of an infinity word."""

Version = tuple[tuple[Component, ...], tuple[int, ...]]
"""The release, then alpha, beta, rc or final and perhaps a number. Python compares them as Spack does."""


@dataclass(frozen=True)
class Binary:
    package: str
    version: str
    """As Spack writes it: ``1.2``, or ``git.main=1.2``."""
    variants: Mapping[str, bool | frozenset[str]] = field(default_factory=dict)
    compiler: tuple[str, str] | None = None
    """Name and version, the name in the spelling of its time."""
    platform: str = "linux"
    os: str = "ubuntu22.04"
    target: str = "x86_64_v3"
    hash: str = "a" * 32


def read_version(text: str) -> Version:
    runs = ["".join(run) for kind, run in groupby(text, _kind) if kind]
    end: tuple[int, ...] = (BEFORE_FINAL.index("final"),)
    if len(runs) >= 3 and runs[-2] in BEFORE_FINAL and runs[-1].isdigit():
        end = (BEFORE_FINAL.index(runs[-2]), int(runs[-1]))
        runs = runs[:-2]
    elif len(runs) >= 2 and runs[-1] in BEFORE_FINAL:
        end = (BEFORE_FINAL.index(runs[-1]),)
        runs = runs[:-1]
    return tuple(map(_component, runs)), end


def _kind(character: str) -> int:
    return 1 if character.isdigit() else 2 if character.isalpha() else 0


def _component(run: str) -> Component:
    if run.isdigit():
        return 1, int(run)
    return (2, INFINITE.index(run)) if run in INFINITE[:-1] else (0, run)


def version_after(version: Version) -> Version:
    """The version that ends a range up to this one."""
    release, end = version
    if end[0] != BEFORE_FINAL.index("final"):
        return release, (end[0], end[1] + 1 if len(end) > 1 else 0)
    kind, last = release[-1] if release else (0, "")
    if isinstance(last, str):
        last = _letters_after(last)
        while last in INFINITE[:-1]:
            last = _letters_after(last)
    else:
        last += 1
    return (*release[:-1], (kind, last)), end


def _letters_after(text: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    if not text or text[-1] == alphabet[-1]:
        return text + alphabet[0]
    return text[:-1] + alphabet[alphabet.index(text[-1]) + 1]


def satisfies(binary: Binary, spec: SpecQuery) -> bool:
    """Tell whether a binary is one that a spec asks for, as far as a document could tell."""
    return (
        (spec.name is None or binary.package == spec.name.text)
        and _version_satisfies(binary.version, spec.versions)
        and all(_variant_satisfies(binary.variants, each) for each in spec.variants)
        and (spec.platform is None or spec.platform.text in ("*", binary.platform))
        and (spec.os is None or spec.os.text in ("*", binary.os))
        and (not spec.targets or any(_target_satisfies(binary.target, each.text) for each in spec.targets))
        and (spec.hash is None or binary.hash.startswith(spec.hash.text))
        and all(_compiler_satisfies(binary.compiler, each) for each in spec.compilers)
    )


def _version_satisfies(written: str, versions: tuple[Versions, ...]) -> bool:
    ref, _, number = written.rpartition("=")
    return not versions or any(
        _item_satisfies(read_version(number), ref.removeprefix("git."), each) for each in versions
    )


def _item_satisfies(version: Version, ref: str, item: Versions | None) -> bool:
    match item:
        case None:
            return True
        case Exactly(text):
            return not ref and version == read_version(text)
        case Between(low, high):
            not_below = low is None or read_version(low) <= version
            return not_below and (high is None or version < version_after(read_version(high)))
        case GitRef(name, Exactly(text)):
            return ref == name and version == read_version(text)
        case GitRef(name, between):
            return ref == name and _item_satisfies(version, ref, between)
    raise AssertionError(item)


def _variant_satisfies(variants: Mapping[str, bool | frozenset[str]], asked: Variant) -> bool:
    there = variants.get(asked.name)
    if there is None:
        return asked.propagated
    if isinstance(asked.value, bool) or isinstance(there, bool):
        return asked.value == () or there is asked.value
    if asked.name == "patches" and not asked.exact:
        return all(any(patch.startswith(start) for patch in there) for start in asked.value)
    return there == {*asked.value} if asked.exact else there >= {*asked.value}


def _target_satisfies(target: str, asked: str) -> bool:
    low, colon, high = ("", ":", "") if asked == "*" else asked.partition(":")
    if not colon:
        return target == asked
    if not low and not high:
        return True
    if target not in TARGETS:
        return False
    machine = TARGETS[target]
    return (not low or machine >= TARGETS[low]) and (not high or machine <= TARGETS[high])


def _compiler_satisfies(compiler: tuple[str, str] | None, asked: Compiler) -> bool:
    if compiler is None:
        return False
    name, version = compiler
    return RENAMED.get(name, name) == asked.name.text and _version_satisfies(version, asked.versions)


def document(binary: Binary) -> dict[str, Any]:
    """The fields of a binary's document by which specs are answered."""
    ref, _, _ = binary.version.rpartition("=")
    fields: dict[str, Any] = {
        "package": binary.package,
        "version": binary.version,
        "version_key": version_key(binary.version),
        "platform": binary.platform,
        "os": binary.os,
        "target": binary.target,
        "hash": binary.hash,
        "variant_names": sorted(binary.variants),
        "variant_values": [token for name, value in binary.variants.items() for token in _tokens(name, value)],
    }
    if ref:
        fields["git_ref"] = ref.removeprefix("git.")
    if binary.compiler:
        name, version = binary.compiler
        fields["compiler"] = f"{name}@{version}"
        fields["compiler_name"] = RENAMED.get(name, name)
        fields["compiler_version"] = version
        fields["compiler_version_key"] = version_key(version)
    return fields


def _tokens(name: str, value: bool | frozenset[str]) -> list[str]:
    if isinstance(value, bool):
        return [("+" if value else "~") + name]
    shown = sorted({each[:7] for each in value} if name == "patches" else value)
    several = [f"{name}:=*", f"{name}:={','.join(shown)}"] if len(shown) > 1 else []
    return [f"{name}={each}" for each in shown] + several

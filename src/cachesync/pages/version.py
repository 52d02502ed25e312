"""Spack's order of versions, as a text that sorts the same way."""

import re
from functools import lru_cache
from typing import Final

INFINITY_VERSION: Final = 1
"""Raise it with every change of :data:`_INFINITY`: a new word reorders keys that are already stored."""

_COMPONENT: Final = re.compile(r"[a-zA-Z]+|[0-9]+")
_INFINITY: Final = {
    "stable": "d",
    "nightly": "g",
    "trunk": "j",
    "head": "m",
    "master": "p",
    "main": "s",
    "develop": "v",
}
_PRERELEASE: Final = {"alpha": "a", "beta": "b", "rc": "r", "final": "z"}
_FINAL: Final = "0z"


def _number(digits: str) -> str:
    """Put a number behind its length, so that text order is number order: ``a`` is one digit, ``y`` 25, ``z026`` 26."""
    digits = digits.lstrip("0") or "0"
    length = len(digits)
    return (chr(ord("a") + length - 1) if length <= 25 else f"z{length:03d}") + digits


def _component(text: str) -> str:
    """One component behind the digit of its kind: letters (1) < numbers (2) < infinity words (3)."""
    if text in _INFINITY:
        return "3" + _INFINITY[text]
    return "2" + _number(text) if text.isdigit() else "1" + text


@lru_cache(maxsize=65_536)
def version_key(version: str) -> str:
    """Return a text whose byte order is Spack's order of versions; equal keys are equal versions.

    Letters and numbers count, separators don't (``1.02`` = ``1-2``). Letters come before numbers, numbers before the
    infinity words, and on equal release ``alpha`` < ``beta`` < ``rc`` < none. A git version (``git.main=1.2``) has
    the key of the version it is assigned to. ``3.27.9`` gives ``2a32b272a90z``.

    The rules are those of Spack 0.23 to 1.1 (``spack.version``).
    """
    parts = _COMPONENT.findall(version.rpartition("=")[2])
    prerelease = _FINAL
    if len(parts) > 2 and parts[-2] in _PRERELEASE and parts[-1].isdigit():
        prerelease = f"0{_PRERELEASE[parts[-2]]}{_number(parts[-1])}"
        parts = parts[:-2]
    elif len(parts) > 1 and parts[-1] in _PRERELEASE:
        prerelease = f"0{_PRERELEASE[parts[-1]]}"
        parts = parts[:-1]
    return "".join(map(_component, parts)) + prerelease


_COMMIT: Final = re.compile("[0-9a-f]{40}")


def git_ref(version: str) -> str | None:
    """Return what a git version was built from: ``main`` of ``git.main=1.2``, or a commit; None: it is a release."""
    ref, _, _ = version.partition("=")
    if ref.startswith("git."):
        return ref.removeprefix("git.")
    return ref if _COMMIT.fullmatch(ref) else None

"""Translate versions to sort keys: strings that sort in Spack's version order."""

import re
from functools import lru_cache
from typing import Final

INFINITY_VERSION: Final = 1
"""Increase this with every change of :data:`_INFINITY`: a new word changes the order of keys already stored."""

_COMPONENT: Final = re.compile(r"[a-zA-Z]+|[0-9]+")
_INFINITY: Final = {
    "stable": "d", "nightly": "g", "trunk": "j", "head": "m", "master": "p", "main": "s", "develop": "v",
}  # fmt: skip
INFINITY_WORDS: Final = frozenset(_INFINITY)
"""Words that sort above all numbers; ``develop`` is the highest."""

_BEYOND_INFINITY: Final = "w"
"""The code that follows the code of the highest infinity word."""

_PRERELEASE: Final = {"alpha": "a", "beta": "b", "rc": "r", "final": "z"}
_GIT_REF: Final = re.compile(r"git\.([^=]+)|([0-9a-fA-F]{40})(?==|\Z)")
"""A branch, tag or commit by name, or a commit by its digits. The version that it stands for follows after ``=``."""


def _number(digits: str) -> str:
    """Prefix a number with its length to make strings sort as numbers: ``a`` is one digit, ``y`` 25, ``z026`` 26."""
    digits = digits.lstrip("0") or "0"
    length = len(digits)
    return (chr(ord("a") + length - 1) if length <= 25 else f"z{length:03d}") + digits


def _component(text: str) -> str:
    """Prefix one component with the digit of its kind: letters (1) < numbers (2) < infinity words (3)."""
    if text in _INFINITY:
        return "3" + _INFINITY[text]
    return "2" + _number(text) if text.isdigit() else "1" + text


@lru_cache(maxsize=65_536)
def version_key(version: str) -> str:
    """Return a version's sort key. The byte order of keys is Spack's version order; versions with equal keys are equal.

    Letters and numbers count, separators don't (``1.02`` = ``1-2``). Letters come before numbers, and numbers before
    the infinity words. Within a release, ``alpha`` < ``beta`` < ``rc`` < the release itself. A git version
    (``git.main=1.2``) has the key of the version that it stands for. The key of ``3.27.9`` is ``2a32b272a90z``.

    The rules are those of Spack 0.23 to 1.1 (``spack.version``).
    """
    parts, word, number = _split(version)
    return "".join(map(_component, parts)) + _prerelease(word, number)


def _split(version: str) -> tuple[list[str], str, str]:
    """Return the release's components, and the pre-release's word and number; the number may be an empty string."""
    parts = _COMPONENT.findall(version.rpartition("=")[2])
    if len(parts) > 2 and parts[-2] in _PRERELEASE and parts[-1].isdigit():
        return parts[:-2], parts[-2], parts[-1]
    if len(parts) > 1 and parts[-1] in _PRERELEASE:
        return parts[:-1], parts[-1], ""
    return parts, "final", ""


def _prerelease(word: str, number: str) -> str:
    return f"0{_PRERELEASE[word]}{_number(number) if number else ''}"


def version_range(at_least: str | None, up_to: str | None) -> tuple[str | None, str | None]:
    """Return the bounds of the keys in a range of versions: the lower bound is inclusive, the upper one exclusive.

    The range from ``1.2`` to ``1.4`` includes 1.4.9 and 1.5rc1, but not 1.5, like Spack's ``@1.2:1.4``. The range from
    ``1.2`` to ``1.2`` is Spack's ``@1.2``. None means that there is no bound.

    Raises:
        ValueError: the range is empty.
    """
    lower = None if at_least is None else version_key(at_least)
    upper = None if up_to is None else _key_after(up_to)
    if lower is not None and upper is not None and lower >= upper:
        raise ValueError(f"no version is at least {at_least} and at most {up_to}")
    return lower, upper


def _key_after(version: str) -> str:
    """Return the key of the version whose last component is one higher.

    This key is above the keys of all versions with the prefix ``version``. The rules are those that ``spack.version``
    applies to the end of a range.
    """
    parts, word, number = _split(version)
    if word != "final":
        return "".join(map(_component, parts)) + _prerelease(word, str(int(number) + 1) if number else "0")
    *before, last = parts or [""]
    return "".join(map(_component, before)) + _component_after(last) + _prerelease(word, number)


def _component_after(text: str) -> str:
    """Return what :func:`_component` returns for the next higher component."""
    if text in _INFINITY:
        return "3" + min(code for code in (*_INFINITY.values(), _BEYOND_INFINITY) if code > _INFINITY[text])
    if text.isdigit():
        return _component(str(int(text) + 1))
    text = _letters_after(text)
    return _component(_letters_after(text) if text in _INFINITY else text)


def _letters_after(text: str) -> str:
    """Return the letters with the last one replaced by ASCII's next letter, or with ``A`` appended to a final ``z``."""
    if not text or text[-1] == "z":
        return text + "A"
    return text[:-1] + ("a" if text[-1] == "Z" else chr(ord(text[-1]) + 1))


def git_ref(version: str) -> str | None:
    """Return the branch, tag or commit of a version, or None for a version that isn't from git.

    The result for ``git.main=1.2`` is ``main``, and 40 hexadecimal digits are returned unchanged.
    """
    match = _GIT_REF.match(version)
    return match[1] or match[2] if match else None

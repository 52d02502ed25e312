"""Targets according to archspec: which targets are in a range, and which targets a machine can run."""

import platform as platform_of
import re
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from cachesync.errors import UsageError

ANY: Final = ("*", ":")
"""The notations that accept any target."""

_PLATFORM_OS_TARGET: Final = "PLATFORM-OS-TARGET, as `spack arch` prints it, such as linux-ubuntu22.04-zen3"


class UnknownTargetError(UsageError):
    """Raised for a target that archspec doesn't list."""


class Machine(NamedTuple):
    """A machine on which binaries must run."""

    platform: str
    os: str
    target: str


def parse_machine(text: str) -> Machine:
    """Parse the output of ``spack arch``. Platform and target never contain a dash; an os may contain several.

    Raises:
        UsageError: the text doesn't consist of platform, os and target.
    """
    platform, _, rest = text.strip().partition("-")
    os, _, target = rest.rpartition("-")
    if not (platform and os and target) or any(character.isspace() for character in text.strip()):
        raise UsageError(f"{text.strip()!r:.80} is not a machine: expected {_PLATFORM_OS_TARGET}")
    return Machine(platform, os, target)


def this_machine() -> Machine:
    """Return the machine on which this process runs, as ``spack arch`` prints it.

    Raises:
        UsageError: the platform or os can't be determined.
    """
    from archspec import cpu  # type: ignore[import-untyped]  # noqa: PLC0415  as below

    platform = {"linux": "linux", "darwin": "darwin", "win32": "windows"}.get(sys.platform)
    os = _this_os()
    if not (platform and os):
        raise UsageError(f"--here: this machine's system isn't known; expected --arch {_PLATFORM_OS_TARGET}")
    return Machine(platform, os, str(cpu.host().name))


_RELEASES: Final = {"rhel": 1, "centos": 1, "rocky": 1, "almalinux": 1, "ol": 1, "fedora": 1, "debian": 1, "sles": 1}
"""The number of version parts in Spack's name of an operating system. Names of other systems have at most two parts."""


def _this_os() -> str | None:
    """Return Spack's name of the current operating system, such as ``ubuntu22.04`` or ``rhel8``."""
    try:
        release = platform_of.freedesktop_os_release()
    except OSError:
        return None
    name, version = release.get("ID", ""), release.get("VERSION_ID", "")
    return f"{name}{'.'.join(version.split('.')[: _RELEASES.get(name, 2)])}" if name else None


_REBUILT: Final = ("rhel", "almalinux", "centos", "ol", "rocky", "scientific")
"""Operating systems built from the same source. Binaries for a release of one run on that release of the others."""

_RELEASE: Final = re.compile(r"([a-z]+)(\d+)(?:\.\d+)*")


def rebuilds_of(os: str) -> tuple[str, ...]:
    """Return the other operating systems built from the same source, such as ``rhel8`` for ``rocky8``."""
    match = _RELEASE.fullmatch(os)
    if not match or match[1] not in _REBUILT:
        return ()
    return tuple(each for name in _REBUILT if (each := f"{name}{match[2]}") != os)


def runs_on(target: str) -> tuple[str, ...]:
    """Return the sorted names of all targets whose binaries run on a target: the target and its ancestors.

    Raises:
        UnknownTargetError: archspec doesn't list the target.
    """
    return tuple(sorted(_runs(target)))


def expand(target: str) -> tuple[str, ...]:
    """Return the sorted names of the targets in a range, or of a single target.

    ``zen3`` yields only itself, even if archspec doesn't list it. ``:zen3`` yields all targets that run on zen3,
    ``x86_64_v3:`` all targets that descend from x86_64_v3, and ``a:b`` all targets that meet both conditions.

    Raises:
        UnknownTargetError: archspec doesn't list a bound of the range.
        ValueError: ``target`` is :data:`ANY`, for which there is no list.
    """
    if target in ANY:
        raise ValueError("any target has no list of names")
    low, colon, high = target.partition(":")
    if not colon:
        return (target,)
    names = set(_runs(high)) if high else set(_ancestors())
    if low:
        _runs(low)
        names = {name for name in names if low in _runs(name)}
    return tuple(sorted(names))


def _runs(target: str) -> frozenset[str]:
    try:
        return _ancestors()[target]
    except KeyError:
        from importlib.metadata import version  # noqa: PLC0415  only needed for errors

        problem = f"{target!r:.80} is not a target that archspec {version('archspec')} knows{_near(target)}"
        raise UnknownTargetError(problem) from None


def _near(target: str) -> str:
    """Return the end of an error message, which suggests known names that are similar to the given one."""
    from difflib import get_close_matches  # noqa: PLC0415 # only needed for errors

    near = get_close_matches(target[:80].lower(), _ancestors(), n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


@cache
def _ancestors() -> Mapping[str, frozenset[str]]:
    """Return the names of each target and its ancestors, by the target's name."""
    # Importing archspec reads all its data, which takes 30 ms that most searches can save. archspec has no types.
    from archspec import cpu  # noqa: PLC0415

    known: Mapping[str, Any] = cpu.TARGETS
    return {
        name: frozenset({name, *(ancestor.name for ancestor in target.ancestors)}) for name, target in known.items()
    }

"""Targets, by the data of archspec: which targets are in a range, and which a machine can run."""

import platform as platform_of
import re
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from cachesync.errors import UsageError

ANY: Final = ("*", ":")
"""The ways to write that any target will do."""

_PLATFORM_OS_TARGET: Final = "PLATFORM-OS-TARGET, as `spack arch` prints it, such as linux-ubuntu22.04-zen3"


class UnknownTargetError(UsageError):
    """A target that archspec doesn't know."""


class Machine(NamedTuple):
    """A machine that binaries have to run on."""

    platform: str
    os: str
    target: str


def parse_machine(text: str) -> Machine:
    """Parse what ``spack arch`` prints. Platform and target never have a dash; an os may have several.

    Raises:
        UsageError: the text isn't platform, os and target.
    """
    platform, _, rest = text.strip().partition("-")
    os, _, target = rest.rpartition("-")
    if not (platform and os and target) or any(character.isspace() for character in text.strip()):
        raise UsageError(f"{text.strip()!r:.80} is not a machine: expected {_PLATFORM_OS_TARGET}")
    return Machine(platform, os, target)


def this_machine() -> Machine:
    """Return the machine that this process runs on, as ``spack arch`` prints it.

    Raises:
        UsageError: the platform or os can't be found out.
    """
    from archspec import cpu  # type: ignore[import-untyped]  # noqa: PLC0415  as below

    platform = {"linux": "linux", "darwin": "darwin", "win32": "windows"}.get(sys.platform)
    os = _this_os()
    if not (platform and os):
        raise UsageError(f"--here: this machine's system isn't known; expected --arch {_PLATFORM_OS_TARGET}")
    return Machine(platform, os, str(cpu.host().name))


_RELEASES: Final = {"rhel": 1, "centos": 1, "rocky": 1, "almalinux": 1, "ol": 1, "fedora": 1, "debian": 1, "sles": 1}
"""The number of version parts in Spack's name of an operating system; for all others it is two at most."""


def _this_os() -> str | None:
    """Return Spack's name of this operating system, such as ``ubuntu22.04`` or ``rhel8``."""
    try:
        release = platform_of.freedesktop_os_release()
    except OSError:
        return None
    name, version = release.get("ID", ""), release.get("VERSION_ID", "")
    return f"{name}{'.'.join(version.split('.')[: _RELEASES.get(name, 2)])}" if name else None


_REBUILT: Final = ("rhel", "almalinux", "centos", "ol", "rocky", "scientific")
"""Operating systems made from the same source: binaries for a release of one run on that release of the others."""

_RELEASE: Final = re.compile(r"([a-z]+)(\d+)(?:\.\d+)*")


def rebuilds_of(os: str) -> tuple[str, ...]:
    """Return the other operating systems made from the same source, such as ``rhel8`` for ``rocky8``."""
    match = _RELEASE.fullmatch(os)
    if not match or match[1] not in _REBUILT:
        return ()
    return tuple(each for name in _REBUILT if (each := f"{name}{match[2]}") != os)


def runs_on(target: str) -> tuple[str, ...]:
    """Return the sorted names of all targets whose binaries run on this target: itself and its ancestors.

    Raises:
        UnknownTargetError: archspec doesn't know the target.
    """
    return tuple(sorted(_runs(target)))


def expand(target: str) -> tuple[str, ...]:
    """Return the sorted names of the targets in a range, or of a single target.

    ``zen3`` is only itself, known or not. ``:zen3`` are all targets that run on it, ``x86_64_v3:`` all that descend
    from it, and ``a:b`` those that do both.

    Raises:
        UnknownTargetError: archspec doesn't know a bound of the range.
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
    """Return the end of the sentence, with known names that are similar to this one."""
    from difflib import get_close_matches  # noqa: PLC0415 # only needed for errors

    near = get_close_matches(target[:80].lower(), _ancestors(), n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


@cache
def _ancestors() -> Mapping[str, frozenset[str]]:
    """Return the names of each target's ancestors, including itself, by the target's name."""
    # Importing archspec reads all its data, 30 ms that most searches don't need. It has no types.
    from archspec import cpu  # noqa: PLC0415

    known: Mapping[str, Any] = cpu.TARGETS
    return {
        name: frozenset({name, *(ancestor.name for ancestor in target.ancestors)}) for name, target in known.items()
    }

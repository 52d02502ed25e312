"""The commands that install a binary. They are pasted into shells, and pages may have been written by anybody."""

import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote

from cachesync.search.request import Hit

MIRROR_URL: Final = "https://binaries.spack.io/{tag}/{stack}"
"""Where Spack's public binaries are."""

_WHOLE_TAG: Final = "root"
"""What pages call the mirror that holds all stacks of a tag."""

_MOST_MIRRORS: Final = 1_000
"""Of so many mirrors the URL is remembered: hits are many, mirrors are few."""

_HARMLESS: Final = re.compile(r"(?!\.+$)[A-Za-z0-9._+][A-Za-z0-9._+-]*")
"""Fit for a shell and for a part of a URL: dots alone lead out of a folder, whatever they are encoded as."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9._+~@%^=:,/ -]*")
"""The characters of most specs, none of which does anything in a shell where it stands in one."""


class Install(NamedTuple):
    """How to install a binary."""

    mirror: str
    """Where it is."""
    commands: tuple[str, ...]
    """In their order, for Spack as it was at the tag."""


def stacks_of(hit: Hit) -> list[str]:
    """Return the stacks that a document's binary is in, without the mirror of the whole tag."""
    return [stack for stack in hit.get("stacks", []) if stack != _WHOLE_TAG]


def is_plain(text: str) -> bool:
    """Tell whether a spec or a hash means in a shell what it says, so that it may be copied there."""
    return _PLAIN.fullmatch(text) is not None


def install(hit: Hit, mirror_url: str) -> Install | None:
    """Return how to install a document's binary; None where that isn't known, or its values aren't fit for a shell.

    ``mirror_url`` has ``{tag}`` and ``{stack}`` in it; where it is empty nothing is known.
    """
    stack = next((stack for stack in hit.get("stacks", ()) if stack != _WHOLE_TAG), None)
    package, hash = str(hit.get("package", "")), str(hit.get("hash", ""))
    if not (mirror_url and stack and _HARMLESS.fullmatch(package) and _HARMLESS.fullmatch(hash)):
        return None
    found = _mirror(mirror_url, str(hit.get("tag", "")), stack)
    if found is None:
        return None
    mirror, adding = found
    return Install(mirror, (adding, "spack buildcache keys --install --trust", f"spack install --cache-only /{hash}"))


@lru_cache(maxsize=_MOST_MIRRORS)
def _mirror(mirror_url: str, tag: str, stack: str) -> tuple[str, str] | None:
    """Return the URL of a mirror, and the command that adds it; None where a name isn't fit for a shell."""
    if not (_HARMLESS.fullmatch(tag) and _HARMLESS.fullmatch(stack)):
        return None
    mirror = mirror_url.replace("{tag}", quote(tag, safe="")).replace("{stack}", quote(stack, safe=""))
    return mirror, f"spack mirror add {tag}-{stack} {mirror}"

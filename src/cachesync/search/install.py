"""The commands that install a binary. They are pasted into shells, and pages may have been written by anybody."""

import re
from typing import Final, NamedTuple
from urllib.parse import quote

from cachesync.search.request import Hit

MIRROR_URL: Final = "https://binaries.spack.io/{tag}/{stack}"
"""Where Spack's public binaries are."""

_WHOLE_TAG: Final = "root"
"""What pages call the mirror that holds all stacks of a tag."""

_HARMLESS: Final = re.compile(r"(?!\.+$)[A-Za-z0-9._+][A-Za-z0-9._+-]*")
"""Fit for a shell and for a part of a URL: dots alone lead out of a folder, whatever they are encoded as."""


class Install(NamedTuple):
    """How to install a binary."""

    mirror: str
    """Where it is."""
    commands: tuple[str, ...]
    """In their order, for Spack as it was at the tag."""


def stacks_of(hit: Hit) -> list[str]:
    """Return the stacks that a document's binary is in, without the mirror of the whole tag."""
    return [stack for stack in hit.get("stacks", []) if stack != _WHOLE_TAG]


def install(hit: Hit, mirror_url: str) -> Install | None:
    """Return how to install a document's binary; None where that isn't known, or its values aren't fit for a shell.

    ``mirror_url`` has ``{tag}`` and ``{stack}`` in it; where it is empty nothing is known.
    """
    stack = next(iter(stacks_of(hit)), None)
    tag, package, hash = (str(hit.get(name, "")) for name in ("tag", "package", "hash"))
    if not (mirror_url and stack and all(map(_HARMLESS.fullmatch, (tag, stack, package, hash)))):
        return None
    mirror = mirror_url.replace("{tag}", quote(tag, safe="")).replace("{stack}", quote(stack, safe=""))
    return Install(
        mirror,
        (
            f"spack mirror add {tag}-{stack} {mirror}",
            "spack buildcache keys --install --trust",
            f"spack install --cache-only /{hash}",
        ),
    )

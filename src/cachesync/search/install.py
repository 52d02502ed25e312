"""Build the commands that install a binary. Users paste them into shells, and pages may be from untrusted authors."""

import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote

from cachesync.search.request import Hit

MIRROR_URL: Final = "https://binaries.spack.io/{tag}/{stack}"
"""The URL of Spack's public mirrors."""

_WHOLE_TAG: Final = "root"
"""The name that pages use for the mirror that has all stacks of a tag."""

_MAX_MIRRORS: Final = 1_000
"""The maximum number of mirrors whose URLs are cached. There are many hits, but few mirrors."""

_SAFE: Final = re.compile(r"(?!\.+$)[A-Za-z0-9._+][A-Za-z0-9._+-]*")
"""Text that is safe in a shell and in a URL. Dots alone would lead out of a folder, even if percent-encoded."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9._+~@%^=:,/ -]*")
"""The characters of most specs. None of them is special to a shell in the places where it occurs in specs."""


class Install(NamedTuple):
    """How to install a binary."""

    mirror: str
    """The URL of the mirror that has the binary."""
    commands: tuple[str, ...]
    """The commands in order, for the version of Spack to which the tag belongs."""


def stacks_of(hit: Hit) -> list[str]:
    """Return the stacks of a document's binary, without the mirror of the whole tag."""
    return [stack for stack in hit.get("stacks", []) if stack != _WHOLE_TAG]


def is_plain(text: str) -> bool:
    """Whether a spec or hash can be pasted into a shell without quotes."""
    return _PLAIN.fullmatch(text) is not None


def install(hit: Hit, mirror_url: str) -> Install | None:
    """Return how to install a document's binary, or None if this is unknown or a value isn't safe in a shell.

    ``mirror_url`` is a template with ``{tag}`` and ``{stack}``. If the template is empty, the result is always None.
    """
    stack = next((stack for stack in hit.get("stacks", ()) if stack != _WHOLE_TAG), None)
    package, hash = str(hit.get("package", "")), str(hit.get("hash", ""))
    if not (mirror_url and stack and _SAFE.fullmatch(package) and _SAFE.fullmatch(hash)):
        return None
    found = _mirror(mirror_url, str(hit.get("tag", "")), stack)
    if found is None:
        return None
    mirror, adding = found
    return Install(mirror, (adding, "spack buildcache keys --install --trust", f"spack install --cache-only /{hash}"))


@lru_cache(maxsize=_MAX_MIRRORS)
def _mirror(mirror_url: str, tag: str, stack: str) -> tuple[str, str] | None:
    """Return the URL of a mirror and the command that adds the mirror, or None if a name isn't safe in a shell."""
    if not (_SAFE.fullmatch(tag) and _SAFE.fullmatch(stack)):
        return None
    mirror = mirror_url.replace("{tag}", quote(tag, safe="")).replace("{stack}", quote(stack, safe=""))
    return mirror, f"spack mirror add {tag}-{stack} {mirror}"

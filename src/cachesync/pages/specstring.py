"""The spec strings of 2021 and 2022 pages: ``zlib@1.2.12%gcc@7.5.0+pic arch=linux-ubuntu18.04-x86_64 ^…``."""

import re
from typing import Final

from cachesync.pages.spec import Spec

_NAME: Final = r"[A-Za-z0-9_][\w-]*"
_VERSION: Final = r"@=?([\w./=-]+)"
_PART: Final = re.compile(
    rf"""
    \s*(?:
        (?P<end>\^|\Z)
      | {_VERSION.replace("(", "(?P<version>")}
      | %(?P<compiler>{_NAME}(?:@=?[\w./=-]+)?)
      | (?P<switch>[+~]{_NAME}|(?<=\s)-{_NAME})
      | (?P<key>{_NAME}):?=(?P<value>'[^']*'|"[^"]*"|[^\s^]*)
    )""",
    re.VERBOSE,
)
_PACKAGE: Final = re.compile(rf"\s*({_NAME})")


def parse(text: str) -> Spec:
    """Parse the root node of a spec string and ignore its ``^dependencies``. The spec has no hash, stacks or size.

    Raises:
        ValueError: the string is not a spec string (the message says at which character), or has no version.
    """
    start = _PACKAGE.match(text)
    if not start:
        raise ValueError("expected a package's name at character 1")
    fields: dict[str, str] = {}
    variants: list[str] = []
    position = start.end()
    while match := _PART.match(text, position):
        if match.lastgroup == "end":
            break
        _take(match, fields, variants)
        position = match.end()
    else:
        raise ValueError(f"expected @version, %compiler, +variant or key=value at character {position + 1}")
    if "version" not in fields:
        raise ValueError("expected @version after the package's name")
    platform, os, target = _architecture(fields)
    return Spec(
        versions=[fields["version"]],
        compiler=fields.get("compiler"),
        os=os,
        platform=platform,
        target=target,
        variants=variants,
    )


def _take(match: re.Match[str], fields: dict[str, str], variants: list[str]) -> None:
    """Add one part of a spec string to the fields or to the variants."""
    kind = match.lastgroup or ""
    part = match[kind]
    if kind == "switch":
        variants.append("~" + part[1:] if part[0] == "-" else part)
        return
    key = match["key"] if kind == "value" else kind
    if key not in _FIELDS:
        variants.append(match[0].strip())
    elif key in fields:
        raise ValueError(f"expected one {key}, found another at character {match.start() + 1}")
    else:
        fields[key] = part


_FIELDS: Final = frozenset({"version", "compiler", "arch", "platform", "os", "target"})


def _architecture(fields: dict[str, str]) -> tuple[str | None, str | None, str | None]:
    """Return platform, os and target. A part like ``arch=linux-ubuntu18.04-x86_64`` contains all three."""
    parts = fields.get("arch", "").split("-", 2)
    platform, os, target = parts if len(parts) == 3 else (None, None, None)
    return fields.get("platform", platform), fields.get("os", os), fields.get("target", target)

"""A spec as it is listed on a page."""

import msgspec


class Spec(msgspec.Struct, gc=False):
    """A spec, with the keys and values of an entry in ``spec_details``."""

    hash: str | None = None
    versions: list[str] = []
    """A list that has exactly one version once the entry has been checked."""
    compiler: str | None = None
    os: str | None = None
    platform: str | None = None
    target: str | None = None
    variants: list[str] = []
    stacks: list[str] = []
    size: int | str | None = None

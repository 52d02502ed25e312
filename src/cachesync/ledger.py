"""What the index remembers of each page: the only memory there is."""

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from cachesync.documents import Rendered

DIGEST_BYTES: Final = 8

Digests = dict[str, bytes]
"""A page's specs: key → digest of the document."""


class Signature(msgspec.Struct, frozen=True):
    """What ``lstat`` says of a file. Any difference means: read it again; "newer" is never asked.

    The device isn't part of it: network file systems change it at every mount.
    """

    type: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class PageRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The page document: what was read of a page and when. Its digests are stored beside it, see :data:`Digests`."""

    page: str
    """The path below the root: the id."""
    signature: Signature
    settled: bool
    """The signature can be trusted: no later change can leave it as it is. Else the page is read again."""
    digest: str | None = None
    """Of the content as last read; absent where it couldn't be."""
    package: str | None = None
    tag: str | None = None
    specs: int = 0
    """How many documents the index holds for this page."""
    versions: list[str] = []
    compilers: list[str] = []
    stacks: list[str] = []
    synced: str
    """When this was written: ISO 8601, UTC."""
    problem: str | None = None
    """Why the page can't be used as it is now. Its documents are those of its last good state."""
    line: int | None = None


def content_digest(data: bytes) -> str:
    """Return the digest of a page's bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def digests(rendered: Iterable[Rendered]) -> Digests:
    """Return the digest of each document by its key."""
    blake2b = hashlib.blake2b
    return {document.key: blake2b(document.source, digest_size=DIGEST_BYTES).digest() for document in rendered}

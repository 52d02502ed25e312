"""What the index remembers of each page: the only memory there is."""

from collections.abc import Collection, Mapping
from typing import Final

import msgspec
import xxhash

from cachesync.documents import Rendered

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
    """As the page says; of one that was never read, as its path does."""
    pending: bool = False
    """Its documents were being changed: what is really there must be looked at."""
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


def without(
    record: PageRecord, digests: Digests, refused: Mapping[str, str], replaced: Collection[str]
) -> tuple[PageRecord, Digests]:
    """Return what the ledger says of a page some of whose documents the index refused.

    ``refused`` is why, by key. The page is a problem then, though the rest of it is as it should be. Of the keys in
    ``replaced`` an earlier document is still there.
    """
    kept = {each: digest for each, digest in digests.items() if each not in refused}
    kept |= {each: b"" for each in refused if each in replaced}
    return msgspec.structs.replace(record, specs=len(kept), problem=refusal(refused), line=None), kept


def refusal(refused: Mapping[str, str]) -> str:
    """Say that an index refused documents; ``refused`` is why, by key."""
    key, reason = next(iter(refused.items()))
    more = f" and {len(refused) - 1:,} others" if len(refused) > 1 else ""
    return f"the index refused {key}{more}: {reason}"


def content_digest(data: bytes) -> str:
    """Return the digest of a page's bytes."""
    return xxhash.xxh3_128_hexdigest(data)


def digests(rendered: Rendered) -> Digests:
    """Return the digest of each document by its key."""
    return dict(zip(rendered, map(document_digest, rendered.values()), strict=True))


document_digest: Final = xxhash.xxh3_64_digest
"""Return the digest of one document."""

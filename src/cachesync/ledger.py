"""The ledger's records: what the index remembers of each page. No other state is kept between passes."""

from collections.abc import Collection, Mapping
from typing import Final

import msgspec
import xxhash

from cachesync.documents import Rendered

Digests = dict[str, bytes]
"""The digest of each of a page's documents, by the spec's key."""


class Signature(msgspec.Struct, frozen=True):
    """The result of ``lstat`` for a file. If it differs in any way, newer or not, the file is read again.

    The device isn't part of it, since network file systems change it at every mount.
    """

    type: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


# Many fields: one for each of the contract's, since this is the document that an index has of a page.
class PageRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The record of a page: what was read from it, and when. Its digests are stored beside it, see :data:`Digests`."""

    page: str
    """The page's path below the root, which is the record's id."""
    signature: Signature
    settled: bool
    """Whether any later change must alter the signature. If not, the page is read again in the next pass."""
    digest: str | None = None
    """The digest of the content as last read; absent if it couldn't be read."""
    package: str | None = None
    tag: str | None = None
    """The tag in the page or, if it was never read, the one in its path."""
    pending: bool = False
    """Whether a change of its documents was begun; if so, the documents themselves must be checked."""
    specs: int = 0
    """How many documents the index holds for this page."""
    versions: list[str] = []
    compilers: list[str] = []
    stacks: list[str] = []
    synced: str
    """When this record was written: ISO 8601, UTC."""
    problem: str | None = None
    """Why the page can't be used now. Its documents are those of its last good state."""
    line: int | None = None


def without(
    record: PageRecord, digests: Digests, refused: Mapping[str, str], replaced: Collection[str]
) -> tuple[PageRecord, Digests]:
    """Return the record and digests of a page after the index refused some of its documents.

    ``refused`` maps their keys to reasons, which become the page's problem; its other documents were written. For the
    keys in ``replaced``, the index still holds an earlier document.
    """
    kept = {each: digest for each, digest in digests.items() if each not in refused}
    kept |= {each: b"" for each in refused if each in replaced}
    return msgspec.structs.replace(record, specs=len(kept), problem=refusal(refused), line=None), kept


def refusal(refused: Mapping[str, str]) -> str:
    """Return the message for refused documents; ``refused`` maps their keys to reasons."""
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

"""The entries of the ledger: what the index remembers of each page. No other state is kept between passes."""

from collections.abc import Collection, Mapping
from typing import Final

import msgspec
import xxhash

from cachesync.documents import Rendered

Digests = dict[str, bytes]
"""The digests of a page's documents, by the documents' keys."""


class Signature(msgspec.Struct, frozen=True):
    """A file's metadata from ``lstat``. If any of the metadata changes, newer or not, the file is read again.

    The device isn't part of the signature because network file systems change the device at every mount.
    """

    type: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


# Many fields: one for each field of the document that an index stores about a page.
class PageRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A page's ledger entry: what was read from the page, and when. Its :data:`Digests` are stored beside the entry."""

    page: str
    """The page's path below the root, which is also the entry's ID."""
    signature: Signature
    settled: bool
    """Whether every later change is certain to alter the signature. If not, the next pass reads the page again."""
    digest: str | None = None
    """The digest of the page's content when it was last read; absent if the page couldn't be read."""
    package: str | None = None
    tag: str | None = None
    """The tag given in the page or, if the page was never read, the tag in the page's path."""
    pending: bool = False
    """Whether a change of the page's documents was begun. If so, the documents themselves must be checked."""
    specs: int = 0
    """The number of documents that the index holds for this page."""
    versions: list[str] = []
    compilers: list[str] = []
    stacks: list[str] = []
    synced: str
    """The time at which this entry was written: ISO 8601, UTC."""
    problem: str | None = None
    """The problem that keeps the page from being read. The page's documents are those of its last good state."""
    line: int | None = None


def without(
    record: PageRecord, digests: Digests, refused: Mapping[str, str], replaced: Collection[str]
) -> tuple[PageRecord, Digests]:
    """Return a page's ledger entry and digests, adjusted for the page's documents that the index rejected.

    ``refused`` maps the keys of the rejected documents to the reasons, which become the page's problem. The page's
    other documents were written. For the keys in ``replaced``, the index still holds an earlier document.
    """
    kept = {each: digest for each, digest in digests.items() if each not in refused}
    kept |= {each: b"" for each in refused if each in replaced}
    return msgspec.structs.replace(record, specs=len(kept), problem=refusal(refused), line=None), kept


def refusal(refused: Mapping[str, str]) -> str:
    """Return the message about rejected documents; ``refused`` maps the documents' keys to the reasons."""
    key, reason = next(iter(refused.items()))
    more = f" and {len(refused) - 1:,} others" if len(refused) > 1 else ""
    return f"the index refused {key}{more}: {reason}"


def content_digest(data: bytes) -> str:
    """Return the digest of a page's bytes."""
    return xxhash.xxh3_128_hexdigest(data)


def digests(rendered: Rendered) -> Digests:
    """Return the digests of a page's documents, by the documents' keys."""
    return dict(zip(rendered, map(document_digest, rendered.values()), strict=True))


document_digest: Final = xxhash.xxh3_64_digest
"""Return the digest of one document."""

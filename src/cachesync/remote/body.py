"""Reads the bodies of responses, decompressing them as they arrive: in full or by line, within size limits."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

_GZIP: Final = 16 + zlib.MAX_WBITS
_CHUNK_BYTES: Final = 1 << 18
"""How many bytes are decompressed at a time, however large the decompressed body is."""


class BrokenBodyError(Exception):
    """A body is malformed, truncated or too long; the message is the end of a sentence that says why."""


def decompressed(parts: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the parts of a body, decompressed.

    Raises:
        BrokenBodyError: the body can't be decompressed, or is truncated.
    """
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise BrokenBodyError(f"its encoding is {encoding!r:.40}, which was not requested")
    if encoding in ("", "identity"):
        yield from parts
        return
    decompressor = zlib.decompressobj(_GZIP)
    try:
        for part in parts:
            left = part
            while left and not decompressor.eof:
                yield decompressor.decompress(left, _CHUNK_BYTES)
                left = decompressor.unconsumed_tail
    except zlib.error as error:
        raise BrokenBodyError(f"it can't be decompressed: {error}") from None
    if not decompressor.eof:
        raise BrokenBodyError("its end is missing")


def read_all(parts: Iterable[bytes], most: int) -> bytes:
    """Return a body.

    Raises:
        BrokenBodyError: the body has more than ``most`` bytes.
    """
    found = read_start(parts, most + 1)
    if len(found) > most:
        raise BrokenBodyError(f"it has more than {most:,} bytes")
    return found


def read_start(parts: Iterable[bytes], most: int) -> bytes:
    """Return the first bytes of a body, without reading the rest."""
    found = bytearray()
    for part in parts:
        found += part
        if len(found) >= most:
            break
    return bytes(found[:most])


def lines(parts: Iterable[bytes], longest: int) -> Iterator[bytes]:
    """Yield the lines of a body.

    Raises:
        BrokenBodyError: a line is longer than ``longest`` bytes, or the last one isn't terminated.
    """
    rest = bytearray()
    for part in parts:
        rest += part
        if b"\n" in part:
            *complete, last = rest.split(b"\n")
            yield from map(bytes, complete)
            rest = last
        if len(rest) > longest:
            raise BrokenBodyError(f"it has a line of more than {longest:,} bytes")
    if rest:
        raise BrokenBodyError("its last line is cut off")

"""What an answer brings: unpacked as it comes, whole, or line by line, and never more than is allowed."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

_GZIP: Final = 16 + zlib.MAX_WBITS
_AT_ONCE: Final = 1 << 18
"""So many bytes are unpacked at once, whatever the packed ones would come to."""


class BrokenBodyError(Exception):
    """It isn't what it says it is, ends too early, or is too long; the text says what, for the end of a sentence."""


def unpacked(parts: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield a body as it was before it was packed.

    Raises:
        BrokenBodyError: it can't be unpacked, or its end is missing.
    """
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise BrokenBodyError(f"it is packed by {encoding!r:.40}, which nobody has asked for")
    if encoding in ("", "identity"):
        yield from parts
        return
    unpacker = zlib.decompressobj(_GZIP)
    try:
        for part in parts:
            left = part
            while left and not unpacker.eof:
                yield unpacker.decompress(left, _AT_ONCE)
                left = unpacker.unconsumed_tail
    except zlib.error as error:
        raise BrokenBodyError(f"it can't be unpacked: {error}") from None
    if not unpacker.eof:
        raise BrokenBodyError("its end is missing")


def whole(parts: Iterable[bytes], most: int) -> bytes:
    """Return a body.

    Raises:
        BrokenBodyError: it has more than ``most`` bytes.
    """
    found = bytearray()
    for part in parts:
        found += part
        if len(found) > most:
            raise BrokenBodyError(f"it has more than {most:,} bytes")
    return bytes(found)


def beginning(parts: Iterable[bytes], most: int) -> bytes:
    """Return the first bytes of a body; nothing more of it is read."""
    found = bytearray()
    for part in parts:
        found += part
        if len(found) >= most:
            break
    return bytes(found[:most])


def lines(parts: Iterable[bytes], longest: int) -> Iterator[bytes]:
    """Yield the lines of a body.

    Raises:
        BrokenBodyError: a line is longer than ``longest`` bytes, or the last one has no end.
    """
    rest = bytearray()
    for part in parts:
        rest += part
        if b"\n" in part:
            *complete, last = rest.split(b"\n")
            yield from map(bytes, complete)
            rest = last
        if len(rest) > longest:
            raise BrokenBodyError(f"a line of it has more than {longest:,} bytes")
    if rest:
        raise BrokenBodyError("its last line is cut off")

"""Exports: all hits of a search as one stream, using memory that doesn't grow with the number of hits."""

import asyncio
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Final

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from cachesync.errors import CachesyncError
from cachesync.log import as_json, get_logger
from cachesync.search.csv_table import COLUMNS, csv_hits, csv_rows
from cachesync.search.request import Hit
from cachesync.web.admission import Admission
from cachesync.web.errors import ErrorReply
from cachesync.web.parameters import Format

_log = get_logger()

MEDIA_TYPES: Final[Mapping[Format, str]] = {"ndjson": "application/x-ndjson", "csv": "text/csv"}

_CHUNK: Final = 65_536
_GZIP: Final = 16 + zlib.MAX_WBITS
_GZIP_LEVEL: Final = 5


def lines(batches: Iterable[list[Hit]], form: Format) -> Iterator[bytes]:
    """Yield hits as a table with a header (``csv``), or as one line of JSON per hit (``ndjson``)."""
    header = csv_rows([COLUMNS]).encode() if form == "csv" else b""
    for hits in batches:
        yield header + (csv_hits(hits, COLUMNS).encode() if form == "csv" else _ndjson(hits))
        header = b""
    if header:
        yield header


def _ndjson(hits: Iterable[Hit]) -> bytes:
    return b"".join(as_json(hit) + b"\n" for hit in hits)


def gzipped(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Compress a stream, flushing after each part."""
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    for part in parts:
        yield packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


class Export(Response):
    """A streamed response, which occupies a thread of its pool until the response is finished.

    The first part is made before the response begins, so an error in that part gets an error response. After a later
    error, the response is left unfinished and the server resets the connection, so the response never looks complete.
    """

    def __init__(
        self,
        parts: Iterator[bytes],
        admission: Admission,
        headers: Mapping[str, str],
        explained: Callable[[CachesyncError], ErrorReply],
    ) -> None:
        """``explained`` returns the reply to an error in the first part."""
        super().__init__(headers=headers)
        del self.headers["Content-Length"]
        self._parts = parts
        self._admission = admission
        self._explained = explained

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI)."""
        has_begun = False
        gone = asyncio.ensure_future(_is_gone(receive))
        try:
            async with self._admission.slot() as slot:
                part = await slot.step(self._next)
                has_begun = True
                await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": self.raw_headers})
                while part is not None and scope["method"] != "HEAD" and not gone.done():
                    for start in range(0, len(part), _CHUNK):
                        await send(_body(part[start : start + _CHUNK], more=True))
                    part = await slot.step(self._next)
                await send(_body(b"", more=False))
        except CachesyncError as error:
            if has_begun:
                _log.warning("an export was broken off", action="export.failed", reason=str(error))
            else:
                await self._explained(error).response()(scope, receive, send)
        finally:
            gone.cancel()

    def _next(self) -> bytes | None:
        return next(self._parts, None)


def _body(part: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": part, "more_body": more}


async def _is_gone(receive: Receive) -> None:
    """Wait until the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass

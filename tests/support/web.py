"""A web server over an index, and what it answers."""

import gzip
import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from cachesync.index.base import Index
from cachesync.search.aliases import load_aliases
from cachesync.search.install import MIRROR_URL
from cachesync.web.api import Api, Bounds
from cachesync.web.public import PublicStatus
from cachesync.web.searcher import Searcher
from cachesync.web.server import WebServer
from cachesync.web.site import build_site

BOUNDS = Bounds(search_timeout=20, max_searches=8)


class Got(NamedTuple):
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json", self
        return json.loads(self.body)


class Web:
    """Asks a server."""

    def __init__(self, host: str, port: int, base_path: str = "") -> None:
        self.host, self.port, self.base_path = host, port, base_path

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{self.host}:{self.port}{self.base_path}/"

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection of its own."""
        return http.client.HTTPConnection(self.host, self.port, timeout=60)

    def get(
        self, path: str, parameters: Any = (), headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Got:
        """Ask at a path that is written out, with parameters that aren't."""
        connection = self.connection()
        query = urlencode(list(parameters.items() if isinstance(parameters, dict) else parameters), doseq=True)
        try:
            connection.request(
                method, self.base_path + quote(path, safe="/%") + (f"?{query}" if query else ""), headers=headers or {}
            )
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            body = answer.read()
        finally:
            connection.close()
        return Got(answer.status, found, gzip.decompress(body) if found.get("content-encoding") == "gzip" else body)

    def search(self, **parameters: Any) -> Any:
        """Search, and return the answer."""
        got = self.get("/api/search", parameters)
        assert got.status == 200, got
        return got.json


@contextmanager
def serving(index: Index, bounds: Bounds = BOUNDS, base_path: str = "", *, is_public: bool = True) -> Iterator[Web]:
    """Serve an index as `cachesync serve` does."""
    searcher = Searcher(index, load_aliases(), MIRROR_URL)
    api = Api(searcher, bounds, is_public=is_public)
    app = build_site(base_path, PublicStatus(searcher, 600).endpoints(), api, (), lambda _status, _seconds: None)
    server = WebServer("127.0.0.1", 0, app, base_path)
    server.start()
    try:
        yield Web("127.0.0.1", int(server.url.removesuffix(base_path).rpartition(":")[2]), base_path)
    finally:
        server.stop()
        api.close()

"""`cachesync serve` as the public meets it, and what it must never tell."""

import http.client
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from tests.support.sandbox import Sandbox

PATHS: Final = (
    "/",
    "/?q=zlib&facet=os",
    "/?q=zlib%40%40",
    "/?nothing=1",
    "/parts?q=zlib",
    "/binary/aaaa",
    "/binary/zzzz",
    "/diff",
    "/diff?from=develop&to=other",
    "/nowhere",
    "/robots.txt",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/api/status",
    "/api/search",
    "/api/search?q=zlib&facet=os&facet=hash:10000&distinct=true",
    "/api/search?q=%40%40",
    "/api/search?size=5&sort=hash&arch=linux-rhel8-zen3",
    "/api/search?limit=x",
    "/api/search?cursor=AAAA",
    "/api/search?format=ndjson",
    "/api/search?format=csv&q=zlib",
    "/api/specs/develop/zlib/aaaa",
    "/api/specs/no/such/thing",
    "/api/binaries/aaaa",
    "/api/binaries/a",
    "/api/suggest?q=zl",
    "/api/tags",
    "/api/tags?x=1",
    "/api/diff?from=develop&to=other",
    "/api/nothing",
)
"""Something of every kind that can be asked, rightly and wrongly."""

_SOME: Final = (
    "/",
    "/parts",
    "/binary/aaaa",
    "/readyz",
    "/api/status",
    "/api/search",
    "/api/search?format=csv",
    "/api/suggest?q=zl",
    "/api/tags",
)

ENGINES: Final = ("elastic", "embedded", "tantivy", "lucene")
_EXCEPTION: Final = re.compile(r"Traceback|\b[A-Z]\w*(?:Error|Exception|Warning)\b|[a-z]+(?:_[a-z]+)+_exception")


class Told(NamedTuple):
    """An answer, as it came."""

    asked: str
    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def whole(self) -> str:
        """All of it."""
        return "\n".join([*(f"{name}: {value}" for name, value in self.headers.items()), "", self.body])


def told(url: str) -> Iterator[Told]:
    """Yield what is answered to everything that can be asked."""
    for path in PATHS:
        yield asked(url, path)
        yield asked(url, path, accept="*/*")
        yield asked(url, path, "HEAD")
        yield asked(url, path, "POST")


def told_in_short(url: str) -> Iterator[Told]:
    """Yield what is answered to something of each kind."""
    return (asked(url, path) for path in _SOME)


def asked(url: str, path: str, method: str = "GET", accept: str = "text/html") -> Told:
    """Ask once."""
    address = urlsplit(url)
    assert address.hostname
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        connection.request(method, f"{address.path}{path}", headers={"Accept": accept})
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Told(f"{method} {path} ({accept})", answer.status, headers, answer.read().decode())
    finally:
        connection.close()


def secrets_of(sandbox: Sandbox) -> set[str]:
    """Return what is behind a server: engines, where they are, what the index is called, and who writes it."""
    found = {*ENGINES, sandbox.name, str(sandbox.folder), sandbox.folder.name, socket.gethostname()}
    if not sandbox.is_embedded:
        address = urlsplit(sandbox.url)
        found |= {address.netloc, f":{address.port}"}
    return found


def faults_of(answer: Told, secrets: Iterable[str]) -> list[str]:
    """Return what an answer tells that it mustn't."""
    text = answer.whole
    found = [each for each in secrets if each.lower() in text.lower()]
    return [*found, *_EXCEPTION.findall(text)]

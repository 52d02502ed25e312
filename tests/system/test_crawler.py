"""A crawler that follows every link that it may comes to an end, though there is no end of possible searches."""

import re
from collections import deque
from collections.abc import Callable
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

from examples.pages import tree
from tests.support.filling import documents
from tests.support.web import Got, Web
from tests.system.conftest import Serve

DOCUMENTS = documents(dict(tree(tag_count=2, package_count=6, seed=5)))
BINARIES = len({each["binary"] for each in DOCUMENTS})
ENOUGH = 20 * BINARIES
"""A crawler that has fetched this many pages would go on forever."""


class Links(HTMLParser):
    """The URLs that a document links to or loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, _tag: str, attributes: list[tuple[str, str | None]]) -> None:
        told = dict(attributes)
        if "nofollow" not in (told.get("rel") or "").split():
            self.found += [url for name in ("href", "src", "action") if (url := told.get(name))]


class Rule(NamedTuple):
    """A line of robots.txt."""

    path: str
    allows: bool

    def length(self, path: str) -> int:
        """Return the length of the rule if it matches a path, otherwise -1."""
        pattern = re.escape(self.path).replace(r"\*", ".*").replace(r"\$", "$")
        return len(self.path) if re.match(pattern, path) else -1


def rules(robots: str) -> list[Rule]:
    """Return the rules of a file for all crawlers (RFC 9309)."""
    lines = [line.partition(":")[::2] for line in robots.splitlines() if line]
    assert lines[0] == ("User-agent", " *")
    return [Rule(path.strip(), name == "Allow") for name, path in lines[1:]]


def crawl(web: Web, may: Callable[[str], bool]) -> dict[str, Got]:
    """Fetch everything that can be reached from the page by URLs that ``may`` allows."""
    found: dict[str, Got] = {}
    waiting = deque([web.url])
    while waiting:
        url = urldefrag(waiting.popleft()).url
        address = urlsplit(url)
        asked = f"{address.path}?{address.query}" if address.query else address.path
        if asked in found or address.netloc != f"{web.host}:{web.port}" or not may(asked):
            continue
        assert len(found) < ENOUGH, f"the crawler doesn't come to an end: {asked}"
        got = found[asked] = fetched(web, asked)
        if got.headers["content-type"].startswith("text/html"):
            waiting += [urljoin(url, link) for link in Links(got.body.decode()).found]
    return found


def fetched(web: Web, asked: str) -> Got:
    path, _, query = asked.removeprefix(web.base_path).partition("?")
    pairs = [tuple(unquote(each.replace("+", " ")) for each in pair.split("=", 1)) for pair in query.split("&") if pair]
    return web.get(path, pairs, {"Accept": "text/html"})


@pytest.fixture(scope="module")
def web(serve: Serve) -> Web:
    return serve(DOCUMENTS)


def test_a_crawler_that_obeys_robots_txt_fetches_one_page(web: Web) -> None:
    told = rules(web.get("/robots.txt").body.decode())

    def may(path: str) -> bool:
        _, allows = max((each.length(path), each.allows) for each in told)
        return allows

    found = crawl(web, may)
    assert {got.status for got in found.values()} == {200}
    kinds = sorted(got.headers["content-type"].partition(";")[0] for got in found.values())
    assert kinds == ["text/css", "text/html", "text/javascript"]


def test_a_crawler_that_only_obeys_nofollow_fetches_each_binary_once(web: Web) -> None:
    """Searches only link to the examples and to the search for everything."""
    found = crawl(web, lambda _path: True)
    assert {got.status for got in found.values()} == {200}
    pages = [path.partition("?")[0].removeprefix(web.base_path) for path in found]
    assert sum(path.startswith("/binary/") for path in pages) <= BINARIES
    assert sum(not path.startswith("/binary/") for path in pages) < 20

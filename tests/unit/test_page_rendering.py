"""The rendered HTML, checked without a browser."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from http import HTTPStatus
from pathlib import Path

import pytest

from cachesync.index.engines import open_index
from cachesync.index.server import IndexServer, Layout
from cachesync.search.aliases import load_aliases
from cachesync.search.install import MIRROR_URL
from cachesync.web.errors import ErrorReply
from cachesync.web.page import IndexState, PageRenderer, asked_by_page, markup
from cachesync.web.parameters import read_search
from cachesync.web.searcher import Searcher
from tests.support.filling import documents, fill_with
from tests.support.pages import entry, page, path_of

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
UNKNOWN = IndexState()
LATEST, EARLIER = "develop-2025-07-13", "develop-2025-07-06"
STACKS = [f"stack-{number:04}" for number in range(1_000)]
LONG = "cflags=" + "x" * 200


def hash_of(name: str) -> str:
    return name.ljust(32, "a")


def tree() -> Iterator[tuple[str, bytes]]:
    builds = (
        entry(hash_of("mpi"), variants=["+mpi", "~szip"], target="zen4", os="rhel8"),
        entry(hash_of("szip"), variants=["+mpi", "+szip"]),
    )
    yield path_of("hdf5", LATEST), page(*builds, title="hdf5", tag=LATEST)
    yield path_of("hdf5", EARLIER), page(entry(hash_of("old")), title="hdf5", tag=EARLIER)
    yield (
        path_of("long", LATEST),
        page(entry(hash_of("long"), variants=[LONG], stacks=STACKS), title="long", tag=LATEST),
    )
    yield path_of("sized", LATEST), page(entry(hash_of("sized"), size="2048"), title="sized", tag=LATEST)
    yield path_of("nowhere", LATEST), page(entry(hash_of("no"), stacks=["root"]), title="nowhere", tag=LATEST)
    yield path_of("arabic", LATEST), page(entry(hash_of("rtl"), os="لينكس"), title="arabic", tag=LATEST)


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    folder = tmp_path_factory.mktemp("index")
    index = open_index(IndexServer((f"embedded:{folder}",)), "specs", Layout(), lambda path: path)
    fill_with(index, documents(dict(tree())))
    return Searcher(index, load_aliases(), MIRROR_URL)


Render = Callable[..., str]


@pytest.fixture(scope="module")
def search(searcher: Searcher) -> Render:
    """Return a function that renders the page of a search, with the index in a given state."""

    def rendered(*pairs: tuple[str, str], state: IndexState = UNKNOWN) -> str:
        asked = read_search(asked_by_page(pairs))
        answer = searcher.ask(asked.question, asked.cursor)
        return PageRenderer("/base", lambda: NOW).search(pairs, answer, state)

    return rendered


@pytest.fixture(scope="module")
def binary(searcher: Searcher) -> Render:
    """Return a function that renders the page of the binary whose hash begins with ``start``."""

    def rendered(start: str) -> str:
        found = searcher.binary(hash_of(start))
        return PageRenderer("/base", lambda: NOW).binary(found, searcher.siblings(found.newest), IndexState())

    return rendered


class Text(HTMLParser):
    """The text of a page, and the ids in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.feed(page)

    def handle_starttag(self, _tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attributes if name == "id"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def text_of(page: str) -> str:
    return " ".join("".join(Text(page).texts).split())


def facet(page: str, field: str) -> dict[str, int]:
    (found,) = re.findall(f'data-facet="{field}".*?</details>', page, re.DOTALL)
    return {unescape(value): int(count) for value, count in re.findall(r'value="([^"]*)".*?data-count>(\d+)<', found)}


def test_the_start_page_has_an_introduction_and_examples(search: Render) -> None:
    start = search()
    assert "Spack packages that are built already" in text_of(start)
    examples = re.findall('<li><a href="/base/([^"]*)"><code>([^<]*)</code>', start)
    assert len(examples) == 3
    assert all(address.startswith("?q=") for address, _ in examples)
    for pairs in ([("q", "hdf5")], [("target", "zen4")], [("arch", "linux-rhel8-zen4")]):
        assert "built already" not in search(*pairs)


def test_no_column_is_empty(search: Render) -> None:
    assert not re.search('class="size"|>Size<', search(("q", "hdf5")))
    with_size = search()
    assert ">Size</th>" in with_size
    assert len(re.findall('<td role="cell" class="size"', with_size)) == len(re.findall("<tr .*?data-id", with_size))
    assert "2.0 KiB" in with_size


def test_hits_show_the_variants_in_which_they_differ(search: Render) -> None:
    page = search(("package", "hdf5"), ("tag", LATEST))
    shown = [re.findall('<code class="variant[^>]*>([^<]*)<', cell.partition("<details")[0]) for cell in page.split('class="variants"')[2:]]  # fmt: skip
    assert sorted(shown) == [["+szip"], ["~szip"]]


def test_a_hit_names_its_latest_tag_and_counts_the_others(search: Render) -> None:
    page = search(("tag", "latest"), ("package", "hdf5"))
    assert facet(page, "tag") == {LATEST: 2, EARLIER: 1}
    assert f"the latest ({LATEST})" in text_of(page)
    assert re.search('id="latest"[^>]* checked', page)
    assert not re.search(f'value="{LATEST}"[^>]* checked', page)


def test_commands_are_unchanged_and_only_broken_between_words(binary: Render) -> None:
    page = binary("mpi")
    commands = re.findall("<li><code>(.*?)</code>", page)
    assert [text_of(each) for each in commands] == [
        f"spack mirror add {LATEST}-e4s https://binaries.spack.io/{LATEST}/e4s",
        "spack buildcache keys --install --trust",
        f"spack install --cache-only /{hash_of('mpi')}",
    ]
    unbroken = [word for each in commands for word in re.sub("<span>.*?</span>", "", each).split() if "-" in word]
    assert unbroken == []


def test_a_binary_without_commands_says_so(binary: Render) -> None:
    assert "How to install it isn't known" in text_of(binary("no"))
    assert "How to install it isn't known" not in text_of(binary("mpi"))


def test_siblings_are_linked(binary: Render) -> None:
    page = binary("mpi")
    assert f'href="/base/binary/{hash_of("szip")}"' in page
    assert 'data-label="has"><code class="variant">+szip</code>' in page


@pytest.mark.parametrize("place", ["hits", "binary"])
def test_a_thousand_stacks_are_collapsed(search: Render, binary: Render, place: str) -> None:
    page = search(("package", "long")) if place == "hits" else binary("long")
    before, _, behind = page.partition("more stacks")
    assert len(re.findall('<span class="item">(?:<a [^>]*>)?stack-', before)) in (2, 20)
    assert STACKS[999] in behind
    assert LONG in page


def test_text_direction_is_isolated_and_invisible_characters_are_escaped() -> None:
    assert markup.v("لينكس") == "<bdi>لينكس</bdi>"
    assert markup.v("a\u202eb") == "<bdi>a\\u202eb</bdi>"
    assert markup.v("<b>&\"'") == "&lt;b&gt;&amp;&#34;&#39;"
    assert markup.variant("~<b>") == '<code class="variant off">~&lt;b&gt;</code>'
    assert markup.variants(["+a", "~b"], ["+a"]) == (
        '<code class="variant differing">+a</code> <code class="variant off">~b</code>'
    )
    assert markup.command("a --b <c-d>") == "a <span>--b</span> <span>&lt;c-d&gt;</span>"


def test_a_spec_may_be_broken_before_variants() -> None:
    assert markup.spec("x@1+a~b c=d +e") == "x@1<wbr>+a<wbr>~b c=d <wbr>+e"
    assert markup.spec("x@1+<b>~b") == "x@1+&lt;b&gt;<wbr>~b"
    assert markup.spec("x@1+لينكس") == "<bdi>x@1+لينكس</bdi>"


def test_right_to_left_values_are_isolated(search: Render) -> None:
    assert "<bdi>لينكس</bdi>" in search(("package", "arabic"))


@pytest.mark.parametrize(
    ("state", "says", "warns"),
    [
        (IndexState(), "", ""),
        (IndexState(NOW - timedelta(minutes=5), 0, True), "Index updated 5 min ago, in step with the pages", ""),
        (IndexState(NOW, 120, False), "Index updated just now, 2 min behind the pages", ""),
        (IndexState(NOW, 1200, False), "20 min behind the pages", "The index is 20 min behind the pages."),
        (IndexState(NOW - timedelta(hours=3), 10_800, True, is_followed=False), "Index updated 3 h ago", ""),
        (
            IndexState(NOW - timedelta(days=3), 259_200, True, is_followed=False),
            "Index updated 3 days ago",
            "The index was brought up to date 3 days ago; what has changed since isn't found.",
        ),
        (IndexState(degraded=("held",)), "", "Many pages have vanished at once."),
        (IndexState(outdated=True), "", "Another version of cachesync made this index"),
    ],
)
def test_the_age_of_the_index_is_shown(search: Render, state: IndexState, says: str, warns: str) -> None:
    page = search(state=state)
    fresh = re.search('<p id="freshness">(.*?)</p>', page)
    assert fresh
    assert text_of(fresh[1]).endswith(says) if "behind" in says else text_of(fresh[1]) == says
    warned = re.search('<div id="warnings">(.*?)</div>', page, re.DOTALL)
    assert warned
    assert text_of(warned[1]).startswith(warns) if warns else not text_of(warned[1])


def test_ids_are_unique(search: Render, binary: Render) -> None:
    for rendered in (search(), search(("q", "hdf5"), ("arch", "linux-rhel8-zen4")), binary("mpi")):
        ids = Text(rendered).ids
        assert len(ids) == len(set(ids))


def test_an_error_page_keeps_the_chosen_filters() -> None:
    pairs = [("q", "hdf5@"), ("sort", "size"), ("tag", "latest"), ("target", "zen4"), ("arch", "linux-rhel8-zen4")]
    page = PageRenderer("/base").error(ErrorReply(HTTPStatus.BAD_REQUEST, "character 5: no", 5), pairs, None)
    fields = re.findall('<input [^>]*name="([^"]*)" value="([^"]*)"', page)
    assert sorted(fields) == sorted(pairs)


def test_the_summary_of_filters_is_only_hidden_where_they_stay_visible() -> None:
    """Only browsers that can show the content of a closed element hide its summary."""
    style = (Path(markup.__file__).parents[1] / "static" / "cachesync.css").read_text(encoding="utf-8")
    (hiding,) = re.finditer(r"#filters > summary \{ display: none", style)
    assert style.rfind("@supports selector(::details-content)", 0, hiding.start()) > style.rfind(
        "@media", 0, hiding.start()
    )

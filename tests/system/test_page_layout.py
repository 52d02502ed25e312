"""Layout and behaviour of the page on narrow screens, in old browsers, on paper, and with unfinished queries."""

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from cachesync.index.engines import open_index
from cachesync.index.server import IndexServer, Layout
from examples.pages import tree
from tests.support.browser import Chromium, Tab
from tests.support.filling import documents, fill_with
from tests.support.pages import entry, page, path_of
from tests.support.web import Web, serving

NARROW: Final = 360
WIDE: Final = 1280
"""Pixels."""

STACKS: Final = [f"a-stack-of-a-long-name-{number}" for number in range(1_000)]
LONG: Final = entry("longlonglong", variants=["flags=" + "x" * 200], stacks=STACKS)
TWINS: Final = [entry(f"twin{number}", variants=[f"+x{number}"]) for number in range(9)]

_CUT: Final = """
    () => [...document.querySelectorAll("body *")]
        .filter(each => each.checkVisibility() && each.clientWidth > 1 && !each.matches("input, select, .short"))
        .filter(each => getComputedStyle(each).clipPath === "none") // those are for screen readers
        .filter(each => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflowX !== "visible")
        .map(each => `${each.tagName}#${each.id}.${each.className}`)
"""
"""Finds elements that are partly cut off unless they are scrolled sideways."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    pages = {
        **dict(tree(tag_count=2, package_count=40, seed=11)),
        path_of("long"): page(LONG, title="long"),
        path_of("twins"): page(*TWINS, title="twins"),
    }
    index = open_index(
        IndexServer((f"embedded:{tmp_path_factory.mktemp('index')}",)), "specs", Layout(), lambda path: path
    )
    fill_with(index, documents(pages))
    with serving(index, base_path="/base") as web:
        yield web


@pytest.fixture
def tab(chromium: Chromium, web: Web) -> Iterator[Tab]:
    with chromium.tab(web.url) as tab:
        yield tab


def box_of(page: Page) -> Locator:
    return page.get_by_role("combobox", name="Search for binaries")


def top_of_hits(page: Page) -> float:
    found: float = page.locator("[data-id]").first.evaluate("each => each.getBoundingClientRect().top")
    return found


def ids(page: Page) -> list[str]:
    found: list[str] = page.locator("[data-id]").evaluate_all("rows => rows.map(row => row.dataset.id)")
    return found


def expect_total(page: Page, web: Web, **parameters: Any) -> None:
    expect(page.locator("[data-total]")).to_have_text(str(web.search(**parameters)["total"]))


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_an_unfinished_query_moves_nothing(chromium: Chromium, web: Web, width: int) -> None:
    with chromium.tab(web.url, width=width) as tab:
        page = tab.page
        page.goto("?q=hdf5")
        hint = page.locator("#typing")
        usual, before, top = hint.inner_text(), ids(page), top_of_hits(page)
        box = box_of(page)
        box.press("End")
        with tab.expected("400"):
            box.press_sequentially("@")
            expect(hint).to_have_text(re.compile("^Expected a version after @"))
        assert (ids(page), top_of_hits(page)) == (before, top)
        expect(page.locator("#problem")).to_be_empty()
        assert not tab.axe()
        box.press_sequentially("1.14:")
        expect_total(page, web, q="hdf5@1.14:")
        expect(hint).to_have_text(usual)
        expect(page.locator("#problem")).to_be_empty()


@pytest.mark.parametrize("how", ["Enter", "a long rest"])
def test_a_query_that_stays_unfinished_is_an_error(tab: Tab, how: str) -> None:
    page = tab.page
    page.goto("?q=hdf5")
    before = ids(page)
    box = box_of(page)
    box.press("End")
    with tab.expected("400"):
        box.press_sequentially(" %")
        expect(page.locator("#typing")).to_have_text(re.compile("^Expected the name of a compiler"))
        if how == "Enter":
            box.press("Enter")
        expect(page.locator("#problem")).to_contain_text("expected the name of a compiler")
    expect(page.locator("#typing")).not_to_contain_text("Expected")
    expect(page.get_by_role("status")).to_contain_text("expected the name of a compiler")
    assert ids(page) == before


@pytest.mark.parametrize("busy", [1, 99])
def test_requests_to_a_busy_server_are_retried(tab: Tab, web: Web, busy: int) -> None:
    page = tab.page
    page.goto("?q=hdf5")
    asked = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) > busy:
            route.continue_()
        else:
            route.fulfill(status=503, headers={"Retry-After": "0", "Content-Type": "text/html"}, body="<p>busy")

    page.route(re.compile("/parts"), answer)
    with tab.expected("503"):
        page.get_by_label("Only the latest tag").check()
        if busy == 1:
            expect_total(page, web, q="hdf5", tag="latest")
        else:
            expect(page.locator("#problem")).to_contain_text("503")
    if busy == 1:
        expect(page.locator("#problem")).to_be_empty()
    else:
        expect_total(page, web, q="hdf5")
    assert len(asked) == min(busy, 2) + 1


def age(route: Route) -> None:
    """Simulate an old browser: make the stylesheet and script test for features that no browser has."""
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace("::details-content", "::nonesuch"))


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("scripts", [True, False])
def test_filters_can_be_reached_in_old_browsers(chromium: Chromium, web: Web, width: int, scripts: bool) -> None:
    with chromium.tab(web.url, width=width, scripts=scripts) as tab:
        page = tab.page
        page.route(re.compile("/static/"), age)
        page.goto("?q=hdf5")
        summary = page.locator("#filters > summary")
        expect(summary).to_be_visible()
        value = page.locator("[data-facet=target] input").first
        if not value.is_visible():
            summary.click()
        value.check()
        if not scripts:
            page.get_by_role("button", name="Apply").click()
        expect(page).to_have_url(re.compile("target="))
        expect(page.get_by_role("link", name=re.compile("^Remove Target"))).to_be_visible()


def test_hits_begin_on_the_first_screen_of_a_phone(chromium: Chromium, web: Web) -> None:
    with chromium.tab(web.url, width=NARROW, height=640) as tab:
        page = tab.page
        page.goto("?q=hdf5&arch=linux-rhel8-zen4")
        assert page.locator("header").evaluate("each => each.offsetHeight") <= 180
        assert top_of_hits(page) < 560
        page.goto("")
        assert top_of_hits(page) < 560


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_nothing_is_cut_off_at_the_side(chromium: Chromium, web: Web, width: int) -> None:
    hit = web.search(q="hdf5", target="zen4")["hits"][0]
    tags = [each["tag"] for each in web.get("/api/tags").json["tags"]][:2]
    cut = {}
    with chromium.tab(web.url, width=width) as tab:
        for address in (
            *("?q=hdf5&arch=linux-rhel8-zen4", "?q=long", "?package=twins", "binary/longlonglong", "binary/twin1"),
            *(f"binary/{hit['hash']}", f"diff?from={tags[1]}&to={tags[0]}", "?q=hdf5+%2Bnosuch"),
        ):
            tab.page.goto(address)
            tab.page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
            cut[address] = tab.page.evaluate(_CUT)
    assert {address: what for address, what in cut.items() if what} == {}


def test_options_of_commands_are_not_broken(chromium: Chromium, web: Web) -> None:
    hit = next(each for each in web.search(q="hdf5")["hits"] if "install" in each)
    with chromium.tab(web.url, width=NARROW) as tab:
        tab.page.goto(f"binary/{hit['hash']}")
        words = tab.page.locator(".commands code > *").filter(has_text=re.compile("^--"))
        assert words.all_inner_texts() == ["--install", "--trust", "--cache-only"]
        heights = words.evaluate_all(
            "all => all.map(each => each.offsetHeight / parseFloat(getComputedStyle(each).fontSize))"
        )
        assert all(height < 2 for height in heights)


def test_a_facet_ends_with_a_whole_line(tab: Tab) -> None:
    page = tab.page
    page.goto("")
    cut = page.locator("[data-facet=package] ul").evaluate("""
        list => [...list.children].filter(row => {
            const [inner, outer] = [row.getBoundingClientRect(), list.getBoundingClientRect()]
            return inner.top < outer.bottom - 3 && inner.bottom > outer.bottom + 1
        }).length
    """)
    assert cut == 0
    hidden = page.locator("[data-facet=package] ul").evaluate("list => list.scrollHeight - list.clientHeight")
    assert hidden > 0


@pytest.mark.parametrize("address", ["", "?limit=4", "?q=hdf5", "?q=hdf5&target=zen4"])
def test_headings_are_aligned_with_their_columns(tab: Tab, address: str) -> None:
    tab.page.goto(address)
    places = tab.page.evaluate("""
        () => [document.querySelector(".hits thead tr"), document.querySelector(".hits tbody tr")].map(row =>
            [...row.children].slice(0, 5).map(cell => Math.round(cell.getBoundingClientRect().left)))
    """)
    assert places[0] == places[1]


def test_printed_pages_have_hashes_and_no_controls(tab: Tab) -> None:
    page = tab.page
    page.goto("?q=hdf5")
    hash = page.locator("[data-id] .short").first
    expect(page.get_by_role("button", name="Search")).to_be_visible()
    assert hash.evaluate("each => each.scrollWidth > each.clientWidth")
    page.emulate_media(media="print")
    assert not hash.evaluate("each => each.scrollWidth > each.clientWidth")
    for control in page.locator("button, input, select").all():
        expect(control).to_be_hidden()
    assert len(ids(page)) == page.locator("[data-id]:visible").count() > 1


def test_nothing_is_animated_with_reduced_motion(chromium: Chromium, web: Web) -> None:
    moving = """
        () => [...document.querySelectorAll("*")]
            .flatMap(each => [getComputedStyle(each), getComputedStyle(each, "::before")])
            .filter(style => style.transitionDuration !== "0s")
            .length
    """
    found = []
    for moves in (True, False):
        with chromium.tab(web.url, moves=moves) as tab:
            tab.page.goto("?q=hdf5")
            found.append(tab.page.evaluate(moving) > 0)
    assert found == [True, False]


def test_coloured_elements_have_borders_with_forced_colours(tab: Tab) -> None:
    page = tab.page
    page.goto("?q=hdf5&arch=linux-rhel8-zen4")
    edges = {}
    for forced in ("none", "active"):
        page.emulate_media(forced_colors=forced)
        edges[forced] = page.locator(".runs").first.evaluate("each => getComputedStyle(each).borderTopStyle")
    assert edges == {"none": "none", "active": "solid"}


@pytest.mark.parametrize("change", [str, str.upper])
def test_a_hash_prefix_opens_its_binary_or_lists_the_matching_ones(web: Web, change: Any) -> None:
    html = {"Accept": "text/html"}
    one = web.get(f"/binary/{change('longl')}", headers=html)
    assert one.status == 200
    assert b"<h1>long@1.2.3</h1>" in one.body
    several = web.get(f"/binary/{change('twin')}", headers=html)
    assert several.status == 409
    assert len(re.findall(rb'<li><a href="/base/binary/twin\d">', several.body)) == 5
    assert web.get(f"/binary/{change('twi')}", headers=html).status == 400


def test_the_page_with_its_static_files_is_small(web: Web) -> None:
    takes = {"Accept-Encoding": "gzip"}
    start = web.get("/", headers=takes)
    parts = sorted(set(re.findall(r'(?:href|src)="/base(/(?:static/[^"]+|icon.svg))"', start.body.decode())))
    assert len(parts) == 3
    sizes = [int(web.get(path, headers=takes).headers["content-length"]) for path in ("/", *parts)]
    assert sum(sizes) <= 30_000

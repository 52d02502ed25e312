"""The web page in a real browser, with every engine: used by mouse, by keyboard and without scripts."""

import csv
import io
import re
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, Response, Route, expect

from examples.pages import tree
from tests.support.browser import Chromium, Tab
from tests.support.filling import documents
from tests.support.web import Web
from tests.system.conftest import Serve

PAGES: Final = dict(tree(tag_count=4, package_count=40, seed=11))
TARGETS: Final = ("x86_64_v3", "aarch64")
TAGS: Final = ("develop-2025-07-06", "develop-2025-07-13")
NARROW: Final = 360
NARROWEST: Final = 320
WIDE: Final = 1280
"""Pixels."""

NO_ABORTING: Final = "AbortController.prototype.abort = () => {}"
"""Disables aborting requests, so that outdated responses arrive, like those that are already on their way."""


@pytest.fixture(scope="module")
def web(serve: Serve) -> Web:
    return serve(documents(PAGES))


@pytest.fixture
def tab(chromium: Chromium, web: Web) -> Iterator[Tab]:
    with chromium.tab(web.url) as tab:
        yield tab


class State(NamedTuple):
    """What a page shows for a search."""

    text: str
    ticked: list[str]
    total: str
    ids: list[str]


def state(page: Page) -> State:
    return State(box(page).input_value(), ticked(page), page.locator("[data-total]").inner_text(), ids(page))


def box(page: Page) -> Locator:
    return page.locator("input[name=q]")


def ids(page: Page) -> list[str]:
    """Return the ids of the shown hits, in order."""
    found: list[str] = page.locator("[data-id]").evaluate_all("rows => rows.map(row => row.dataset.id)")
    return found


def ticked(page: Page) -> list[str]:
    """Return the chosen values of facets."""
    found: list[str] = page.locator("[data-facet] input:checked").evaluate_all(
        "boxes => boxes.map(box => `${box.closest('[data-facet]').dataset.facet}=${box.value}`)"
    )
    return sorted(found)


def option(page: Page, field: str, value: str) -> Locator:
    return page.locator(f'[data-facet={field}] input[type=checkbox][value="{value}"]')


def counts(page: Page, field: str) -> list[tuple[str, int]]:
    """Return the values of a facet with their counts."""
    rows = page.locator(f"[data-facet={field}] li")
    found = rows.evaluate_all("""
        rows => rows.map(row => [row.querySelector("input").value, +row.querySelector("[data-count]").textContent])
    """)
    return [(value, number) for value, number in found]


def open_filters(page: Page) -> None:
    """Open the filters, which are collapsed on narrow screens."""
    summary = page.locator("summary", has_text="Filters")
    if summary.is_visible() and not page.locator("[data-facet=package] summary").is_visible():
        summary.click()


def expect_total(page: Page, total: int) -> None:
    expect(page.locator("[data-total]")).to_have_text(str(total))


def search(page: Page, web: Web, text: str) -> int:
    """Type a search, and return how many hits it has."""
    total: int = web.search(q=text)["total"]
    box(page).fill(text)
    box(page).press("Enter")
    expect_total(page, total)
    return total


def turn(page: Page, link: str) -> None:
    """Follow a link to another page of hits."""
    (before, *_) = ids(page)
    page.get_by_role("link", name=link).click()
    expect(page.locator("[data-id]").first).not_to_have_attribute("data-id", before)


def every_id(web: Web, **parameters: Any) -> list[str]:
    return [hit["_id"] for hit in web.search(**parameters, distinct="true", limit=1_000)["hits"]]


def opened_suggestions(page: Page, text: str) -> Locator:
    box(page).press_sequentially(text)
    found = suggestions(page)
    expect(found.first).to_be_visible()
    return found


def suggestions(page: Page) -> Locator:
    return page.get_by_role("listbox", name="Packages").get_by_role("option")


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("scripts", [True, False])
def test_a_search_from_its_first_letter_to_its_last_hit(
    chromium: Chromium, web: Web, width: int, scripts: bool
) -> None:
    whole = web.search(q="hdf5", facet="target")
    asked: list[Response] = []

    def note(response: Response) -> None:
        asked.append(response)

    with chromium.tab(web.url, width=width, scripts=scripts) as tab:
        page = tab.page
        page.on("response", note)
        page.goto("")
        expect_total(page, web.search()["total"])
        search(page, web, "hdf5")
        open_filters(page)
        for number, value in enumerate(TARGETS):
            option(page, "target", value).check()
            if not scripts:
                page.get_by_role("button", name="Apply").click()
                open_filters(page)
            expect_total(page, web.search(q="hdf5", target=TARGETS[: number + 1])["total"])
        wanted = [(each["value"], each["count"]) for each in whole["facets"]["target"]]
        assert sorted(counts(page, "target")) == sorted(wanted)  # a facet's own choices don't narrow it
        first = state(page)
        assert first.ticked == sorted(f"target={value}" for value in TARGETS)

        with chromium.tab(web.url, scripts=scripts) as other:
            other.page.goto(page.url)
            assert state(other.page) == first

        found = first.ids
        while page.get_by_role("link", name="Next page").count():
            turn(page, "Next page")
            found += ids(page)
        assert found == every_id(web, q="hdf5", target=TARGETS)
        turn(page, "Back to the beginning")
        assert ids(page) == first.ids[: len(ids(page))]
    assert all(each.url.startswith(web.url) for each in asked)
    assert {each.status for each in asked} == {200}


def test_back_and_forward_restore_box_ticks_and_hits(tab: Tab, web: Web) -> None:
    page = tab.page
    page.goto("")
    states = [state(page)]
    search(page, web, "hdf5")
    states.append(state(page))
    option(page, "target", TARGETS[0]).check()
    expect_total(page, web.search(q="hdf5", target=TARGETS[0])["total"])
    states.append(state(page))
    turn(page, "Next page")
    states.append(state(page))
    page.locator("[data-id] a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("hdf5@")
    for wanted in reversed(states):
        page.go_back()
        expect_shown(page, wanted)
    for wanted in states[1:]:
        page.go_forward()
        expect_shown(page, wanted)


def expect_shown(page: Page, wanted: State) -> None:
    """Expect a state; its hits are checked last."""
    expect(page.locator("[data-id]").first).to_have_attribute("data-id", wanted.ids[0])
    expect_total(page, int(wanted.total))
    assert state(page) == wanted


def test_typing_searches_without_adding_to_the_history(tab: Tab, web: Web) -> None:
    page = tab.page
    page.goto("")
    start = state(page)
    for text in ("hdf5", "hdf5 +mpi", "zlib"):
        box(page).fill(text)
        expect_total(page, web.search(q=text)["total"])
        expect(page).to_have_url(re.compile(r"\?q="))
    option(page, "target", TARGETS[0]).check()
    expect_total(page, web.search(q="zlib", target=TARGETS[0])["total"])
    page.go_back()
    expect_total(page, web.search(q="zlib")["total"])
    page.go_back()
    expect_shown(page, start)


class Held:
    """Holds a request back until the test lets it through."""

    def __init__(self, page: Page, url: str) -> None:
        """``url`` is a pattern for the end of the request's URL."""
        self._page = page
        self._url = re.compile(f"{url}$")
        self._routes: list[Route] = []
        page.route(self._url, self._hold)

    def _hold(self, route: Route) -> None:
        self._routes.append(route)

    def let_through(self) -> None:
        """Let the request through, and wait for its response."""
        with self._page.expect_request_finished(lambda request: bool(self._url.search(request.url))):
            self._routes[0].continue_()


def test_late_responses_do_not_overwrite_newer_ones(tab: Tab, web: Web) -> None:
    page = tab.page
    page.add_init_script(NO_ABORTING)
    page.goto("")
    held = Held(page, r"/parts\?q=hdf5")
    with page.expect_request(re.compile("/parts")):
        box(page).fill("hdf5")
    search(page, web, "zlib")
    shown = state(page)
    held.let_through()
    tab.settle()
    assert state(page) == shown
    expect(page).to_have_url(re.compile(r"\?q=zlib$"))
    expect(page.locator(".problem")).to_have_count(0)


def test_late_suggestions_do_not_overwrite_newer_ones(tab: Tab) -> None:
    page = tab.page
    page.goto("")
    held = Held(page, r"/api/suggest\?q=hd&limit=8")
    with page.expect_request(re.compile("/api/suggest")):
        box(page).fill("hd")
    box(page).fill("py-tor")
    expect(suggestions(page).first).to_contain_text("py-torch")
    held.let_through()
    tab.settle()
    expect(suggestions(page).first).to_contain_text("py-torch")


def test_an_unreachable_server_leaves_the_last_answer(tab: Tab, web: Web) -> None:
    page = tab.page
    page.goto("")
    search(page, web, "hdf5")
    shown = state(page)
    page.route(re.compile("/parts"), lambda route: route.abort())
    with tab.expected("ERR_FAILED"):
        box(page).fill("zlib")
        box(page).press("Enter")
        expect(page.locator("#problem")).to_contain_text("can't be reached")
    expect(page.get_by_role("status")).to_contain_text("can't be reached")
    assert state(page) == shown._replace(text="zlib")
    page.unroute_all()
    box(page).press("Enter")
    expect_total(page, web.search(q="zlib")["total"])
    expect(page.locator("#problem")).to_be_empty()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_syntax_error_is_marked_at_its_character(chromium: Chromium, web: Web, scripts: bool) -> None:
    with chromium.tab(web.url, scripts=scripts) as tab:
        page = tab.page
        page.goto("?target=zen4")
        with tab.expected("400"):
            box(page).fill("hdf5@@1")
            box(page).press("Enter")
            expect(page.locator("#problem mark")).to_have_text("@")
        assert web.get("/api/search", {"q": "hdf5@@1"}).json["error"] in page.locator("#problem").inner_text()
        assert box(page).input_value() == "hdf5@@1"
        search_text = "hdf5@1:"
        box(page).fill(search_text)
        box(page).press("Enter")
        expect_total(page, web.search(q=search_text, target="zen4")["total"])


@pytest.mark.parametrize("scripts", [True, False])
def test_a_search_without_hits_links_to_alternatives(chromium: Chromium, web: Web, scripts: bool) -> None:
    (near,) = web.search(q="hdf5 +nosuch")["near"]
    with chromium.tab(web.url, scripts=scripts) as tab:
        page = tab.page
        page.goto("")
        search(page, web, "hdf5 +nosuch")
        page.get_by_role("link", name=f"without {near['without']}").click()
        expect_total(page, near["total"])
        assert box(page).input_value() == "hdf5"


@pytest.mark.parametrize("where", ["a hit", "a binary"])
def test_commands_are_copied(tab: Tab, web: Web, where: Literal["a hit", "a binary"]) -> None:
    hits = web.search(q="hdf5", distinct="true")["hits"]
    hit = next(each for each in hits if "install" in each)
    commands = hit["install"]["commands"]
    page = tab.page
    if where == "a hit":
        page.goto("?q=hdf5")
        place = page.locator(f'[data-id="{hit["_id"]}"]')
        place.locator("summary", has_text="Install").click()
    else:
        page.goto(f"binary/{hit['hash']}")
        place = page.locator("main")
    assert place.locator("li code").all_inner_texts() == commands
    for command in commands:
        place.get_by_role("button", name=f"Copy {command}").click()
        expect(page.get_by_role("status")).to_have_text(f"Copied {command}")
        assert tab.clipboard() == command
    place.get_by_role("button", name="Copy all").click()
    expect(page.get_by_role("status")).to_contain_text("3 commands")
    assert tab.clipboard() == "\n".join(commands)


@pytest.mark.parametrize("scripts", [True, False])
def test_the_page_of_a_binary_is_complete_and_links_to_searches(chromium: Chromium, web: Web, scripts: bool) -> None:
    hit = web.search(q="hdf5", target="zen4", distinct="true")["hits"][0]
    with chromium.tab(web.url, scripts=scripts) as tab:
        page = tab.page
        page.goto("?q=hdf5&target=zen4")
        page.locator(f'[data-id="{hit["_id"]}"] a').first.click()
        expect(page).to_have_url(re.compile(f"/binary/{hit['hash']}$"))
        expect(page.get_by_role("heading", level=1)).to_have_text(f"{hit['package']}@{hit['version']}")
        shown = page.locator("main").inner_text()
        wanted = [hit[name] for name in ("spec", "hash", "compiler", "os", "target", "page")]
        assert not [each for each in [*wanted, *hit["tags"], *hit["variants"]] if each not in shown]
        page.locator("main").get_by_role("link", name=hit["os"], exact=True).click()
        expect_total(page, web.search(package="hdf5", os=hit["os"])["total"])
        assert {f"os={hit['os']}", "package=hdf5"} <= set(ticked(page))
        page.go_back()
        stack = next(each for each in hit["stacks"] if each != "root")
        page.locator("main").get_by_role("link", name=stack, exact=True).first.click()
        expect_total(page, web.search(package="hdf5", stacks=stack)["total"])


def test_the_page_of_a_binary_links_back_to_the_results(tab: Tab, web: Web) -> None:
    page = tab.page
    page.goto("")
    total = search(page, web, "hdf5 +mpi")
    results = page.url
    page.locator("a.hit").first.click()
    page.get_by_role("link", name="Back to the results").click()
    expect(page).to_have_url(results)
    expect_total(page, total)
    page.goto("binary/" + web.search(q="hdf5")["hits"][0]["hash"])
    expect(page.locator("article[data-id]")).to_be_visible()
    expect(page.get_by_role("link", name="Back to the results")).to_have_count(0)


@pytest.mark.parametrize("scripts", [True, False])
def test_tags_are_compared(chromium: Chromium, web: Web, scripts: bool) -> None:
    first, second = web.get("/api/tags").json["tags"][-1]["tag"], TAGS[1]
    difference = web.get("/api/diff", {"from": first, "to": second}).json
    assert difference["added"]
    assert difference["gone"]
    with chromium.tab(web.url, scripts=scripts) as tab:
        page = tab.page
        page.goto("")
        page.get_by_role("link", name="Compare two tags").click()
        page.get_by_label("From").select_option(first)
        page.get_by_label("to", exact=True).select_option(second)
        page.get_by_role("button", name="Compare").click()
        told = page.locator("main .total")
        expect(told).to_contain_text(f"{len(difference['added']):,} added")
        expect(told).to_contain_text(f"{len(difference['gone']):,} gone")
        (package, *_) = difference["packages"]
        page.get_by_role("link", name=package["package"], exact=True).click()
        expect(told).to_contain_text(f"{package['added']:,} added")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_facet_shows_more_and_chips_remove_filters(chromium: Chromium, web: Web, scripts: bool) -> None:
    values = [each["value"] for each in web.search(facet="stacks:1000")["facets"]["stacks"]]
    with chromium.tab(web.url, scripts=scripts) as tab:
        page = tab.page
        page.goto("")
        shown = page.locator("[data-facet=stacks] input")
        expect(shown).to_have_count(20)
        page.get_by_role("link", name="more of Stack").click()
        expect(shown).to_have_count(len(values) - 1)
        assert shown.evaluate_all("all => all.map(each => each.value)") == [each for each in values if each != "root"]
        option(page, "stacks", "e4s").check()
        if not scripts:
            page.get_by_role("button", name="Apply").click()
        expect_total(page, web.search(stacks="e4s")["total"])
        page.get_by_role("link", name=re.compile("^Remove .*e4s")).click()
        expect_total(page, web.search()["total"])
        assert ticked(page) == []


@pytest.mark.parametrize("scripts", [True, False])
def test_a_machine_is_remembered_only_with_scripts(chromium: Chromium, web: Web, scripts: bool) -> None:
    machine = "linux-rhel8-zen4"
    with chromium.tab(web.url, scripts=scripts) as tab:
        page = tab.page
        page.goto("?q=hdf5")
        page.get_by_label("Runs on").fill(machine)
        page.get_by_label("Runs on").press("Enter")
        expect_total(page, web.search(q="hdf5", arch=machine)["total"])
        wanted = [hit["runs"] for hit in web.search(q="hdf5", arch=machine, distinct="true")["hits"]]
        shown = page.locator("[data-id] .runs").all_inner_texts()
        assert [each.lower() for each in shown] == wanted
        page.goto("?q=zlib")
        remembered = page.get_by_role("button", name=machine)
        if not scripts:
            expect(remembered).to_be_hidden()
            return
        remembered.click()
        expect_total(page, web.search(q="zlib", arch=machine)["total"])


def test_the_latest_tag_stands_alone(tab: Tab, web: Web) -> None:
    page = tab.page
    page.goto(f"?q=hdf5&tag={TAGS[0]}")
    page.get_by_label("Only the latest tag").check()
    expect_total(page, web.search(q="hdf5", tag="latest")["total"])
    expect(page).to_have_url(re.compile(r"tag=latest$"))
    assert ticked(page) == []
    page.get_by_label("Only the latest tag").uncheck()
    expect_total(page, web.search(q="hdf5")["total"])


def orders(page: Page) -> list[str]:
    """Return the sort keys that the form sends."""
    found: list[str] = page.evaluate("new FormData(document.getElementById('search')).getAll('sort').filter(Boolean)")
    return found


@pytest.mark.parametrize("scripts", [True, False])
def test_further_sort_keys_are_kept_until_another_order_is_chosen(chromium: Chromium, web: Web, scripts: bool) -> None:
    both = ["compiler:desc", "version"]
    with chromium.tab(web.url, scripts=scripts) as tab:
        page = tab.page
        page.goto("?q=hdf5&sort=compiler:desc&sort=version&limit=20")
        hits = every_id(web, q="hdf5", sort=both)
        assert ids(page) == hits[:20]
        turn(page, "Next page")
        assert ids(page) == hits[20:40]
        turn(page, "Back to the beginning")
        if not scripts:
            return
        option(page, "target", TARGETS[0]).check()
        expect_total(page, web.search(q="hdf5", target=TARGETS[0])["total"])
        assert parse_qs(urlsplit(page.url).query)["sort"] == orders(page) == both
        page.get_by_label("Sort by").select_option("size")
        page.wait_for_url("**sort=size*")
        assert orders(page) == ["size"]


def test_the_usual_order_is_named_after_what_it_is(tab: Tab, web: Web) -> None:
    usual = tab.page.locator("#sort option").first
    tab.page.goto("")
    expect(usual).to_have_text("Package and version")
    search(tab.page, web, "hdf5")
    expect(usual).to_have_text("Best match")


def test_the_order_can_be_chosen(tab: Tab, web: Web) -> None:
    page = tab.page
    page.goto("?q=hdf5")
    wanted = every_id(web, q="hdf5", sort="size")
    page.get_by_label("Sort by").select_option("size")
    expect(page.locator("[data-id]").first).to_have_attribute("data-id", wanted[0])
    assert ids(page) == wanted[: len(ids(page))]


@pytest.mark.parametrize("form", ["CSV", "NDJSON"])
def test_a_search_is_downloaded_with_all_its_hits(tab: Tab, web: Web, form: str) -> None:
    page = tab.page
    page.goto(f"?q=hdf5&target={TARGETS[0]}")
    with page.expect_download() as downloading:
        page.get_by_role("link", name=form, exact=True).click()
    text = downloading.value.path().read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text))) if form == "CSV" else text.splitlines()
    assert len(rows) == len(every_id(web, q="hdf5", target=TARGETS[0]))


def test_the_number_of_hits_is_announced(tab: Tab, web: Web) -> None:
    page = tab.page
    page.goto("")
    told = page.get_by_role("status")
    search(page, web, "zlib")
    found = web.search(q="zlib")
    expect(told).to_have_text(re.compile(rf"{found['total']} specs in {found['binaries']} binaries"))
    search(page, web, "zlib +nosuch")
    expect(told).to_have_text("Nothing found")
    assert told.count() == 1


def test_the_slash_key_focuses_the_box_unless_it_is_switched_off(tab: Tab) -> None:
    page = tab.page
    page.goto("?q=hdf5")
    page.keyboard.press("/")
    expect(box(page)).to_be_focused()
    assert box(page).input_value() == "hdf5"
    page.keyboard.press("End")
    page.keyboard.type(" /a")
    expect(box(page)).to_have_value("hdf5 /a")
    switch = page.get_by_label(re.compile("goes to the search box"))
    switch.uncheck()
    for _ in range(2):
        page.keyboard.press("/")
        tab.settle()
        expect(box(page)).not_to_be_focused()
        page.reload()
        expect(switch).not_to_be_checked()
    switch.check()
    page.keyboard.press("/")
    expect(box(page)).to_be_focused()


def test_arrow_keys_move_through_suggestions(tab: Tab, web: Web) -> None:
    page = tab.page
    page.goto("")
    combobox = page.get_by_role("combobox", name="Search for binaries")
    expect(combobox).to_have_attribute("aria-expanded", "false")
    options = opened_suggestions(page, "py-")
    expect(combobox).to_have_attribute("aria-expanded", "true")
    wanted = [each["package"] for each in web.get("/api/suggest", {"q": "py-", "limit": 8}).json["suggestions"]]
    assert [each.split()[0] for each in options.all_inner_texts()] == wanted
    for key, place in (("ArrowDown", 0), ("ArrowDown", 1), ("ArrowUp", 0), ("ArrowUp", -1), ("ArrowDown", 0)):
        combobox.press(key)
        active = options.nth(place)
        expect(active).to_have_attribute("aria-selected", "true")
        expect(page.locator("[role=listbox] [aria-selected=true]")).to_have_count(1)
        expect(combobox).to_have_attribute("aria-activedescendant", active.get_attribute("id") or "")
        expect(combobox).to_be_focused()
    combobox.press("Enter")
    expect(combobox).to_have_value(wanted[0])
    expect(options).to_have_count(0)
    expect_total(page, web.search(q=wanted[0])["total"])
    expect(page).to_have_url(re.compile(rf"\?q={wanted[0]}$"))


def test_escape_closes_suggestions_and_then_empties_the_box(tab: Tab, web: Web) -> None:
    page = tab.page
    page.goto("")
    options = opened_suggestions(page, "hd")
    box(page).press("ArrowDown")
    box(page).press("Escape")
    expect(options).to_have_count(0)
    expect(box(page)).to_have_value("hd")
    expect(box(page)).to_have_attribute("aria-expanded", "false")
    box(page).press("Escape")
    expect(box(page)).to_have_value("")
    expect_total(page, web.search()["total"])


def test_enter_searches_for_what_is_typed_unless_something_is_chosen(tab: Tab, web: Web) -> None:
    page = tab.page
    page.goto("")
    options = opened_suggestions(page, "py-")
    box(page).press("Enter")
    expect(options).to_have_count(0)
    expect(box(page)).to_have_value("py-")
    expect_total(page, web.search(q="py-")["total"])


def test_a_suggestion_can_be_clicked(tab: Tab, web: Web) -> None:
    page = tab.page
    page.goto("")
    opened_suggestions(page, "py-tor").filter(has_text="py-torch").click()
    expect(box(page)).to_have_value("py-torch")
    expect_total(page, web.search(q="py-torch")["total"])
    expect(box(page)).to_be_focused()


def test_arrow_keys_move_through_hits(tab: Tab) -> None:
    page = tab.page
    page.goto("?q=hdf5")
    hits = page.locator("[data-id]").locator("a").and_(page.locator("a[href*='/binary/']"))
    box(page).focus()
    for key, place in (("ArrowDown", 0), ("ArrowDown", 1), ("ArrowUp", 0)):
        page.keyboard.press(key)
        expect(hits.nth(place)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(box(page)).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/binary/"))


def test_focus_stays_on_the_filter_in_use(tab: Tab, web: Web) -> None:
    page = tab.page
    page.goto("?q=hdf5")
    option(page, "target", TARGETS[0]).focus()
    order = page.locator("[data-facet=target] input").evaluate_all("all => all.map(each => each.value)")
    page.keyboard.press("Space")
    expect_total(page, web.search(q="hdf5", target=TARGETS[0])["total"])
    expect(option(page, "target", TARGETS[0])).to_be_focused()
    assert page.locator("[data-facet=target] input").evaluate_all("all => all.map(each => each.value)") == order


def places(web: Web) -> dict[str, str]:
    """Return a URL for each kind of page."""
    hit = web.search(q="hdf5", target="zen4")["hits"][0]
    cursor = web.search(q="hdf5", distinct="true", limit=4)["next"]
    return {
        "start": "",
        "results": f"?q=hdf5&target={TARGETS[0]}&target={TARGETS[1]}&arch=linux-rhel8-zen4&limit=4",
        "a page behind the first": f"?q=hdf5&limit=4&cursor={cursor}",
        "nothing": "?q=hdf5+%2Bnosuch&target=zen4",
        "a query that can't be read": "?q=hdf5%40%401&target=zen4",
        "a binary": f"binary/{hit['hash']}",
        "a binary that isn't there": "binary/nonesuch",
        "a choice of tags": "diff",
        "a comparison": f"diff?from={TAGS[0]}&to={TAGS[1]}",
    }


def visits(tab: Tab, web: Web) -> Iterator[str]:
    """Visit each kind of page, and yield its name once it is loaded."""
    for what, address in places(web).items():
        answer = tab.page.goto(address)
        assert answer
        tab.settle()
        tab.faults[:] = [each for each in tab.faults if not (answer.status >= 400 and str(answer.status) in each)]
        yield what
    tab.page.goto("?limit=4")
    opened_suggestions(tab.page, "py-")
    yield "suggestions"


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(chromium: Chromium, web: Web, width: int, scheme: Literal["light", "dark"]) -> None:
    found = {}
    with chromium.tab(web.url, width=width, scheme=scheme) as tab:
        for what in visits(tab, web):
            if what == "results":
                tab.page.locator("details").evaluate_all("all => all.slice(0, 40).forEach(each => each.open = true)")
            found[what] = tab.axe()
    assert {what: lines for what, lines in found.items() if lines} == {}


def test_nothing_is_wider_than_the_narrowest_screen(chromium: Chromium, web: Web) -> None:
    wider = {}
    with chromium.tab(web.url, width=NARROWEST) as tab:
        for what in visits(tab, web):
            for _ in range(2):  # with all collapsible elements closed, then open
                wider[what] = tab.page.evaluate("document.documentElement.scrollWidth")
                if what == "suggestions" or wider[what] > NARROWEST:
                    break
                tab.page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
    assert {what: width for what, width in wider.items() if width > NARROWEST} == {}

"""Draws the pictures of README and manual from the running product: ``make pictures``.

Example pages, ``cachesync run``, which keeps an index of them, ``cachesync serve`` over it, and Debian's Chromium;
Kibana has a stand-in (:mod:`docs.dashboard`). A second run changes no byte; with other fonts or another Chromium they
look a little different. What differs from run to run isn't in them: how long a search took is left out, the index was
updated just now, and all pages were synced at the same moment. Edges that Chromium happens to draw otherwise by what
nobody can see are no reason for another file.

    python -m docs.pictures search nothing    # some of them
"""

import argparse
import contextlib
import io
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
from PIL import Image, ImageChops
from playwright.sync_api import Page, expect

from docs import dashboard
from examples.pages import write_tree
from tests.support import browser
from tests.support.browser import Chromium, Tab
from tests.support.pages import put, raw_page
from tests.support.sandbox import Sandbox
from tests.support.service import Serve, Service, documents, index_of, until

FOLDER: Final = Path(__file__).parent / "pictures"

TAGS: Final = 10
PACKAGES: Final = 120
_BINARY: Final = "wclhralub7frazw67trqpviswijnbdpv"
"""One of the example pages', in three tags, with others that differ in one variant."""

_SYNCED: Final = "2025-07-14T06:00:00.000+00:00"
"""When all pages were synced, as far as pictures tell."""

_COLOURS: Final = 256
"""So many are enough for a page that has few."""

_UNSEEN: Final = 24
_UNSEEN_SHARE: Final = 0.005
"""So far, of 255, a colour may be off, and in so many of the pixels."""

_FREEZE: Final = """() => {
    document.querySelectorAll('.took').forEach(each => { each.textContent = '' })
    document.querySelectorAll('#freshness time').forEach(each => { each.textContent = 'just now' })
    return document.fonts.ready.then(() => true)
}"""


class Sight(NamedTuple):
    """How something is looked at: pixels of CSS, and the colours that its user prefers."""

    width: int
    height: int
    scheme: Literal["light", "dark"] = "light"


def _leave(_: Page) -> None:
    """Do nothing to a page."""


class Picture(NamedTuple):
    """A state of the page, and how it is looked at: a file for each sight."""

    name: str
    sights: tuple[Sight, ...]
    address: str = ""
    """Below the start page."""
    prepare: Callable[[Page], None] = _leave
    """What is done there before the picture is taken."""


def file_name(name: str, sight: Sight) -> str:
    """Return what the file of a picture is called."""
    return f"{name}-{sight.width}-{sight.scheme}.webp"


def _type(page: Page) -> None:
    """Type a part of a name, and wait for what is suggested and found."""
    page.locator("input[name=q]").press_sequentially("pytor")
    page.locator("[role=option]").first.wait_for()
    expect(page).to_have_title(re.compile("^pytor"))


def _open_install(page: Page) -> None:
    """Open the commands of the first hit."""
    page.locator("td.install summary").first.click()


PICTURES: Final = (
    Picture("start", (Sight(1280, 800), Sight(360, 740), Sight(360, 740, "dark"))),
    Picture(
        "search",
        (Sight(1280, 800), Sight(1280, 800, "dark"), Sight(360, 740), Sight(360, 740, "dark")),
        "?q=hdf5@1.12:+%2Bmpi&compiler=gcc@11.4.0&compiler=gcc@13.2.0",
    ),
    Picture("suggestions", (Sight(1280, 460),), prepare=_type),
    Picture(
        "machine", (Sight(1280, 800), Sight(360, 740, "dark")), "?q=hdf5&arch=linux-ubuntu22.04-zen3", _open_install
    ),
    Picture(
        "binary",
        (Sight(1280, 960), Sight(1280, 960, "dark"), Sight(360, 740)),
        f"binary/{_BINARY}",
    ),
    Picture(
        "difference",
        (Sight(1280, 640), Sight(360, 740, "dark")),
        "diff?from=develop-2025-07-06&to=develop-2025-07-13",
    ),
    Picture("nothing", (Sight(1280, 520), Sight(360, 740)), "?q=petsc+%2Bcuda+%25llvm@18:"),
)
"""Of the page."""

DASHBOARDS: Final = {
    "build-cache": (Sight(1280, 1430), Sight(1280, 1430, "dark"), Sight(360, 1000)),
    "mirror-health": (Sight(1280, 810), Sight(360, 740, "dark")),
}
"""Of Kibana's stand-in: which of the saved objects, and how it is looked at."""

NAMES: Final = (*(picture.name for picture in PICTURES), *DASHBOARDS)


def draw(chromium: Chromium, names: Iterable[str], place: Path) -> Iterator[Path]:
    """Draw pictures into a folder, and yield each when it is there."""
    wanted = set(names)
    with tempfile.TemporaryDirectory(prefix="cachesync-pictures-") as folder:
        sandbox = Sandbox(Path(folder))
        write_tree(sandbox.root, TAGS, PACKAGES)
        with Service(sandbox) as service, Serve(sandbox) as served:
            service.caught_up()
            until(lambda: served.get("/api/status")[1].get("in_sync"), "the page to know that it is up to date")
            for picture in PICTURES:
                for sight in picture.sights if picture.name in wanted else ():
                    with _tab(chromium, served.url, sight) as tab:
                        tab.page.goto(picture.address)
                        picture.prepare(tab.page)
                        yield _saved(tab, place / file_name(picture.name, sight))
        if wanted & DASHBOARDS.keys():
            shown = dashboards(sandbox)
        for name, sights in DASHBOARDS.items():
            for sight in sights if name in wanted else ():
                with _tab(chromium, "about:blank", sight) as tab:
                    tab.page.set_content(shown[name])
                    yield _saved(tab, place / file_name(name, sight))


def _tab(chromium: Chromium, site: str, sight: Sight) -> contextlib.AbstractContextManager[Tab]:
    return chromium.tab(site, width=sight.width, height=sight.height, scheme=sight.scheme, moves=False)


def _saved(tab: Tab, file: Path) -> Path:
    """Save what a tab shows, unless it is there already.

    Of text and flat colours, WebP without loss is smaller than one with it.
    """
    tab.page.evaluate(_FREEZE)
    tab.settle()
    with Image.open(io.BytesIO(tab.page.screenshot())) as shot:
        drawn = shot.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).convert("RGB")
    if not (file.exists() and looks_like(drawn, file)):
        drawn.save(file, lossless=True, quality=100, method=4)
    return file


def looks_like(drawn: Image.Image, file: Path) -> bool:
    """Tell whether a picture differs from that in a file in a few pixels at most, and there by what nobody can see."""
    with Image.open(file) as before:
        if before.size != drawn.size:
            return False
        apart = ImageChops.difference(drawn, before.convert("RGB"))
    pixels = drawn.width * drawn.height
    return all(
        sum(counts[1:]) <= _UNSEEN_SHARE * pixels and not any(counts[_UNSEEN + 1 :])
        for counts in (band.histogram() for band in apart.split())
    )


def dashboards(sandbox: Sandbox) -> dict[str, str]:
    """Return the page of each dashboard, after two pages have become a problem."""
    put(sandbox.root, raw_page("[{"), "zlib-ng", "develop")
    put(sandbox.root, b"", "hdf5", "develop-2025-07-13")
    sandbox.run("sync", expect=1)
    objects = [json.loads(line) for line in sandbox.run("kibana", "export").stdout.splitlines()]
    views = {each["id"]: each for each in objects if each["type"] == "index-pattern"}
    found = {each["id"].removeprefix("cachesync-").removesuffix("-spack-specs"): each for each in objects}
    records = index_of(sandbox).reader().records()
    pages: list[dict[str, Any]] = [{**msgspec.to_builtins(each), "synced": _SYNCED} for each in records]
    data = {"build-cache": list(documents(sandbox).values()), "mirror-health": pages}
    return {name: dashboard.html(found[name], views, data[name]) for name in DASHBOARDS}


def main() -> int:
    """Draw from the command line and return the exit code."""
    parser = argparse.ArgumentParser(description="Draw the pictures of README and manual.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; all of them by default")
    names = parser.parse_args().names
    if unknown := set(names) - set(NAMES):
        parser.error(f"{', '.join(sorted(unknown))}: expected some of {', '.join(NAMES)}")
    if not shutil.which("chromium"):
        print("there is no chromium to draw with: install it (Debian has it in chromium)", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    with browser.started() as chromium:
        drawn = {file.name: file.stat().st_size for file in draw(chromium, names or NAMES, FOLDER)}
    for name, size in drawn.items():
        print(f"{size:7,} bytes  {name}")
    if not names:
        for file in FOLDER.iterdir():
            if file.name not in drawn:
                file.unlink()
    print(f"{sum(drawn.values()):7,} bytes  in {len(drawn)} pictures")
    return 0


if __name__ == "__main__":
    sys.exit(main())

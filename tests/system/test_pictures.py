"""The pictures of README and manual: which there are, that they can be drawn anew, and that the stand-in says what is so."""

import json
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from PIL import Image, ImageDraw

from docs import aggregations, pictures
from examples.pages import write_tree
from tests.support import elasticsearch, lens
from tests.support.browser import Chromium
from tests.support.checkout import PROJECT
from tests.support.pages import put, raw_page
from tests.support.sandbox import Sandbox
from tests.support.service import documents, index_of

MOST_BYTES: Final = 60_000
MOST_OF_ALL: Final = 700_000
NARROW: Final = 360


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """The pictures, by name."""
    if not pictures.FOLDER.is_dir():
        pytest.skip("there are no pictures, as in an sdist")
    return sorted(pictures.FOLDER.iterdir())


# --- which there are --------------------------------------------------------------------------------------------------


def shown() -> set[Path]:
    """The pictures that README and manual show or link to."""
    texts = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]
    return {
        text.parent / name
        for text in texts
        for name in re.findall(r"[\w./-]*pictures/[\w.-]+\.\w+", text.read_text())
        if not name.endswith(".py")
    }


def test_each_picture_is_shown_and_each_that_is_shown_is_there(files: list[Path]) -> None:
    assert shown() == set(files)


def test_each_picture_is_one_that_the_command_draws(files: list[Path]) -> None:
    drawn = {pictures.file_name(each.name, sight): sight for each in pictures.PICTURES for sight in each.sights}
    drawn |= {pictures.file_name(name, sight): sight for name, each in pictures.DASHBOARDS.items() for sight in each}
    assert sorted(drawn) == [file.name for file in files], "make pictures"
    for file in files:
        with Image.open(file) as image:
            assert image.size == (drawn[file.name].width, drawn[file.name].height), file.name


def test_pictures_are_small(files: list[Path]) -> None:
    sizes = {file.name: file.stat().st_size for file in files}
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}
    assert sum(sizes.values()) <= MOST_OF_ALL


def test_each_picture_says_in_words_what_it_shows() -> None:
    for text in (PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")):
        words = re.findall(r"!\[(.*?)\]\(|<img [^>]*?alt=\"(.*?)\"", text.read_text())
        assert all(len(one or other) > 15 for one, other in words), text.name
        assert len(words) == len(re.findall(r"<img |!\[", text.read_text())), text.name


# --- drawing them -----------------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws of few pages."""
    monkeypatch.setattr(pictures, "TAGS", 3)
    monkeypatch.setattr(pictures, "PACKAGES", 20)


@pytest.mark.usefixtures("few")
def test_drawing_once_more_changes_no_byte(chromium: Chromium, tmp_path: Path) -> None:
    def draw() -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in pictures.draw(chromium, ["nothing", "build-cache"], tmp_path)}

    first = draw()
    assert {name.rsplit("-", 2)[0] for name in first} == {"nothing", "build-cache"}
    for name in first:
        with Image.open(tmp_path / name) as image:
            assert image.format == "WEBP"
            assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 20, f"{name} shows nothing"
    assert draw() == first


def test_what_nobody_sees_is_no_difference_and_a_letter_is_one(tmp_path: Path) -> None:
    before = Image.new("RGB", (400, 300), "#f6f7f5")
    file = tmp_path / "one.webp"
    before.save(file, lossless=True)
    edge = before.copy()
    edge.putpixel((7, 7), (0xF6 - 9, 0xF7, 0xF5))
    letter = before.copy()
    ImageDraw.Draw(letter).text((9, 9), ".", "#1b211f")
    ground = Image.new("RGB", (400, 300), "#f5f7f5")
    assert pictures.looks_like(edge, file)
    assert not pictures.looks_like(letter, file)
    assert not pictures.looks_like(ground, file)
    assert not pictures.looks_like(before.crop((0, 0, 400, 299)), file)


# --- the stand-in of Kibana -------------------------------------------------------------------------------------------


def test_the_stand_in_says_what_the_commands_say(embedded: Sandbox) -> None:
    write_tree(embedded.root, tag_count=3, package_count=20)
    embedded.run("sync")
    pages = pictures.dashboards(embedded)
    status = embedded.json("status")
    found = embedded.json("search", "--limit", "0", "--facet", "target:100")
    build_cache, health = pages["build-cache"], pages["mirror-health"]
    assert metrics(build_cache)["Specs"] == metrics(health)["Specs"] == found["total"]
    assert metrics(build_cache)["Packages"] == 20
    assert metrics(health)["Pages"] == status["pages"]
    assert metrics(health)["Problem pages"] == len(status["problems"]) == 2
    for problem in status["problems"]:
        assert problem["page"] in health
    targets = build_cache.partition("<h2>Specs by target</h2>")[2].partition("</section>")[0]
    bars = re.findall(r"<span>([^<]+)</span><div><i[^>]*></i>([\d,]+)</div>", targets)
    assert {name: number(value) for name, value in bars} == {
        each["value"]: each["count"] for each in found["facets"]["target"]
    }


def test_the_stand_in_has_each_panel_and_says_that_it_is_one(embedded: Sandbox) -> None:
    write_tree(embedded.root, tag_count=3, package_count=20)
    embedded.run("sync")
    objects = [json.loads(line) for line in embedded.run("kibana", "export").stdout.splitlines()]
    titles = {each["attributes"]["title"]: each for each in objects if each["type"] == "dashboard"}
    for page in pictures.dashboards(embedded).values():
        title = re.findall(r"<h1>(.*?)</h1>", page)[0]
        drawn = {*re.findall(r"<h2>(.*?)</h2>", page), *metrics(page)}
        assert drawn == set(lens.panels(titles[title]))
        assert "A stand-in" in page


def metrics(page: str) -> dict[str, int]:
    """The single numbers of a dashboard, by what they count."""
    return {name: number(value) for name, value in re.findall(r"<span>([^<]+)</span><b>([\d,]+)</b>", page)}


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, elasticsearch_url: str) -> Iterator[Sandbox]:
    """An index in a real server, two of whose pages went bad."""
    sandbox = Sandbox(tmp_path_factory.mktemp("pictures"), elasticsearch_url, f"test-pictures-{os.getpid()}")
    write_tree(sandbox.root, tag_count=6, package_count=12)
    sandbox.run("sync")
    put(sandbox.root, raw_page("[{"), "hdf5", "develop")
    put(sandbox.root, b"", "cmake", "develop-2025-07-13")
    sandbox.run("sync", expect=1)
    yield sandbox
    elasticsearch.remove(elasticsearch_url, sandbox.name)


def test_panels_show_of_documents_what_elasticsearch_finds(filled: Sandbox) -> None:
    objects = [json.loads(line) for line in filled.run("kibana", "export").stdout.splitlines()]
    behind = {
        f"cachesync-specs-{filled.name}": (filled.name, list(documents(filled).values())),
        f"cachesync-pages-{filled.name}": (
            f"{filled.name}-pages",
            [msgspec.to_builtins(each) for each in index_of(filled).reader().records()],
        ),
    }
    compared = 0
    for dashboard in (each for each in objects if each["type"] == "dashboard"):
        (view,) = {each["id"] for each in dashboard["references"]}
        alias, known = behind[view]
        for title, panel in lens.panels(dashboard).items():
            asked = panel.request()
            found = panel.rows(elasticsearch.request(f"{filled.url}/{alias}/_search", "POST", asked))
            assert plain(panel.rows(aggregations.answer(asked, known))) == plain(found), title
            compared += 1
    assert compared == 18


def plain(rows: list[lens.Row]) -> list[dict[str, Any]]:
    """Rows whose moments are moments, however they are written."""
    return [{label: moment(value) for label, value in row.items()} for row in rows]


def moment(value: Any) -> Any:
    if not (isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d", value)):
        return value
    return datetime.fromisoformat(value).replace(tzinfo=None)

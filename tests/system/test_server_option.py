"""``--server``: a server gives the same answers as an index."""

import contextlib
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cachesync.index.engines import open_index
from cachesync.index.server import IndexServer, Layout
from examples.pages import tree
from tests.contract.conftest import ENGINES
from tests.support import elasticsearch
from tests.support.filling import fill
from tests.support.many import Ran, run_each
from tests.support.pages import entry, page, path_of
from tests.support.web import Web, serving

BASE_PATH = "/base"

H = "abcdefghijklmnopqrstuvwxyz234567"
SAME_START = ["hh22" + letter * 28 for letter in "abc"]
OTHERS = {
    path_of("zlib", "develop-2025-03-23"): page(
        entry(H, versions=["1.3.1"], size=4096), entry("z" * 32, os="rhel8"), tag="develop-2025-03-23"
    ),
    path_of("zlib", "v1"): page(entry(H, versions=["1.3.1"]), *map(entry, SAME_START), tag="v1"),
    path_of("intel-oneapi-mkl", "v1"): page(
        entry("m" * 32, compiler="oneapi@2024.2.1"), title="intel-oneapi-mkl", tag="v1"
    ),
}


class Place(NamedTuple):
    """An index, the configuration that names it, and a server over it."""

    folder: Path
    config: Path
    web: Web

    def both(self, *commands: tuple[str | bytes, ...]) -> list[tuple[Ran, Ran]]:
        """Run commands on the index, and again with the server's URL and no other configuration."""
        here = run_each([("-c", str(self.config), *each) for each in commands], self.folder)
        there = run_each([(each[0], "--server", self.web.url, *each[1:]) for each in commands], self.folder)
        return list(zip(here, there, strict=True))


@pytest.fixture(scope="module", params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    url = f"embedded:{folder / 'index'}"
    name = f"test-{uuid.uuid4().hex[:12]}"
    with contextlib.ExitStack() as lent:
        if request.param == "elasticsearch":
            url = request.getfixturevalue("elasticsearch_url")
            lent.callback(elasticsearch.remove, url, name)
        index = open_index(IndexServer((url,)), name, Layout(), lambda path: path)
        fill(index, {**dict(tree(4, 60)), **OTHERS})
        config = folder / "cachesync.yml"
        config.write_text(json.dumps({"index": {"url": url, "name": name}}))
        (folder / "elsewhere").mkdir()
        yield Place(folder / "elsewhere", config, lent.enter_context(serving(index, base_path=BASE_PATH)))


def timeless(text: str) -> str:
    return re.sub(r'"took_ms":[0-9.e+-]+', '"took_ms":0', text)


QUERIES: list[tuple[str | bytes, ...]] = [
    (),
    ("zlib",),
    ("zlib@1.2:1.4",),
    ("hdf5", "+mpi", "-cxx"),
    ("hdf5+mpi%gcc@11:", "target=x86_64_v3:"),
    ("openmpi", "zen4"),
    ("mkl",),
    ("zlbi",),
    ("netcdf c",),
    ("/hh22",),
    ("tag=v1",),
    ("targt=zen3",),
    ("blas+",),
    ("zlib", "--spec"),
    ("netcdf c", "--text"),
    ("zlib", "--tag", "v1"),
    ("zlib", "--tag", "latest"),
    ("zlib", "--filter", "tag=latest"),
    ("zlib", "--tag", "v1", "--filter", "tag=develop-2025-03-23", "--facet", "tag"),
    (
        "--filter",
        "stacks=e4s",
        "--filter",
        "os=rhel8",
        "--filter",
        "stacks=root",
        "--facet",
        "stacks",
        "--facet",
        "os:2",
    ),
    ("--filter", "compiler=gcc@=11.4.0"),
    ("--filter", "compiler_name=oneapi"),
    ("--filter", "size=4096"),
    ("--filter", "tag_date=2025-03-23"),
    ("--filter", "variants=a=b&c d+e%20é"),
    ("zlib", "--filter", "target=z80", "--filter", "os=rhel8"),
    ("zlib@99", "+nope", "--filter", "os=rhel8"),
    ("zlib", "--arch", "linux-ubuntu22.04-zen3"),
    ("zlib", "--here"),
    ("--sort", "size:desc", "--sort", "package", "--limit", "5"),
    ("--sort", "version", "--limit", "0", "--facet", "package:3"),
    ("hdf5", "--distinct", "--limit", "3"),
    ("hdf5", "--no-distinct", "--limit", "3"),
    ("--facet", "os", "--facet", "package:2", "--facet", "os"),
]
FORMATS = ("table", "long", "oneline", "hash", "csv", "ndjson")
SHOWN: list[tuple[str | bytes, ...]] = [
    ("zlib",),
    ("mkl", "--facet", "tag", "--no-distinct"),
    ("zlib", "--columns", "package,tags,size,runs", "--arch", "linux-rhel8-zen3", "--distinct", "--limit", "2"),
    ("zlib@99", "+nope", "--filter", "os=rhel8"),
]
MANY: list[tuple[str | bytes, ...]] = [
    ("--limit", "1001", "--facet", "tag"),
    ("--limit", "1000000", "--distinct", "--sort", "size"),
]


def without_waiting(ran: Ran) -> Ran:
    """Leave out the duration of the search and log lines about waiting on a busy machine."""
    lines = [line for line in ran.stderr.splitlines(keepends=True) if '"waiting for an answer"' not in line]
    return Ran(ran.code, timeless(ran.stdout), "".join(lines))


def same(place: Place, commands: list[tuple[str | bytes, ...]], code: int = 0) -> list[Ran]:
    """Make sure that each command prints the same from an index and from a server."""
    ran = []
    for command, both in zip(commands, place.both(*commands), strict=True):
        here, there = map(without_waiting, both)
        assert there == here, command
        assert here.code == code, (command, here)
        ran.append(here)
    return ran


def test_a_search_returns_the_same_object(place: Place) -> None:
    same(place, [("search", *query, "--json") for query in QUERIES])


def test_a_search_prints_the_same(place: Place) -> None:
    ran = same(place, [("search", *query, "--format", form) for form in FORMATS for query in SHOWN])
    assert len({each.stdout for each in ran}) > 2 * len(SHOWN)


def test_any_number_of_hits_gives_the_same_output(place: Place) -> None:
    ran = same(place, [("search", *many, "--format", form) for form in (*FORMATS, "json") for many in MANY])
    assert min(each.stdout.count("\n") for each in ran[:-2]) > 500  # not all have a hash
    assert [len(json.loads(each.stdout)["hits"]) > 1_000 for each in ran[-2:]] == [True, True]


OTHER_COMMANDS: list[tuple[str | bytes, ...]] = [
    ("show", f"/{H}"),
    ("show", H[:7]),
    ("show", H[:7].upper()),
    ("show", f"develop-2025-03-23/zlib/{H}"),
    ("show", f"/v1/zlib/{H}"),
    ("show", "--json", f"/{H[:4]}"),
    ("show", "--json", H),
    ("show", "--json", f"v1/zlib/{H}"),
    ("diff", "v1", "develop-2025-03-23"),
    ("diff", "v1", "develop-2025-03-23", "--json"),
    ("diff", "v1", "develop-2025-03-23", "--filter", "os=rhel8", "--filter", "package=zlib"),
    ("diff", "v1", "v1"),
]


def test_show_and_diff_print_the_same(place: Place) -> None:
    assert all(each.stdout for each in same(place, OTHER_COMMANDS))


REFUSED: list[tuple[str | bytes, ...]] = [
    ("search", "hdf5@"),
    ("search", "hdf5", "^zlib"),
    ("search", "zlib%%"),
    ("search", "x" * 1_001),
    ("search", b"caf\xe9"),
    ("search", "--filter", "nope=1"),
    ("search", "--filter", "os="),
    ("search", "--filter", b"os=\xff"),
    ("search", "--filter", "size=big"),
    ("search", "--facet", "nope"),
    ("search", "--facet", b"\xff"),
    ("search", "--sort", "stacks"),
    ("search", "--sort", b"\xff"),
    ("search", "--arch", "linux-ubuntu22.04-zen99"),
    ("search", "--arch", "zen3"),
    ("search", "--arch", b"linux-\xff-zen3"),
    ("search", "--arch", b"linux-ubuntu22.04-\xff"),
    ("search", "--here", "--arch", "linux-ubuntu22.04-zen3"),
    ("search", "--columns", "nope"),
    ("search", "--columns", b"\xff"),
    ("search", "--tag", ""),
    ("search", "--tag", b"\xff"),
    ("search", "--tag", "latest", "--filter", "tag=v1"),
    ("search", "--limit", b"\xff"),
    ("search", "zlib", "--formt", "json"),
    ("show", "zlib"),
    ("show", "/"),
    ("show", "nothing"),
    ("show", "/.."),
    ("show", ".."),
    ("show", f"v1/../{H}"),
    ("show", f"v2/zlib/{H}"),
    ("show", "a?b#c"),
    ("show", b"\xff"),
    ("show", f"/{SAME_START[0][:4]}"),
    ("diff", "v1", "nope"),
    ("diff", "v1", b"\xff"),
    ("diff", b"\xff", "v1"),
    ("diff", "v1", "v1", "--filter", b"os=\xff"),
]


def test_errors_have_the_same_words(place: Place) -> None:
    for ran in same(place, REFUSED, code=2):
        assert not ran.stdout
        assert ran.stderr


def test_requests_that_only_http_refuses_end_with_a_message(place: Place) -> None:
    (_, there), (_, other) = place.both(("show", "/h"), ("diff", "", "v1"))
    assert (there.code, there.stderr) == (2, "cachesync: h: expected a hash, or at least its first 4 characters\n")
    assert (other.code, other.stderr) == (2, "cachesync: from: expected a tag\n")


def test_no_configuration_is_read(place: Place) -> None:
    broken = place.folder / "broken.yml"
    broken.write_text("{")
    commands = [("search", "zlib", "--server", place.web.url), ("status", "--server", place.web.url)]
    here = run_each(commands, place.folder)
    there = run_each([("-c", str(broken), *each) for each in commands], place.folder, {"CACHESYNC_CONFIG": str(broken)})
    assert [each.code for each in (*here, *there)] == [0] * 4, there
    assert without_waiting(here[0]) == without_waiting(there[0])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_the_terminal_cannot_print_are_escaped(place: Place, encoding: str) -> None:
    """This applies with --server as well as with an index."""
    environment = {"PYTHONIOENCODING": f"{encoding}:strict", "LC_ALL": "C.UTF-8"}
    commands = [("search", "zlib", "żółw"), ("show", "żółw"), ("diff", "żółw", "v1")]
    here = run_each([("-c", str(place.config), *each) for each in commands], place.folder, environment)
    there = run_each([(*each, "--server", place.web.url) for each in commands], place.folder, environment)
    assert list(map(without_waiting, there)) == list(map(without_waiting, here))
    assert [each.code for each in here] == [0, 2, 2]


def test_the_status_is_what_the_server_reports(place: Place) -> None:
    as_json, to_people = run_each(
        [("status", "--json", "--server", place.web.url), ("status", "--server", place.web.url)], place.folder
    )
    told = place.web.get("/api/status").json
    assert json.loads(as_json.stdout).keys() == told.keys()
    assert json.loads(as_json.stdout)["specs"] == told["specs"]
    assert to_people.stdout.splitlines()[:2] == [
        f"server    {place.web.url.removesuffix('/')}",
        f"holds     {told['specs']:,} specs of {told['pages']:,} pages",
    ]

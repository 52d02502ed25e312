"""The example pages are like the real ones: their packages, what is built of them and where, and how often."""

import hashlib
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cachesync.documents import render
from cachesync.pages.page import Page, parse
from cachesync.pages.version import version_key
from examples import live, packages
from examples import pages as examples
from examples.pages import PLACES, shape_of, tree

PROJECT = Path(__file__).parents[2]
ALL = len(packages.packages())
DISTINCT_TAGS = 24
"""So many have pages of every shape."""

Entry = dict[str, Any]


def entries(data: bytes) -> list[Entry]:
    found: list[Entry] = json.loads(data.split(b"\nspec_details: ")[1].removesuffix(b"\n---"))
    return found


@pytest.fixture(scope="module")
def weekly() -> dict[str, dict[str, list[Entry]]]:
    """The entries of all packages in three neighbouring weekly tags."""
    found: dict[str, dict[str, list[Entry]]] = {}
    for path, data in tree(tag_count=5, package_count=ALL):
        _, tag, title, _ = path.split("/")
        if tag.startswith("develop-"):
            found.setdefault(tag, {})[title] = entries(data)
    assert len(found) == 3
    return found


@pytest.fixture(scope="module")
def of_every_shape() -> dict[str, bytes]:
    pages = dict(tree(DISTINCT_TAGS, package_count=40))
    assert {shape_of(path.split("/")[1]) for path in pages} == {"C", "D", "F", "G"}
    return pages


def of_shape(pages: dict[str, bytes], shape: str) -> list[Entry]:
    return [each for path, data in pages.items() if shape_of(path.split("/")[1]) == shape for each in entries(data)]


# --- packages ---------------------------------------------------------------------------------------------------------


def test_packages_are_real_and_well_known_ones_come_first() -> None:
    names = examples.packages(ALL)
    assert len(set(names)) == ALL >= 1_300
    assert {"hdf5", "openmpi", "cmake", "python", "py-numpy", "gcc", "llvm", "petsc", "trilinos", "kokkos"} < set(
        names[:30]
    )
    assert {"boost", "zlib", "netcdf-c", "intel-oneapi-mkl", "py-torch", "cuda", "openblas", "fftw"} < set(names[:30])
    assert names[60:] == sorted(names[60:])


def test_more_packages_than_are_known_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 1,300"):
        examples.packages(ALL + 1)
    command = [sys.executable, "-m", "examples.pages", str(tmp_path), "--packages", str(ALL + 1)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith(
        f"1,301 packages: expected at most 1,300, as many as {Path('examples/packages.txt')} has\n"
    )


def test_what_is_known_of_a_package_is_what_stands_in_the_file() -> None:
    gcc = packages.packages()["gcc"]
    assert (gcc.name, gcc.build_system, gcc.needs_compiler) == ("gcc", "autotools", True)
    assert gcc.versions[:3] == ("master", "15.1.0", "14.3.0")
    by_name = {variant.name: variant for variant in gcc.variants}
    assert by_name["bootstrap"] == packages.Variant("bootstrap", "switch", ("+", "~"))
    assert by_name["languages"].kind == "multiple"
    assert by_name["languages"].choices[0] == "c,c++,fortran"
    assert packages.packages()["hdf5"].variants[0] == packages.Variant(
        "api", "single", ("default", "v116", "v114", "v112", "v110", "v18")
    )
    assert packages.packages()["py-pip"] == packages.Package(
        "py-pip", "generic", False, ("25.1.1", "25.1", "25.0.1", "25.0", "24.3.1", "24.2", "24.1.2", "24.0"), ()
    )


def test_the_file_of_packages_is_small_and_whole() -> None:
    assert (PROJECT / "examples/packages.txt").stat().st_size < 250_000
    for package in packages.packages().values():
        releases = [version for version in package.versions if version[0].isdigit()]
        assert package.versions, package.name
        assert len(set(package.versions)) == len(package.versions), package.name
        assert max(releases, key=version_key, default=None) in {*releases, None}
        names = [variant.name for variant in package.variants]
        assert names == sorted(set(names)), package.name
        for variant in package.variants:
            assert len(set(variant.choices)) == len(variant.choices) > 0, (package.name, variant)
            assert variant.kind == "multiple" or not any("," in choice for choice in variant.choices), package.name


# --- bytes ------------------------------------------------------------------------------------------------------------


def test_every_page_is_read_without_a_problem(of_every_shape: dict[str, bytes]) -> None:
    for path, data in [*tree(tag_count=3, package_count=ALL), *of_every_shape.items()]:
        page = parse(path, data)
        assert isinstance(page, Page), page
        assert isinstance(render(page), dict)


def test_the_same_seed_gives_the_same_bytes_with_every_python() -> None:
    """A tree that is meant to be another one has another digest here, and other output in the README and in docs."""
    digest = hashlib.blake2b(digest_size=8)
    for path, data in tree(DISTINCT_TAGS, package_count=20, seed=7):
        digest.update(path.encode() + data)
    assert digest.hexdigest() == "347facfe13b3f9d3"


def test_another_seed_gives_other_pages() -> None:
    assert dict(tree(1, 5, seed=1)).values() != dict(tree(1, 5, seed=2)).values()


def test_a_page_is_the_same_whatever_else_is_in_the_tree(of_every_shape: dict[str, bytes]) -> None:
    few = dict(tree(tag_count=3, package_count=4))
    assert len(few) == 12
    assert few.items() <= of_every_shape.items()


# --- how often --------------------------------------------------------------------------------------------------------


def test_weekly_pages_have_as_many_specs_as_real_ones(weekly: dict[str, dict[str, list[Entry]]]) -> None:
    """The survey: 22 % have one, mean 6.9, median 4 to 5, 90 of 100 at most 22, 95 of 100 at most 28."""
    for pages in weekly.values():
        sizes = sorted(map(len, pages.values()))
        share = {size: sum(each <= size for each in sizes) / len(sizes) for size in (1, 4, 10)}
        assert share == pytest.approx({1: 0.22, 4: 0.49, 10: 0.76}, abs=0.04)
        assert sum(sizes) / len(sizes) == pytest.approx(6.9, abs=0.5)
        assert sizes[len(sizes) // 2] in {4, 5, 6}
        assert 17 <= sizes[len(sizes) * 90 // 100] <= 24
        assert 22 <= sizes[len(sizes) * 95 // 100] <= 30


def test_specs_are_kept_in_the_next_week_as_often_as_in_real_tags(weekly: dict[str, dict[str, list[Entry]]]) -> None:
    """13 %, and of a page and place either all or nothing."""
    for one, next_ in pairwise(weekly.values()):
        hashes = {each["hash"] for page in next_.values() for each in page}
        specs = [(title, each) for title, page in one.items() for each in page]
        kept = [each for _, each in specs if each["hash"] in hashes]
        assert len(kept) / len(specs) == pytest.approx(0.13, abs=0.02)
        assert all(each in next_[title] for title, each in specs if each["hash"] in hashes)


def test_no_hash_occurs_twice_in_a_tag(weekly: dict[str, dict[str, list[Entry]]]) -> None:
    for pages in weekly.values():
        counts = Counter(each["hash"] for page in pages.values() for each in page)
        assert counts.most_common(1)[0][1] == 1
        assert all(len(hash) == 32 and hash.isalnum() and hash.islower() for hash in counts)


def test_pages_before_and_after_march_2025_share_no_hash(of_every_shape: dict[str, bytes]) -> None:
    shapes = [{each["hash"] for each in of_shape(of_every_shape, shape)} for shape in ("D", "F", "G")]
    assert sum(map(len, shapes)) == len(set().union(*shapes))


# --- values -----------------------------------------------------------------------------------------------------------


def test_places_are_plausible(of_every_shape: dict[str, bytes]) -> None:
    known = {(place.os, place.platform, place.target, stack) for place in PLACES for stack in place.stacks}
    for shape in ("D", "F", "G"):
        for each in of_shape(of_every_shape, shape):
            stacks = set(each["stacks"]) - {"root"}
            assert {(each["os"], each["platform"], each["target"], stack) for stack in stacks} <= known
            assert each["size"] == "-"
    for place in PLACES:
        family = "aarch64" if place.target.startswith(("neoverse", "graviton", "aarch64")) else place.target[:3]
        assert ("neoverse" in str(place.stacks)) <= (family == "aarch64"), place
        assert (place.platform == "darwin") == (place.os == "sequoia") == place.compiler.startswith("apple-"), place


@pytest.mark.parametrize(
    ("shape", "rule"),
    [
        ("D", lambda compiler: "@=" in compiler and not compiler.startswith(("intel-", "llvm", "none"))),
        ("F", lambda compiler: "@=" in compiler and not compiler.startswith(("intel-", "llvm", "none"))),
        (
            "G",
            lambda compiler: compiler == "none" or ("@=" not in compiler and not compiler.startswith(("one", "cla"))),
        ),
    ],
)
def test_compilers_are_written_as_in_their_time(
    of_every_shape: dict[str, bytes], shape: str, rule: Callable[[str], bool]
) -> None:
    compilers = {each["compiler"] for each in of_shape(of_every_shape, shape)}
    assert len(compilers) >= 8
    assert [compiler for compiler in compilers if not rule(compiler)] == []


def test_about_a_third_is_built_without_a_compiler(weekly: dict[str, dict[str, list[Entry]]]) -> None:
    (pages, *_) = weekly.values()
    specs = [each for page in pages.values() for each in page]
    assert sum(each["compiler"] == "none" for each in specs) / len(specs) == pytest.approx(0.33, abs=0.05)
    assert {each["compiler"] for each in pages["py-pip"]} == {"none"}
    assert "none" not in {each["compiler"] for each in pages["hdf5"]}


def test_variants_are_those_of_the_package(weekly: dict[str, dict[str, list[Entry]]]) -> None:
    added = {"build_system", "build_type", "generator", "ipo", "patches", "cuda_arch", "amdgpu_target"}
    added |= {"buildtype", "default_library", "strip"}
    (pages, *_) = weekly.values()
    for title, page in pages.items():
        known = {variant.name for variant in packages.packages()[title].variants}
        versions = packages.packages()[title].versions
        for each in page:
            names = [variant.lstrip("+~").partition("=")[0].rstrip(":") for variant in each["variants"]]
            assert known <= set(names) <= known | added
            assert names == sorted(names)
            assert set(each["versions"]) <= set(versions)


def test_variants_are_written_as_in_their_time(of_every_shape: dict[str, bytes]) -> None:
    before = {
        variant for shape in ("D", "F") for each in of_shape(of_every_shape, shape) for variant in each["variants"]
    }
    since = {variant for each in of_shape(of_every_shape, "G") for variant in each["variants"]}
    assert not [variant for variant in before if ":=" in variant]
    assert {"languages='c,c++,fortran'", "fabrics=none", "+mpi", "~mpi", "build_system=cmake"} <= before
    assert {"languages:='c,c++,fortran'", "fabrics:=none", "libs:=shared,static", "build_type=Release"} <= since
    assert {"amdgpu_target:=gfx90a", "cuda_arch:=80"} <= since
    assert any(variant.startswith("patches:=") for variant in since)


def test_what_needs_a_gpu_is_built_where_there_is_one(weekly: dict[str, dict[str, list[Entry]]]) -> None:
    (pages, *_) = weekly.values()
    specs = [each for page in pages.values() for each in page if {"+cuda", "+rocm"} & set(each["variants"])]
    assert {each["platform"] for each in specs} == {"linux"}
    for each in specs:
        arch = "cuda_arch" if "+cuda" in each["variants"] else "amdgpu_target"
        assert any(variant.startswith(f"{arch}:=") for variant in each["variants"])


def test_hdf5_of_the_usual_tree_is_built_in_many_ways() -> None:
    """The README and the documentation search for it."""
    found = [each for path, data in tree(4, 60) if "/hdf5/" in path and "/v0" not in path for each in entries(data)]
    for field, least in (("target", 5), ("compiler", 5), ("os", 5)):
        assert len({each[field] for each in found}) >= least
    assert len({each["versions"][0] for each in found}) >= 6


def test_changing_pages_leaves_good_ones(tmp_path: Path) -> None:
    examples.write_tree(tmp_path, tag_count=3, package_count=4)
    before = {file.relative_to(tmp_path): file.read_bytes() for file in tmp_path.rglob("specs.md")}
    random_ = random.Random(0)
    for _ in range(40):
        live.change(tmp_path, random_)
    after = {file.relative_to(tmp_path): file.read_bytes() for file in tmp_path.rglob("specs.md")}
    assert before.keys() - after.keys()
    assert after.keys() - before.keys()
    for path, data in after.items():
        assert isinstance(parse(path.as_posix(), data), Page)
        assert path.parent.name in packages.packages()


def test_a_package_that_is_not_known_has_pages_too() -> None:
    """A tree of an earlier program may have some, and they are changed like any other."""
    found = examples.spec(random.Random(0), "G", "made-up")
    assert (found["versions"], found["variants"]) == (["1.0"], ["build_system=generic"])

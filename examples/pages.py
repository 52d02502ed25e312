"""Generate a realistic tree of build-cache pages from a seed.

Sizes, shapes and values follow a survey of the public build cache's pages: 22 % of a weekly tag's pages have one spec,
the mean is 6.9, a tenth of them have 22 or more; 13 % of a weekly tag's specs are still there a week later; the biggest
page of ``develop`` has 4,663 specs. Packages are real, with their real versions and variants
(:mod:`examples.packages`). The same seed gives the same bytes with every version of Python: only those functions of
:mod:`random` are used that guarantee this.

    python -m examples.pages DIR --tags 4 --packages 40
"""

import argparse
import datetime as dt
import hashlib
import json
import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar

from examples.packages import Package, Variant
from examples.packages import packages as known_packages

Shape = Literal["C", "D", "F", "G"]
"""C: 2022, spec strings. D: 2023, JSON with tarballs. F: early 2025, sorted. G: since then, ``gcc@11.4.0``, ``:=``."""

BIGGEST_PAGE: Final = 4_663
NEWEST_TAG: Final = dt.date(2025, 7, 13)
SHAPE_G_SINCE: Final = dt.date(2025, 3, 30)
SHAPE_F_SINCE: Final = dt.date(2025, 3, 2)


class Place(NamedTuple):
    """A build environment, and the stacks that are built in it."""

    shapes: str
    """The shapes of pages that have binaries of it."""
    compiler: str
    os: str
    platform: str
    target: str
    stacks: tuple[str, ...]
    gpu: Literal["", "cuda", "rocm"] = ""
    """The variant that is on in packages that have it."""


PLACES: Final = (
    Place("DFG", "gcc@11.4.0", "ubuntu22.04", "linux", "x86_64_v3", ("e4s", "build_systems", "tutorial", "hep")),
    Place("DFG", "gcc@11.4.0", "ubuntu22.04", "linux", "x86_64_v3", ("e4s",), "cuda"),
    Place("DFG", "gcc@11.4.0", "ubuntu20.04", "linux", "x86_64_v3", ("radiuss", "data-vis-sdk")),
    Place("DFG", "gcc@11.4.0", "ubuntu20.04", "linux", "x86_64_v3", ("e4s-rocm-external",), "rocm"),
    Place("DF", "gcc@7.5.0", "ubuntu18.04", "linux", "x86_64_v3", ("radiuss", "tutorial")),
    Place("DF", "clang@16.0.6", "ubuntu22.04", "linux", "x86_64_v3", ("gpu-tests",)),
    Place("G", "llvm@19.1.7", "ubuntu22.04", "linux", "x86_64_v3", ("gpu-tests",)),
    Place("DF", "oneapi@2024.2.1", "ubuntu22.04", "linux", "x86_64_v3", ("e4s-oneapi",)),
    Place("G", "intel-oneapi-compilers@2025.1.0", "ubuntu22.04", "linux", "x86_64_v3", ("e4s-oneapi",)),
    Place("FG", "gcc@11.4.0", "ubuntu22.04", "linux", "neoverse_v2", ("e4s-neoverse-v2",)),
    Place("D", "gcc@11.4.0", "ubuntu20.04", "linux", "neoverse_v1", ("e4s-neoverse_v1",)),
    Place("D", "gcc@9.4.0", "ubuntu20.04", "linux", "ppc64le", ("e4s-power",)),
    Place("D", "cce@15.0.1", "rhel8", "linux", "zen4", ("e4s-cray-rhel",)),
    Place("FG", "cce@18.0.0", "rhel8", "linux", "zen4", ("e4s-cray-rhel",)),
    Place("D", "gcc@10.3.0", "sle_hpc15", "linux", "x86_64_v4", ("e4s-cray-sles",)),
    Place(
        "FG", "gcc@13.2.0", "ubuntu24.04", "linux", "x86_64_v3",
        ("ml-linux-x86_64-cpu", "ml-linux-x86_64-cuda", "ml-linux-x86_64-rocm", "bootstrap-x86_64-linux-gnu"),
    ),
    Place("FG", "gcc@13.2.0", "ubuntu24.04", "linux", "x86_64_v3", ("ml-linux-x86_64-cuda",), "cuda"),
    Place("FG", "gcc@13.2.0", "ubuntu24.04", "linux", "x86_64_v3", ("ml-linux-x86_64-rocm",), "rocm"),
    Place("FG", "gcc@13.2.0", "ubuntu24.04", "linux", "aarch64", ("ml-linux-aarch64-cpu", "ml-linux-aarch64-cuda")),
    Place("FG", "gcc@13.2.0", "ubuntu24.04", "linux", "aarch64", ("ml-linux-aarch64-cuda",), "cuda"),
    Place(
        "FG", "apple-clang@16.0.0", "sequoia", "darwin", "aarch64",
        ("ml-darwin-aarch64-mps", "developer-tools-darwin", "bootstrap-aarch64-darwin"),
    ),
    Place("DFG", "gcc@10.5.0", "centos7", "linux", "x86_64_v3", ("developer-tools-x86_64_v3-linux-gnu",)),
    Place("DFG", "gcc@13.3.0", "rhel8", "linux", "aarch64", ("developer-tools-aarch64-linux-gnu",)),
    Place("DFG", "gcc@12.3.0", "amzn2", "linux", "neoverse_v1", ("aws-pcluster-neoverse_v1",)),
    Place("DF", "oneapi@2024.1.0", "amzn2", "linux", "x86_64_v4", ("aws-pcluster-x86_64_v4",)),
    Place("G", "intel-oneapi-compilers@2024.1.0", "amzn2", "linux", "x86_64_v4", ("aws-pcluster-x86_64_v4",)),
    Place("FG", "msvc@19.39.33523", "windows10.0.20348", "windows", "x86_64", ("windows-vis",)),
    Place("C", "gcc@7.5.0", "ubuntu18.04", "linux", "x86_64", ()),
    Place("C", "gcc@7.3.1", "amzn2", "linux", "graviton2", ()),
    Place("C", "gcc@7.3.1", "amzn2", "linux", "x86_64_v4", ()),
    Place("C", "gcc@9.4.0", "ubuntu20.04", "linux", "ppc64le", ()),
    Place("C", "oneapi@2022.1.0", "ubuntu20.04", "linux", "x86_64", ()),
)  # fmt: skip
_FOR_X86: Final = ("intel-", "amd", "aoc", "roc", "hip", "hsa-", "rccl", "composable-kernel")
_FOR_LINUX: Final = ("cuda", "cudnn", "cutensor", "nccl", "nvhpc", "libfabric", "ucx", "rdma-core", "glibc")
"""Prefixes of packages that are built for such machines only."""

_OLDER: Final[dict[Shape, int]] = {"C": 6, "D": 2, "F": 1, "G": 0}
"""How many of the current versions didn't exist yet."""

_KEPT: Final = 0.13
"""The share of a weekly tag's binaries that the next one has, too: either all of a package and place, or none."""

_SIZES: Final = ((0.22, 1, 2), (0.49, 2, 5), (0.76, 5, 11), (0.90, 11, 22), (0.95, 22, 28), (1.0, 28, 41))
"""Ranges of the number of specs (end exclusive) by cumulative share of pages; small numbers are more frequent."""

_WELL_KNOWN: Final = 30
"""How many of the best-known packages never have pages from the smaller half."""

_CMAKE: Final = (
    Variant("build_type", "single", ("Release", "RelWithDebInfo")),
    Variant("generator", "single", ("make", "ninja")),
    Variant("ipo", "switch", ("~", "+")),
)
_MESON: Final = (
    Variant("buildtype", "single", ("release", "debugoptimized")),
    Variant("default_library", "multiple", ("shared", "shared,static")),
    Variant("strip", "switch", ("~", "+")),
)
_OF_BUILD_SYSTEM: Final = {"cmake": _CMAKE, "meson": _MESON}
_SINCE_2023: Final = {"build_system", "generator"}
_OF_GPU: Final = {
    "cuda": Variant("cuda_arch", "multiple", ("80", "90", "70", "80,90")),
    "rocm": Variant("amdgpu_target", "multiple", ("gfx90a", "gfx942", "gfx908,gfx90a")),
}
_PATCHED: Final = 0.12
"""The share of packages that have patches."""

_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz234567" * (256 // 32)
"""A letter for each value of a byte."""

_UNQUOTED: Final = re.compile(r"[\w.,/-]+", re.ASCII)

_T = TypeVar("_T")


def packages(count: int) -> list[str]:
    """Return names of packages, the best-known ones first.

    Raises:
        ValueError: there aren't that many.
    """
    names = list(known_packages())
    if count > len(names):
        raise ValueError(f"{count:,} packages: expected at most {len(names):,}, as many as examples/packages.txt has")
    return names[:count]


def tags(count: int) -> list[str]:
    """Return names of tags: ``develop``, a release of 2022, and weekly ones, the newest first."""
    weekly = (f"develop-{NEWEST_TAG - dt.timedelta(weeks=week)}" for week in range(count))
    return (["develop", "v0.18.1", *weekly] if count > 2 else ["develop", *weekly])[:count]


def shape_of(tag: str) -> Shape:
    """Return the shape of a tag's pages."""
    if tag == "develop":
        return "G"
    if not tag.startswith("develop-"):
        return "C"
    date = dt.date.fromisoformat(tag.removeprefix("develop-"))
    return "G" if date >= SHAPE_G_SINCE else "F" if date >= SHAPE_F_SINCE else "D"


def spec_count(random_: random.Random) -> int:
    """Draw the number of specs of a weekly tag's page."""
    return _size(random_.random())


def _size(share: float) -> int:
    """Return the number of specs at a quantile: this share of all pages has fewer."""
    low = 0.0
    for high, least, most in _SIZES:
        if share < high:
            within = (share - low) / (high - low)
            return least + int((most - least) * within * within * within)
        low = high
    raise AssertionError(share)


def spec(random_: random.Random, shape: Shape, title: str = "hdf5", place: Place | None = None) -> dict[str, Any]:
    """Draw one entry of ``spec_details``: a binary of a package from one of its places."""
    place = place or _pick(random_, _places(title, shape))
    compiler, releases, branches = _known(title, shape, place.compiler)
    if branches and random_.random() < 0.04:
        version = _pick(random_, branches)
    else:
        version = releases[int(random_.random() * random_.random() * len(releases))]
    texts, changes = _variants(title, shape, place.gpu)
    variants = list(texts)
    if changes and random_.random() < 0.5:
        for _ in range(1 + int(random_.random() * 3)):
            position, choices = _pick(random_, changes)
            variants[position] = _pick(random_, choices)
    return {
        "hash": _hash(f"{title} {random_.random()}"),
        "compiler": compiler,
        "versions": [version],
        "os": place.os,
        "platform": place.platform,
        "target": place.target,
        "variants": variants,
        "stacks": _stacks(random_, place.stacks),
        "size": "-",
    }


def _pick(random_: random.Random, choices: tuple[_T, ...]) -> _T:
    return choices[int(random_.random() * len(choices))]


def _stacks(random_: random.Random, stacks: tuple[str, ...]) -> list[str]:
    """Draw one or more stacks of a place, and add ``root``; a few binaries are in no stack at all."""
    drawn = random_.random()
    if drawn < 0.005:
        return []
    start = int(random_.random() * len(stacks))
    count = 1 if drawn < 0.6 else 1 + int(random_.random() * len(stacks))
    return sorted(["root", *(stacks + stacks)[start : start + count]])


def _hash(text: str) -> str:
    """Return 32 letters and digits, like Spack's hashes."""
    return _digest(text, 32).translate(_LETTERS).decode()


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


def _share(text: str) -> float:
    """Return a pseudorandom number from 0 to below 1 that is always the same for a text."""
    return int.from_bytes(_digest(text, 6)) / 2**48


# --- packages ---------------------------------------------------------------------------------------------------------


def _package(title: str) -> Package:
    return known_packages().get(title) or Package(title, "generic", needs_compiler=True, versions=("1.0",), variants=())


@cache
def _places(title: str, shape: Shape) -> tuple[Place, ...]:
    """Return the places where a package is built."""
    return tuple(place for place in PLACES if shape in place.shapes and _fits(title, place))


def _fits(title: str, place: Place) -> bool:
    if title.startswith(_FOR_X86):
        return place.platform == "linux" and place.target.startswith(("x86_64", "zen"))
    if place.platform == "windows":
        return _package(title).build_system == "cmake"
    return place.platform == "linux" or not title.startswith(_FOR_LINUX)


@cache
def _known(title: str, shape: Shape, compiler: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return a compiler as written on a package's pages, the package's releases, and its branches.

    A release of Spack has no branches.
    """
    package = _package(title)
    if shape == "G" and not package.needs_compiler:
        compiler = "none"
    elif shape != "G":
        compiler = compiler.replace("@", "@=")
    releases = tuple(version for version in package.versions if version[0].isdigit()) or package.versions
    branches = tuple(version for version in package.versions if not version[0].isdigit() and shape != "C")
    return compiler, releases[min(_OLDER[shape], len(releases) - 1) :], branches


@cache
def _variants(title: str, shape: Shape, gpu: str) -> tuple[tuple[str, ...], tuple[tuple[int, tuple[str, ...]], ...]]:
    """Return a package's default variants, and the alternatives to some of them, by position."""
    package = _package(title)
    found = [*package.variants, *_OF_BUILD_SYSTEM.get(package.build_system, ())]
    found.append(Variant("build_system", "single", (package.build_system,)))
    found.extend(_patches(title))
    if any(variant.name == gpu for variant in package.variants):
        found.append(_OF_GPU[gpu])
    if shape == "C":
        found = [variant for variant in found if variant.name not in _SINCE_2023]
    found.sort(key=lambda variant: variant.name)
    written = [_written(variant, shape, gpu) for variant in found]
    changes = [(position, others) for position, (_, *others) in enumerate(written) if others]
    return tuple(usual for usual, *_ in written), tuple((position, tuple(others)) for position, others in changes)


def _patches(title: str) -> Iterator[Variant]:
    if _share(f"{title} is patched") < _PATCHED:
        share = _share(f"{title} patches")
        count = 1 + int(36 * share * share * share)
        names = sorted(_digest(f"{title} patch {number}", 4).hex()[:7] for number in range(count))
        yield Variant("patches", "multiple", (",".join(names),))


def _written(variant: Variant, shape: Shape, gpu: str) -> list[str]:
    """Return a variant's settings as pages write them, the usual one first. GPU support is on only where ``gpu`` is."""
    name, kind, choices = variant
    if name in _OF_GPU:
        return [f"{'+' if name == gpu else '~'}{name}"]
    if kind == "switch":
        return [sign + name for sign in choices]
    equals = ":=" if kind == "multiple" and shape == "G" else "="
    return [f"{name}{equals}{_quoted(choice) if shape != 'C' else choice}" for choice in choices]


def _quoted(value: str) -> str:
    return value if _UNQUOTED.fullmatch(value) else f"'{value}'"


# --- pages ------------------------------------------------------------------------------------------------------------


def page(title: str, tag: str, specs: list[dict[str, Any]], shape: Shape = "G") -> bytes:
    """Render a page as the site's generator does: without a newline after the closing ``---``."""
    if shape == "C":
        return _spec_names_page(title, tag, specs)
    stacks = [stack for each in specs for stack in each["stacks"]]
    meta: dict[str, Any] = {
        "versions": sorted({each["versions"][0] for each in specs}),
        "compilers": sorted({each["compiler"] for each in specs}),
        "oss": sorted({each["os"] for each in specs}),
        "platforms": sorted({each["platform"] for each in specs}),
        "targets": sorted({each["target"] for each in specs}),
        "stacks": sorted(set(stacks)),
        "num_specs": len(specs),
        "num_specs_by_stack": {stack: stacks.count(stack) for stack in sorted(set(stacks))},
    }
    if shape == "D":
        specs = [{**each, "tarball": _tarball(title, tag, each)} for each in specs]
    else:
        specs = [dict(sorted(each.items())) for each in sorted(specs, key=lambda each: str(each["hash"]))]
        meta = dict(sorted(meta.items()))
    front = f'---\ntitle: "{title}"\nlayout: cache\ncategories: [package, {tag}]\n'
    return f"{front}meta: {json.dumps(meta)}\nspec_details: {json.dumps(specs)}\n---".encode()


def _tarball(title: str, tag: str, each: dict[str, Any]) -> str:
    place = f"{each['platform']}-{each['os']}-{each['target']}"
    compiler = each["compiler"].replace("@=", "-")
    name = f"{title}-{each['versions'][0]}"
    folder = f"https://mirror.example.org/{tag}/build_cache/{place}/{compiler}/{name}"
    return f"{folder}/{place}-{compiler}-{name}-{each['hash']}.spack"


def _spec_names_page(title: str, tag: str, specs: list[dict[str, Any]]) -> bytes:
    names = []
    for each in specs:
        switches = "".join(variant for variant in each["variants"] if variant[0] in "+~")
        values = "".join(f"{variant} " for variant in each["variants"] if variant[0] not in "+~")
        compiler = each["compiler"].replace("@=", "@")
        arch = f"arch={each['platform']}-{each['os']}-{each['target']}"
        name = f"{title}@{each['versions'][0]}%{compiler}{switches} {values}{arch}"
        names.append(f"{name} ^zlib@1.2.12%{compiler}+pic {arch}")
    files = "".join(f" - spec-{number}.json\n" for number in range(len(names)))
    strings = "".join(f" - '{name}'\n" for name in names)
    meta = json.dumps({"versions": sorted({each["versions"][0] for each in specs})})
    front = f'---\ntitle: "{title}"\nlayout: cache\ncategories: [package, {tag}]\nmeta: {meta}\n'
    return f"{front}spec_files: \n{files}spec_names:\n{strings}---".encode()


def big_page(title: str = "py-torch", tag: str = "develop", count: int = BIGGEST_PAGE, seed: int = 0) -> bytes:
    """Return a page like the largest one: many specs, each with many variants."""
    random_ = random.Random(seed)
    return page(title, tag, [spec(random_, "G", title) for _ in range(count)])


# --- trees ------------------------------------------------------------------------------------------------------------


def tree(tag_count: int, package_count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield the path and content of every page of a tree. A page doesn't depend on the other pages of the tree."""
    for tag in tags(tag_count):
        shape, weeks = shape_of(tag), _weeks(tag)
        for title in packages(package_count):
            specs = [spec for batch in _batches(title, shape, seed) for spec in batch.specs(title, shape, weeks)]
            yield f"_cache/{tag}/{title}/specs.md", page(title, tag, specs, shape)


class _Batch(NamedTuple):
    """Binaries of a package that are built together at one place."""

    name: str
    place: Place
    size: int

    def specs(self, title: str, shape: Shape, weeks: range) -> list[dict[str, Any]]:
        """Return the binaries of a tag, built in its week or in an earlier one."""
        built = next((week for week in reversed(weeks) if _share(f"{self.name}/{week}") >= _KEPT), weeks[0])
        random_ = random.Random(f"{self.name}/{shape}/{built}")
        return [spec(random_, shape, title, self.place) for _ in range(self.size)]


@cache
def _batches(title: str, shape: Shape, seed: int) -> list[_Batch]:
    """Return the batches of a package: one binary at each of some places, or more than one at all places."""
    share = _share(f"{seed}/{title}")
    if title in packages(_WELL_KNOWN):
        share = 0.49 + 0.51 * share
    specs = _size(share)
    places = sorted(_places(title, shape), key=lambda place: _share(f"{seed}/{title}/{PLACES.index(place)}"))
    places = places[:specs]
    more = specs % len(places)
    return [
        _Batch(f"{seed}/{title}/{PLACES.index(place)}", place, specs // len(places) + (number < more))
        for number, place in enumerate(places)
    ]


def _weeks(tag: str) -> range:
    """Return the weeks, counted from 0001-01-01, in which binaries of a tag may have been built.

    A new shape came with a new version of Spack, which rebuilds everything; so does a release.
    """
    shape = shape_of(tag)
    if shape == "C":
        return range(1)
    date = dt.date.fromisoformat(tag[-10:]) if tag != "develop" else NEWEST_TAG + dt.timedelta(weeks=1)
    since = {"G": SHAPE_G_SINCE, "F": SHAPE_F_SINCE}.get(shape, dt.date.min)
    return range(since.toordinal() // 7, date.toordinal() // 7 + 1)


def write_tree(root: Path, tag_count: int, package_count: int, seed: int = 0) -> int:
    """Write a tree below ``root``, and return its number of pages."""
    pages = 0
    for path, data in tree(tag_count, package_count, seed):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        pages += 1
    return pages


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Write a tree of example pages.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--tags", type=int, default=4)
    parser.add_argument("--packages", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        pages = write_tree(arguments.root, arguments.tags, arguments.packages, arguments.seed)
    except ValueError as error:
        parser.error(str(error))
    print(f"{pages:,} example pages in {arguments.root}")


if __name__ == "__main__":
    main()

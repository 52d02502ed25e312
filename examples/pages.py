"""Make a tree of build-cache pages like the real ones, from a seed.

Sizes, shapes and values follow a survey of the public build cache's pages: 22 % of a weekly tag's pages have one
spec, the mean is 6.9; a spec has 2.25 stacks and 5.9 variants on average; the biggest page of ``develop`` has 4,663
specs. The same seed gives the same bytes everywhere.

    python -m examples.pages DIR --tags 4 --packages 40
"""

import argparse
import datetime as dt
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

Shape = Literal["C", "D", "F", "G"]
"""C: 2022, spec strings. D: 2023, JSON with tarballs. F: early 2025, sorted. G: since then, ``gcc@11.4.0``, ``:=``."""

BIGGEST_PAGE: Final = 4_663
NEWEST_TAG: Final = dt.date(2025, 7, 13)
SHAPE_G_SINCE: Final = dt.date(2025, 3, 30)
SHAPE_F_SINCE: Final = dt.date(2025, 3, 2)

KNOWN_PACKAGES: Final = (
    "hdf5", "zlib-ng", "cmake", "openmpi", "py-pip", "python", "gcc", "openblas", "boost", "trilinos",
    "kokkos", "py-torch", "py-numpy", "llvm", "intel-oneapi-mkl", "petsc", "netcdf-c", "bash", "adlbx", "rocblas",
    "ncurses", "perl", "hwloc", "libxml2", "sundials", "hypre", "amrex", "visit", "paraview", "mpich",
)  # fmt: skip
_FIRST: Final = ("py", "r", "perl", "lib", "intel", "rocm", "xsdk", "nv", "go", "unify")
_SECOND: Final = (
    "mesh",
    "graph",
    "io",
    "solver",
    "fft",
    "tensor",
    "sim",
    "grid",
    "cloud",
    "chem",
    "plot",
    "json",
    "yaml",
    "geo",
)
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_PLACES: Final = (  # compiler, os, platform, target, stacks
    ("gcc@11.4.0", "ubuntu22.04", "linux", "x86_64_v3", ("e4s", "build_systems", "tutorial")),
    ("gcc@11.4.0", "ubuntu20.04", "linux", "x86_64_v3", ("radiuss", "data-vis-sdk", "e4s-rocm-external")),
    ("gcc@13.2.0", "ubuntu24.04", "linux", "x86_64_v3", ("ml-linux-x86_64-cpu", "ml-linux-x86_64-cuda", "hep")),
    ("gcc@13.2.0", "ubuntu24.04", "linux", "aarch64", ("ml-linux-aarch64-cpu", "ml-linux-aarch64-cuda")),
    ("gcc@12.3.0", "amzn2", "linux", "neoverse_v1", ("aws-pcluster-neoverse_v1",)),
    ("gcc@11.4.0", "ubuntu22.04", "linux", "neoverse_v2", ("e4s-neoverse-v2",)),
    ("oneapi@2024.2.1", "ubuntu22.04", "linux", "x86_64_v3", ("e4s-oneapi",)),
    ("cce@18.0.0", "rhel8", "linux", "zen4", ("e4s-cray-rhel",)),
    ("gcc@10.5.0", "centos7", "linux", "x86_64_v3", ("developer-tools-x86_64_v3-linux-gnu",)),
    ("gcc@9.4.0", "ubuntu20.04", "linux", "ppc64le", ("e4s-power",)),
    ("apple-clang@16.0.0", "sequoia", "darwin", "aarch64", ("ml-darwin-aarch64-mps", "developer-tools-darwin")),
    ("none", "ubuntu22.04", "linux", "x86_64_v3", ("e4s",)),
)  # fmt: skip
_SWITCHES: Final = (
    "mpi", "shared", "ipo", "cxx", "fortran", "hl", "threadsafe", "cuda", "rocm", "openmp", "pic", "static-libs",
    "distributed", "kineto", "mkldnn", "nccl", "numa", "onnx", "python", "qnnpack", "tensorpipe", "test",
    "valgrind", "xnnpack",
)  # fmt: skip
_VALUES: Final = (
    "build_type=Release", "generator=make", "libs=shared,static", "cxxstd=17", "languages='c,c++,fortran'",
    "patches=5c7dbe4,98c5b5b,b56ee82,ad23cca",
)  # fmt: skip


def packages(count: int) -> list[str]:
    """Return names of packages: known ones first, then made-up ones of the same kinds."""
    names = list(KNOWN_PACKAGES[:count])
    number = 0
    while len(names) < count:
        first, second = _FIRST[number % len(_FIRST)], _SECOND[number // len(_FIRST) % len(_SECOND)]
        round_ = number // (len(_FIRST) * len(_SECOND))
        names.append(f"{first}-{second}{round_ or ''}")
        number += 1
    return names


def tags(count: int) -> list[str]:
    """Return names of tags: ``develop``, a release of 2022, and weekly ones from the newest back."""
    weekly = (f"develop-{NEWEST_TAG - dt.timedelta(weeks=week)}" for week in range(count))
    return (["develop", "v0.18.1", *weekly] if count > 2 else ["develop", *weekly])[:count]


def shape_of(tag: str) -> Shape:
    """Return the shape that pages of a tag have."""
    if tag == "develop":
        return "G"
    if not tag.startswith("develop-"):
        return "C"
    date = dt.date.fromisoformat(tag.removeprefix("develop-"))
    return "G" if date >= SHAPE_G_SINCE else "F" if date >= SHAPE_F_SINCE else "D"


def spec_count(random_: random.Random) -> int:
    """Draw how many specs a page of a weekly tag has."""
    drawn = random_.random()
    if drawn < 0.22:
        return 1
    if drawn < 0.49:
        return random_.randint(2, 4)
    if drawn < 0.78:
        return random_.randint(5, 9)
    return random_.randint(10, 18) if drawn < 0.92 else random_.randint(19, 28)


def spec(random_: random.Random, shape: Shape, switches: int | None = None) -> dict[str, Any]:
    """Draw one entry of ``spec_details``, with so many variants that are on or off."""
    if switches is None:
        switches = random_.choice((0, 1, 3, 5, 9))
    compiler, os, platform, target, stacks = random_.choice(_PLACES)
    if shape != "G":
        compiler = "gcc@11.4.0" if compiler == "none" else compiler
        compiler = compiler.replace("@", "@=")
    elif compiler.startswith("oneapi"):
        compiler = "intel-oneapi-compilers@2025.1.0"
    variants = [random_.choice("+~") + name for name in random_.sample(_SWITCHES, switches)]
    if variants:
        variants += random_.sample(_VALUES, random_.randint(0, 3))
    variants.append(f"build_system={random_.choice(('cmake', 'autotools', 'generic'))}")
    if shape == "G":
        variants = [each.replace("languages=", "languages:=") for each in variants]
    variants.sort(key=lambda each: each.lstrip("+~"))
    version = f"{random_.randint(0, 4)}.{random_.randint(0, 14)}.{random_.randint(0, 9)}"
    return {
        "hash": "".join(random_.choices(_LETTERS, k=32)),
        "compiler": compiler,
        "versions": [
            random_.choice((version, version, version, "develop", f"{random_.randint(2019, 2025)}.08.20", "3.1rc1"))
        ],
        "os": os,
        "platform": platform,
        "target": target,
        "variants": variants,
        "stacks": sorted({*random_.sample(stacks, random_.randint(1, len(stacks))), "root"}),
        "size": "-",
    }


def page(title: str, tag: str, specs: list[dict[str, Any]], shape: Shape = "G") -> bytes:
    """Write a page as the site's generator does: no newline behind the closing ``---``."""
    if shape == "C":
        return _spec_names_page(title, tag, specs)
    meta = {
        "versions": sorted({each["versions"][0] for each in specs}),
        "compilers": sorted({each["compiler"] for each in specs}),
        "num_specs": len(specs),
    }
    if shape == "D":
        specs = [
            {**each, "tarball": f"https://mirror.example.org/{tag}/{title}-{each['hash']}.spack"} for each in specs
        ]
    else:
        specs = [dict(sorted(each.items())) for each in sorted(specs, key=lambda each: str(each["hash"]))]
    front = f'---\ntitle: "{title}"\nlayout: cache\ncategories: [package, {tag}]\n'
    return f"{front}meta: {json.dumps(meta)}\nspec_details: {json.dumps(specs)}\n---".encode()


def _spec_names_page(title: str, tag: str, specs: list[dict[str, Any]]) -> bytes:
    names = []
    for each in specs:
        switches = "".join(variant for variant in each["variants"] if variant[0] in "+~")
        compiler = each["compiler"].replace("@=", "@")
        arch = f"{each['platform']}-{each['os']}-{each['target']}"
        name = f"{title}@{each['versions'][0]}%{compiler}{switches} arch={arch}"
        names.append(f"{name} ^zlib@1.2.12%{compiler}+pic arch={arch}")
    files = "".join(f" - spec-{number}.json\n" for number in range(len(names)))
    strings = "".join(f" - '{name}'\n" for name in names)
    meta = json.dumps({"versions": sorted({each["versions"][0] for each in specs})})
    front = f'---\ntitle: "{title}"\nlayout: cache\ncategories: [package, {tag}]\nmeta: {meta}\n'
    return f"{front}spec_files: \n{files}spec_names:\n{strings}---".encode()


def big_page(title: str = "py-torch", tag: str = "develop", count: int = BIGGEST_PAGE, seed: int = 0) -> bytes:
    """Make the largest page there is: many specs, each with many variants."""
    random_ = random.Random(seed)
    return page(title, tag, [spec(random_, "G", switches=24) for _ in range(count)])


def tree(tag_count: int, package_count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield the path and the bytes of every page of a tree."""
    for tag in tags(tag_count):
        shape = shape_of(tag)
        for title in packages(package_count):
            random_ = random.Random(f"{seed}/{tag}/{title}")
            specs = [spec(random_, shape) for _ in range(spec_count(random_))]
            yield f"_cache/{tag}/{title}/specs.md", page(title, tag, specs, shape)


def write_tree(root: Path, tag_count: int, package_count: int, seed: int = 0) -> int:
    """Write a tree below ``root`` and return how many pages it has."""
    pages = 0
    for path, data in tree(tag_count, package_count, seed):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        pages += 1
    return pages


def main() -> None:
    """Write a tree from the command line."""
    parser = argparse.ArgumentParser(description="Write a tree of example pages.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--tags", type=int, default=4)
    parser.add_argument("--packages", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pages = write_tree(arguments.root, arguments.tags, arguments.packages, arguments.seed)
    print(f"{pages:,} example pages in {arguments.root}")


if __name__ == "__main__":
    main()

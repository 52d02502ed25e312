"""Measure how well search finds what people mean, and how fast it answers.

names: typed names, by kind: how often an intended package ranks first (success@1) or among the first five (success@5),
the mean reciprocal rank (MRR), and how long it takes. The names are in `typed_names.txt`; every second one of each kind
is held out, so that nothing is tuned by it. An index has all names of `package_names.txt`, or every fourth and the
intended ones; how many specs each has is drawn from a seed.

answers: how long complete answers take over a million specs, with both engines, see :mod:`.answers`. Without a server,
Elasticsearch is skipped.

    python -m benchmarks.search [--only PART] [--file FILE] [--failures PART] [--tags N] [--rounds N] [--json FILE]
"""

import argparse
import contextlib
import json
import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks import answers
from cachesync.search.aliases import load_aliases
from cachesync.search.names import PackageNames, Split, split
from examples import pages
from examples.pages import write_tree
from tests.support import elasticsearch

_PARTS: Final = ("names", "answers")
_FOLDER: Final = Path(__file__).parent
_VERSION: Final = re.compile(r"v?[0-9]+(\.[0-9]+)*")


class Typed(NamedTuple):
    """A typed query."""

    kind: str
    text: str
    meant: frozenset[str]
    """The intended packages; any of them is right."""
    part: str
    """``tuned`` or ``held out``."""


Find = Callable[[str], Sequence[str]]
"""Returns the packages that are found, the best first."""


def main() -> None:
    """Measure the chosen parts and print the figures."""
    arguments = _arguments()
    parts = arguments.only or _PARTS
    figures: dict[str, Any] = {}
    if "names" in parts:
        figures["names"] = _names(arguments)
    if "answers" in parts:
        figures["answers"] = _answers(arguments.tags, arguments.rounds)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def _names(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure names in both indices, and print the figures."""
    typed = _examples(arguments.file) if arguments.file else _typed_names()
    names = package_names()
    subset = sorted({*names[::4], *(name for each in typed for name in each.meant)})
    figures: dict[str, Any] = {}
    for index, packages in (("all", names), ("a part", subset)):
        found = measure(typed, _by_names(packages))
        figures[index] = found
        print(f"\nnames  {len(packages):,} names, {index} of the list")
        _print_table(found)
        if arguments.failures:
            _print_failures(typed, _by_names(packages), arguments.failures)
    return figures


def _answers(tags: int, rounds: int) -> dict[str, Any]:
    """Measure both engines over the same pages, and print the figures."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "pages"
        write_tree(root, tags, package_count=1_200)
        figures["embedded"] = answers.measure(root, f"embedded:{folder}/index", Path(folder), rounds)
        print(f"\nanswers  embedded, {figures['embedded']['specs']:,} specs\n{answers.table(figures['embedded'])}")
        with contextlib.suppress(elasticsearch.NoServerError), elasticsearch.server() as url:
            figures["elasticsearch"] = answers.measure(root, url, Path(folder), rounds)
            found = figures["elasticsearch"]
            print(f"\nanswers  Elasticsearch, {found['specs']:,} specs\n{answers.table(found)}")
            elasticsearch.remove(url, answers.NAME)
    return figures


def measure(typed: Sequence[Typed], find: Find) -> list[dict[str, Any]]:
    """Measure each kind of each part, and all kinds of a part together."""
    outcomes = {each: _outcome(each, find) for each in typed}
    rows = []
    for part in dict.fromkeys(each.part for each in typed):
        of_part = [each for each in typed if each.part == part]
        for kind in (*dict.fromkeys(each.kind for each in of_part), "all"):
            of_kind = [outcomes[each] for each in of_part if kind in (each.kind, "all")]
            rows.append({"part": part, "kind": kind, **_figures(of_kind)})
    return rows


def package_names() -> list[str]:
    """Return names of real packages."""
    lines = (_FOLDER / "package_names.txt").read_text().splitlines()
    return [name for line in lines if not line.startswith("#") for name in line.split()]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how well search finds what people mean, and how fast.")
    parser.add_argument("--only", action="append", choices=_PARTS, help="measure this part; may be repeated")
    parser.add_argument("--file", type=Path, help='measure these instead: a JSON list of {"q", "want", "kind"}')
    parser.add_argument("--failures", metavar="PART", help="print wrong first results of a part: tuned, or held out")
    parser.add_argument("--tags", type=int, default=120, help="120 tags of 1,200 packages are a million specs")
    parser.add_argument("--rounds", type=int, default=5, help="how often each question is asked")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args()


def _typed_names() -> list[Typed]:
    found: list[Typed] = []
    kind, number = "", 0
    for line in (_FOLDER / "typed_names.txt").read_text().splitlines():
        if line.startswith("["):
            kind, number = line.strip("[]"), 0
        elif " => " in line:
            text, _, meant = line.partition(" => ")
            found.append(Typed(kind, text, frozenset(meant.split()), ("tuned", "held out")[number % 2]))
            number += 1
    return sorted(found, key=lambda each: each.part, reverse=True)


def _examples(file: Path) -> list[Typed]:
    return [Typed(each["kind"], each["q"], frozenset(each["want"]), "given") for each in json.loads(file.read_text())]


def _by_names(packages: Iterable[str]) -> Find:
    """Return a function that finds packages by their names alone."""
    random_ = random.Random(16)
    names = PackageNames({package: random_.choice((1, 3, 7, 20, 300)) for package in packages}, load_aliases())
    values = _values()

    def find(text: str) -> list[str]:
        words = text.split()
        splits = (each for each in split(words, names) if each.name and _may_hit(each, values))
        found = next(splits, None)
        return [match.package for match in (found.matches if found else names.find(words))]

    return find


def _may_hit(split: Split, values: Container[str]) -> bool:
    """Guess whether documents match the words that aren't names: those are versions, or common values."""
    return all(_VERSION.fullmatch(word) or word.partition("@")[0] in values for word in split.others)


def _values() -> set[str]:
    """Return common operating systems, targets, compilers, stacks and tags."""
    random_ = random.Random(16)
    specs = [pages.spec(random_, shape) for shape in ("D", "F", "G") for _ in range(1_000)]
    values = {value for spec in specs for value in (spec["os"], spec["platform"], spec["target"], *spec["stacks"])}
    values |= {spec["compiler"].partition("@")[0] for spec in specs}
    return {*values, *(value.rstrip("0123456789.") for value in values), *pages.tags(28)}


class _Outcome(NamedTuple):
    rank: int
    """Of the first intended package; 0: none was found."""
    milliseconds: float


def _outcome(typed: Typed, find: Find) -> _Outcome:
    start = time.perf_counter()
    found = find(typed.text)
    milliseconds = (time.perf_counter() - start) * 1000
    return _Outcome(next((rank for rank, package in enumerate(found, 1) if package in typed.meant), 0), milliseconds)


def _figures(outcomes: Sequence[_Outcome]) -> dict[str, Any]:
    ranks = [outcome.rank for outcome in outcomes]
    times = [outcome.milliseconds for outcome in outcomes]
    return {
        "queries": len(ranks),
        "success_1": sum(rank == 1 for rank in ranks) / len(ranks),
        "success_5": sum(1 <= rank <= 5 for rank in ranks) / len(ranks),
        "mrr": sum(1 / rank for rank in ranks if rank) / len(ranks),
        "median_ms": statistics.median(times),
        "worst_ms": max(times),
    }


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    print(f"{'part':<9} {'kind':<19} queries  success@1  success@5    MRR   median    worst")
    for row in rows:
        figures = f"{row['success_1']:>10.3f} {row['success_5']:>10.3f} {row['mrr']:>6.3f}"
        times = f"{row['median_ms']:>5.1f} ms {row['worst_ms']:>5.1f} ms"
        print(f"{row['part']:<9} {row['kind']:<19} {row['queries']:>7} {figures} {times}")


def _print_failures(typed: Sequence[Typed], find: Find, part: str) -> None:
    for each in typed:
        if each.part == part and _outcome(each, find).rank != 1:
            print(f"  {each.kind}: {each.text!r} found {[*find(each.text)[:5]]}, meant {sorted(each.meant)}")


if __name__ == "__main__":
    main()

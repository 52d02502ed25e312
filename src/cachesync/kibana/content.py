"""The saved objects of one index: data views, searches in Discover, and two dashboards."""

from typing import Final

import msgspec

from cachesync.documents import ABOUT, HELPERS, About
from cachesync.index.elastic.mapping import pages_mapping, specs_mapping
from cachesync.kibana.lens import Visualization, count, largest, last, top, total, unique, weeks
from cachesync.kibana.objects import Dashboard, DataView, Placed, SavedObject, SavedSearch, types_of
from cachesync.pages.version import version_range

_DAY: Final = {"id": "date", "params": {"pattern": "YYYY-MM-DD", "timezone": "UTC"}}
"""The date of a release is a day, which must be the same in every time zone."""

_PROBLEMS: Final = "problem: *"
_PENDING: Final = "pending: true"
_EXAMPLE: Final = ("hdf5", "1.12", "1.14")
"""The package and the range of versions in the example query for a range."""

_PAGE_FIELDS: Final = {
    "page": "The page's path below the root.",
    "package": "The package of the page.",
    "tag": "The tag of the page.",
    "digest": "A digest of the page's bytes when it was last read.",
    "settled": "Whether any later change of the file would alter its size, times or inode.",
    "pending": "The page's documents are being changed, or were when the service was killed.",
    "specs": "How many documents of this page the index holds.",
    "versions": "The versions on the page.",
    "compilers": "The compilers on the page.",
    "stacks": "The stacks on the page.",
    "synced": "When the page's record was last written.",
    "problem": "Why the page can't be used now. Its documents are those of its last good state.",
    "line": "The line of the page that has the problem, if it is known.",
}
"""Descriptions of the fields of a page's ledger record."""

_COLUMNS: Final = ("package", "version", "compiler", "os", "target", "variants", "stacks", "tag", "hash")
"""The columns that a search shows for each binary."""

_BINARIES_SHOWN: Final = 100
_PAGES_SHOWN: Final = 200


def saved_objects(name: str) -> list[SavedObject]:
    """Return the saved objects for the index called ``name``.

    Ids and titles derive from the name, so one Kibana can have the objects of several indices, and a new installation
    replaces those of the same index.
    """
    specs = DataView(
        id=f"cachesync-specs-{name}",
        alias=name,
        name=f"Specs: {name}",
        types=types_of(specs_mapping(name)),
        formats={"size": {"id": "bytes"}, "tag_date": _DAY},
        descriptions={name: _sentence(each) for name, each in ABOUT.items()},
        left_out=HELPERS,
    )
    pages = DataView(
        id=f"cachesync-pages-{name}",
        alias=f"{name}-pages",
        name=f"Pages: {name}",
        types=types_of(pages_mapping(name)),
        formats={"line": {"id": "number", "params": {"pattern": "0"}}},
        descriptions=_PAGE_FIELDS,
        left_out=("digest", "settled"),
    )
    parts: list[DataView | SavedSearch | Dashboard] = [specs, pages, *_searches(name, specs, pages)]
    parts += (_build_cache(name, specs), _mirror_health(name, pages))
    return [part.saved() for part in parts]


def ndjson(objects: list[SavedObject]) -> bytes:
    """Encode saved objects as the file that Kibana imports, with one object per line."""
    return msgspec.json.Encoder().encode_lines(objects)


def _sentence(about: About) -> str:
    """Return the description of a field: its meaning and an example."""
    return f"{about.meaning[0].upper()}{about.meaning[1:]}: {about.example}"


def _searches(name: str, specs: DataView, pages: DataView) -> tuple[SavedSearch, ...]:
    package, oldest, newest = _EXAMPLE
    at_least, below = version_range(oldest, newest)
    return (
        SavedSearch(
            id=f"cachesync-binaries-{name}",
            title=f"All binaries: {name}",
            description="A row for each binary of each tag: by package, newest version first.",
            view=specs,
            columns=_COLUMNS,
            sort=(("package", "asc"), ("version_key", "desc"), ("tag", "asc")),
        ),
        SavedSearch(
            id=f"cachesync-versions-{name}",
            title=f"Versions from {oldest} to {newest} of {package}: {name}",
            description="How to search for a range of versions in Spack's order: by version_key, see docs/fields.md.",
            view=specs,
            columns=_COLUMNS,
            sort=(("version_key", "desc"), ("tag", "asc")),
            query=f'package: "{package}" and version_key >= "{at_least}" and version_key < "{below}"',
        ),
        SavedSearch(
            id=f"cachesync-problems-{name}",
            title=f"Problem pages: {name}",
            description="Pages that can't be used. Their documents from before stay searchable.",
            view=pages,
            columns=("page", "line", "problem", "synced"),
            sort=(("synced", "desc"), ("page", "asc")),
            query=_PROBLEMS,
        ),
    )


def _build_cache(name: str, specs: DataView) -> Dashboard:
    """Return the dashboard that shows which binaries exist for which architectures."""
    number = count("Specs")
    plain = ("Version", "Compiler", "OS", "Target")  # labels that differ from their fields' names only in case
    tag_date = largest("Tag's date", "tag_date")

    def metric(title: str, field: str) -> Visualization:
        return Visualization(title, specs, "metric", (unique(title, field),))

    def bars(title: str, label: str, field: str, *exclude: str) -> Visualization:
        return Visualization(title, specs, "bars", (top(label, field, 20, number, exclude=exclude), number))

    versions = Visualization(
        "Versions of what is chosen above",
        specs,
        "table",
        (
            package := top("Package", "package", 200, number),
            top("Version", "version", 100, number),
            number,
            unique("Binaries", "hash"),
            unique("Targets", "target"),
            unique("Compilers", "compiler"),
            unique("Tags", "tag"),
        ),
        sort=(package, "asc"),
    )
    in_tags = count("Tags")  # a document per tag: a tag has one page for a package, and a page lists a hash once
    binaries = Visualization(
        f"Binaries: {_BINARIES_SHOWN} of what is chosen above, those in most tags",
        specs,
        "table",
        (
            top("Binary", "hash", _BINARIES_SHOWN, in_tags, hidden=True),
            name_of := last("Package", "package", "tag_date"),
            *(last(label, label.lower(), "tag_date") for label in (*plain, "Variants", "Stacks")),
            last("Newest tag", "tag", "tag_date"),
            in_tags,
            last("Hash", "hash", "tag_date"),
        ),
        sort=(name_of, "asc"),
    )
    tags = Visualization(
        "Specs by tag",
        specs,
        "table",
        (top("Tag", "tag", 200, number), tag_date, number, unique("Packages", "package"), unique("Targets", "target")),
    )
    timeline = Visualization(
        "Specs by the date of their tag, per week", specs, "timeline", (weeks("Tag's date", "tag_date"), number)
    )
    return Dashboard(
        id=f"cachesync-build-cache-{name}",
        title=f"Build cache: {name}",
        description="Which binaries there are, for which machines. A spec is a binary in a tag.",
        view=specs,
        controls={label.lower(): label for label in ("Package", *plain)}
        | {"stacks": "Stack", "tag": "Tag", "variants": "Variant"},
        panels=(
            _placed(0, 0, 12, 5, Visualization("Specs", specs, "metric", (number,))),
            _placed(12, 0, 12, 5, metric("Binaries", "hash")),
            _placed(24, 0, 12, 5, metric("Packages", "package")),
            _placed(36, 0, 12, 5, metric("Tags", "tag")),
            _placed(0, 5, 48, 14, versions),
            _placed(0, 19, 48, 20, binaries),
            _placed(0, 39, 16, 15, bars("Specs by stack", "Stack", "stacks", "root")),
            _placed(16, 39, 16, 15, bars("Specs by target", "Target", "target")),
            _placed(32, 39, 16, 15, bars("Specs by compiler", "Compiler", "compiler")),
            _placed(0, 54, 24, 15, timeline),
            _placed(24, 54, 24, 15, tags),
        ),
    )


def _mirror_health(name: str, pages: DataView) -> Dashboard:
    """Return the dashboard that shows whether the index equals the pages and, if it doesn't, why."""
    number = count("Pages")
    specs = total("Specs", "specs")
    problems = count("Problem pages", _PROBLEMS)
    pending = count("Pending pages", _PENDING)
    synced = largest("Last synced", "synced")

    problem_pages = Visualization(
        f"Problem pages: the last {_PAGES_SHOWN}",
        pages,
        "table",
        (
            top("Page", "page", _PAGES_SHOWN, synced),
            last("Line", "line", "synced"),
            last("Problem", "problem", "synced"),
            total("Specs kept", "specs"),
            synced,
        ),
        query=_PROBLEMS,
    )
    last_syncs = Visualization(
        f"Last syncs: the {_PAGES_SHOWN} pages that changed last",
        pages,
        "table",
        (top("Page", "page", _PAGES_SHOWN, synced), synced, specs),
    )
    by_tag = Visualization(
        "Pages by tag", pages, "table", (top("Tag", "tag", 200, number), number, specs, problems, pending, synced)
    )
    return Dashboard(
        id=f"cachesync-mirror-health-{name}",
        title=f"Mirror health: {name}",
        description="Which pages can't be used and why, what was synced last, and what is under way.",
        view=pages,
        controls={"package": "Package", "tag": "Tag"},
        panels=(
            *(
                _placed(12 * place, 0, 12, 5, Visualization(each.label, pages, "metric", (each,)))
                for place, each in enumerate((number, specs, problems, pending))
            ),
            _placed(0, 5, 48, 16, problem_pages),
            _placed(0, 21, 24, 18, last_syncs),
            _placed(24, 21, 24, 18, by_tag),
        ),
    )


def _placed(x: int, y: int, width: int, height: int, shown: Visualization) -> Placed:
    return Placed(x, y, width, height, shown.attributes(), bare=shown.shape == "metric")

"""What an index must hold, told from the pages' bytes and read from the engines' own storage.

It shares no code with cachesync, so that a mistake there isn't made twice. It knows the shapes of
:mod:`tests.hostile.tree`, not everything that a page may be; contract 2 has the fields.
"""

import hashlib
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import tantivy

from tests.support import elasticsearch
from tests.support.said import said

Documents = dict[str, dict[str, Any]]
"""Documents by id."""

_LISTS: Final = frozenset({"stacks", "variants", "variant_names", "variant_values"})
_KEYS: Final = (("version", "version_key"), ("compiler_version", "compiler_version_key"))
_RENAMED: Final = {"oneapi": "intel-oneapi-compilers", "clang": "llvm"}
_DEVELOP: Final = ("develop", "main", "master")
_PAGE: Final = re.compile(rb'---\ntitle: "(.+)"\nlayout: cache\ncategories: \[package, (.+)\]\nmeta: \{.*\}\n')
_DETAILS: Final = re.compile(rb"spec_details: (\[.*\])\n---")
_NAMES: Final = re.compile(rb"(?:spec_files: *\n(?: - .*\n)*)?spec_names:\n((?: - '.*'\n)+)---")
_SPEC: Final = re.compile(
    r"[\w-]+@([\w.-]+)%([\w.@-]+)((?:[+~][\w-]+)*)((?: [\w-]+=[\w.,-]+)*) arch=(\w+)-([\w.]+)-(\w+) \^.*"
)


class Record(NamedTuple):
    """What the ledger says of a page."""

    page: str
    specs: int
    pending: bool
    problem: str | None


class Held(NamedTuple):
    """What an index holds."""

    documents: Documents
    records: list[Record]


def documents(path: str, data: bytes) -> Documents | None:
    """Return the documents of a page, without the keys that only sort; None where the page can't be used."""
    head = _PAGE.match(data)
    if not head:
        return None
    title, tag = head[1].decode(), head[2].decode()
    details, names = _DETAILS.fullmatch(data, head.end()), _NAMES.fullmatch(data, head.end())
    try:
        if details:
            entries = [_entry(each) for each in json.loads(details[1])]
        elif names:
            entries = [_named(each[4:-1]) for each in names[1].decode().splitlines()]
        else:
            return None
    except (ValueError, LookupError):
        return None
    place = path.removeprefix("_cache/").removesuffix("/specs.md")
    found: Documents = {}
    for key, fields in entries:
        document = _document(title, tag, path, fields)
        if found.setdefault(f"{place}/{key}", document) != document:
            return None  # two different specs of one hash
    return found


def _entry(entry: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the key of an entry of ``spec_details``, and its fields."""
    kept = {name: entry[name] for name in ("hash", "os", "platform", "target", "stacks", "variants")}
    (version,) = entry["versions"]
    kept |= said(entry["hash"], entry["hash"], entry["variants"])
    return entry["hash"], {**kept, "version": version, "compiler": entry["compiler"].replace("@=", "@")}


def _named(text: str) -> tuple[str, dict[str, Any]]:
    """Return the key of a spec string, and its fields."""
    match = _SPEC.fullmatch(text)
    assert match, text
    version, compiler, switches, values, platform, os_, target = match.groups()
    key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    fields = {"version": version, "compiler": compiler, "os": os_, "platform": platform, "target": target}
    variants = re.findall(r"[+~][^+~]+", switches) + values.split()
    return key, {**fields, **said(key, None, variants), "stacks": [], "variants": variants}


def _document(title: str, tag: str, path: str, fields: dict[str, Any]) -> dict[str, Any]:
    name, _, number = fields["compiler"].partition("@")
    compiler = {"compiler_name": _RENAMED.get(name, name), "compiler_version": number} if number else {}
    dated = re.search(r"\d{4}-\d\d-\d\d$", tag)
    switches = "".join(each for each in fields["variants"] if each[0] in "+~")
    values = "".join(f" {each}" for each in fields["variants"] if each[0] not in "+~")
    arch = f"arch={fields['platform']}-{fields['os']}-{fields['target']}"
    by = f" %{fields['compiler']}" if number else ""  # nothing compiles what has the compiler "none"
    return {
        **fields,
        **compiler,
        **({"tag_date": dated[0]} if dated else {}),
        "package": title,
        "tag": tag,
        "spec": f"{title}@{fields['version']}{switches}{values} {arch}{by}",
        "page": path,
    }


TOOLS: Final = ("@eaDir", "#recycle", "#snapshot", "~snapshot", "lost+found")
"""Folders that common tools make; what is in them is never a page. Nor is what a name with a dot in front leads to."""


def pages(root: Path) -> dict[str, Documents | None]:
    """Return the documents of every page below a root by the page's path; None for a page that can't be used.

    Symbolic links to folders aren't followed.
    """
    found = {}
    for folder, folders, files in os.walk(root / "_cache"):
        folders[:] = [each for each in folders if not each.startswith(".") and each not in TOOLS]
        if "specs.md" in [*files, *folders]:
            file = Path(folder, "specs.md")
            path = file.relative_to(root).as_posix()
            usable = file.is_file() and not file.is_symlink()
            found[path] = documents(path, file.read_bytes()) if usable else None
    return found


def in_elasticsearch(url: str, name: str) -> Held | None:
    """Read what an index holds from the server, past every client; None: there is no index."""
    try:
        elasticsearch.request(f"{url}/{name},{name}-pages/_refresh", "POST")
        specs = {hit["_id"]: hit["_source"] for hit in _hits(f"{url}/{name}", "page")}
        records = {hit["_id"]: hit["_source"] for hit in _hits(f"{url}/{name}-pages", "page")}
    except OSError:
        return None
    return Held(specs, [_record(each) for each in records.values()])


_MOST: Final = 10_000


def _hits(url: str, order: str) -> Iterator[dict[str, Any]]:
    found = elasticsearch.request(f"{url}/_search", "POST", {"size": _MOST, "sort": [order], "track_total_hits": True})
    assert found["hits"]["total"]["value"] == len(found["hits"]["hits"]), "more documents than the judge reads"
    yield from found["hits"]["hits"]


def in_folder(folder: Path) -> Held | None:
    """Read what an embedded index holds from its files; None: there is no index.

    ``folder`` is ``DIR/NAME``.
    """
    try:
        searcher = tantivy.Index.open(str(folder / os.readlink(folder / "live"))).searcher()
    except (OSError, ValueError):
        return None
    hits = searcher.search(tantivy.Query.all_query(), limit=_MOST).hits
    assert searcher.num_docs == len(hits), "more documents than the judge reads"
    stored = [searcher.doc(address).to_dict() for _, address in hits]
    specs, records = [], []
    for each in stored:
        if "_id" in each:
            specs.append((each.pop("_id")[0], _fields(each)))
        else:
            records.append(_record(json.loads(bytes(each["_record"][0]))))
    twice = [id for id, count in Counter(id for id, _ in specs).items() if count > 1]
    assert not twice, f"documents that are there more than once: {twice}"
    return Held(dict(specs), records)


def _fields(stored: dict[str, list[Any]]) -> dict[str, Any]:
    lists = {name: stored.pop(name, []) for name in _LISTS}
    return {name: value for name, (value,) in stored.items()} | lists


def _record(source: dict[str, Any]) -> Record:
    """Read a record; a value of nothing is left out of it."""
    return Record(source["page"], source.get("specs", 0), source.get("pending", False), source.get("problem"))


def without_keys(found: Documents) -> Documents:
    """Leave out of documents what only sorts them: those keys are cachesync's own affair, their order isn't."""
    keys = {key for _, key in _KEYS}
    return {id: {name: value for name, value in each.items() if name not in keys} for id, each in found.items()}


def misordered(found: Documents) -> list[str]:
    """Return what is wrong with the keys that sort versions: not in Spack's order, or not there."""
    wrong = []
    for field, key in _KEYS:
        pairs = {(each.get(field, ""), each.get(key, "")) for each in found.values()}
        wrong += [f"{key} of {pair}" for pair in pairs if bool(pair[0]) != bool(pair[1])]
        known = sorted((pair for pair in pairs if all(pair)), key=lambda pair: pair[1])
        wrong += [f"{one} before {other}" for one, other in itertools.pairwise(known) if _compare(one[0], other[0]) > 0]
    return wrong


def _compare(one: str, other: str) -> int:
    """Compare versions as Spack does, those of the pages that are made here: numbers and names of branches."""
    places = [_place(each) for each in (one, other)]
    return (places[0] > places[1]) - (places[0] < places[1])


def _place(version: str) -> list[tuple[int, int]]:
    return [(1, -_DEVELOP.index(each)) if each in _DEVELOP else (0, int(each)) for each in re.split("[.-]", version)]


def differences(expected: Documents, found: Documents, most: int = 3) -> str:
    """Say where two sets of documents differ; nothing where they don't."""
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    other = [id for id in expected.keys() & found.keys() if expected[id] != found[id]]
    told: Iterable[tuple[str, Iterable[str]]] = (("missing", missing), ("extra", extra), ("different", other))
    parts = [f"{len(list(ids))} {what}: {sorted(ids)[:most]}" for what, ids in told if ids]
    if other:
        parts.append(f"such as {expected[min(other)]} but {found[min(other)]}")
    return "; ".join(parts)

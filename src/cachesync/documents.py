"""Documents: the table of their fields, and how they are rendered from a page's specs.

Documents are a pure function of a page's path and bytes: they are the same whenever and wherever they are rendered.
"""

import datetime as dt
import hashlib
import re
from collections.abc import Collection
from functools import lru_cache, partial
from typing import Any, Final, Literal, NamedTuple

import msgspec
import xxhash
from msgspec import UNSET, UnsetType

from cachesync.pages.page import Page, Problem, identity
from cachesync.pages.variants import variants as variants_of
from cachesync.pages.version import INFINITY_VERSION, git_ref, version_key

RENDER_VERSION: Final = 3
"""Increase this version when a page's documents or the digest of a document change.

Indices that were filled by an older version are then refilled.
"""

SHORT_HASH: Final = 7
"""The number of characters of a hash that are usually shown and typed."""

MAX_ID_BYTES: Final = 512
"""The maximum length of a document's ID. Elasticsearch rejects a whole bulk request if a single ID is longer."""

MAX_KEYWORD_BYTES: Final = 32_766
"""Lucene's maximum length of a term."""

Kind = Literal["keyword", "text", "date", "long"]


class Field(NamedTuple):
    """The definition of a field for an index."""

    name: str
    kind: Kind
    many: bool = False
    words: bool = False
    """Whether the field has a subfield ``NAME.text`` with the words of the field's value."""
    any_case: bool = False
    """Whether the field's values are found, counted and sorted in lowercase."""
    order_by: str = ""
    """The name of the field whose values determine the order when documents are sorted by this field."""
    counted: bool = False
    """Whether the field only serves to count its distinct values and can't be searched."""

    @property
    def is_asked_for(self) -> bool:
        """Whether queries can filter, count and sort by this field."""
        return self.kind != "text" and not self.counted


class About(NamedTuple):
    """The documentation of a field, which can be reworded without a reindex."""

    source: str
    """The part of a page from which the field's value is taken, in Markdown."""
    meaning: str
    example: str
    """An example of a value. The examples of all fields except ``git_ref`` are from the same document."""


class _Line(NamedTuple):
    """One line of the table of fields."""

    field: Field
    about: About
    optional: bool


def _field(
    name: str, source: str, meaning: str, example: str, kind: Kind = "keyword", *, optional: bool = False, **more: Any
) -> _Line:
    return _Line(Field(name, kind, **{"order_by": name, **more}), About(source, meaning, example), optional)


_optional: Final = partial(_field, optional=True)

_TABLE: Final = (
    _field("package", "`title`", "the package's name", "hdf5", words=True, any_case=True),
    _optional("tag", "`categories[1]`, else the path", "the build cache that has it", "develop-2025-03-23"),
    _optional("tag_date", "`categories[1]`, else the path", "the date that the tag ends in", "2025-03-23", "date"),
    _field("version", "`versions`", "the version, as Spack writes it", "1.14.5", order_by="version_key"),
    _field("version_key", "`versions`", "the version as a string in Spack's order", "2a12b142a50z"),
    _optional("git_ref", "`versions`", "branch, tag or commit of a version like git.v1.14=1.14.5", "v1.14"),
    _optional("compiler", "`compiler`, with `@` for `@=`", "the compiler and its version, or none", "oneapi@2024.2.1"),
    _optional("compiler_name", "`compiler`", "the compiler's name in today's spelling", "intel-oneapi-compilers"),
    _optional("compiler_version", "`compiler`", "the compiler's version", "2024.2.1", order_by="compiler_version_key"),
    _optional(
        "compiler_version_key", "`compiler`", "the compiler's version as a string in Spack's order", "2d20242a22a10z"
    ),
    _optional("hash", "`hash`", "Spack's hash of the binary", "2elpvcmh4emktokzapzd6p2u7eljzalf"),
    _optional("short_hash", "`hash`", "the first seven characters of the hash", "2elpvcm"),
    _field(
        "binary",
        "`hash`, else a digest of the spec string",
        "the same for one binary in all its tags",
        "2elpvcmh4emktokzapzd6p2u7eljzalf",
    ),
    _field(
        "binary_number",
        "`binary`",
        "a number for the binary, by which binaries are counted",
        "1807145088071154",
        "long",
        counted=True,
    ),
    _optional("os", "`os`", "the operating system", "ubuntu22.04"),
    _optional("platform", "`platform`", "the kind of system", "linux"),
    _optional("target", "`target`", "the processor that it is built for", "x86_64_v3"),
    _field("stacks", "`stacks`", "the stacks that it is in; `root` is the whole tag", "e4s-oneapi", many=True),
    _field("variants", "`variants`", "the variants, as the page writes them", "+mpi", many=True),
    _field("variant_names", "`variants`", "the names of the variants that it has", "mpi", many=True),
    _field("variant_values", "`variants`", "the variants, value by value", "+mpi", many=True),
    _optional("size", "`size`", "how many bytes the binary takes", "7340032", "long"),
    _field(
        "spec",
        "composed of the others",
        "the spec as Spack prints it",
        "hdf5@1.14.5+mpi arch=linux-ubuntu22.04-x86_64_v3 %oneapi@2024.2.1",
        "text",
    ),
    _field("page", "the path", "the page, below the root", "_cache/develop-2025-03-23/hdf5/specs.md"),
)
"""The fields of a document: name, source, meaning, example and kind. The values are computed in :func:`_rows`.

Everything else that depends on the fields is derived from this table. An optional field without a value is left out
of the document; a list may be empty.
"""

_Row: Any = msgspec.defstruct("Row", [(line.field.name, Any) for line in _TABLE], gc=False)
"""A document whose fields are untyped and positional, which makes the document far cheaper to fill."""


def _rows(page: Page) -> list[Any]:
    """Return a page's documents, each with one value for every line of the table, in the order of the table."""
    package, path, tag = page.package, page.path, page.tag or UNSET
    tag_date = (date_of(page.tag) if page.tag else None) or UNSET
    rows = []
    for key, spec in page.specs.items():
        (version,) = spec.versions
        variants = spec.variants
        names, values = variants_of(variants)
        compiler, compiler_name, compiler_version, compiler_key, os, platform, target, ending = _build(
            spec.compiler, spec.os, spec.platform, spec.target
        )
        row = _Row(
            package,
            tag,
            tag_date,
            version,
            version_key(version),
            git_ref(version) or UNSET,
            compiler,
            compiler_name,
            compiler_version,
            compiler_key,
            spec.hash or UNSET,
            spec.hash[:SHORT_HASH] if spec.hash else UNSET,
            key,
            _number(key),
            os,
            platform,
            target,
            spec.stacks,
            variants,
            names,
            values,
            spec.size if isinstance(spec.size, int) else UNSET,
            f"{package}@{version}{_variants(variants)}{ending}",
            path,
        )
        rows.append(row)
    return rows


FIELDS: Final = {line.field.name: line.field for line in _TABLE}
"""The fields of a document, by name."""

ABOUT: Final = {line.field.name: line.about for line in _TABLE}
"""The documentation of each field, by name."""

OPTIONAL: Final = frozenset(line.field.name for line in _TABLE if line.optional)
"""The names of the fields that a document may lack."""

HELPERS: Final = (
    *(each.order_by for each in FIELDS.values() if each.order_by != each.name),
    *(each.name for each in FIELDS.values() if each.counted),
)
"""The names of the fields that only serve to sort, compare or count the values of other fields."""


def fingerprint() -> str:
    """Return a digest of everything that documents depend on. An index with a different fingerprint is refilled."""
    parts = [RENDER_VERSION, INFINITY_VERSION, *FIELDS.values()]
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


Rendered = dict[str, bytes]
"""A page's documents, ready to be indexed: key → fields as JSON.

A key is unique within its page: it is the spec's hash, or a digest if the page has no hashes.
"""


def document_id(page: str, key: str) -> str:
    """Return a document's ID, given its page and its key."""
    return f"{identity(page)}/{key}"


def key_of(page: str, id: str) -> str:
    """Return a document's key, given its page and its ID."""
    return id[len(identity(page)) + 1 :]


def render(page: Page) -> Rendered | Problem:
    """Render a document for each of a page's specs, or return the problem with one of the documents."""
    lines = _encode_lines(_rows(page))
    sources = lines.split(b"\n")  # the JSON has no line breaks; zip drops the last part, which is empty
    rendered = dict(zip(page.specs, sources, strict=False))
    longest_id = len(page.path) + max(map(len, rendered), default=0)
    if longest_id * _MAX_CHARACTER_BYTES > MAX_ID_BYTES or len(lines) > MAX_KEYWORD_BYTES:
        return _unfit(page, rendered) or rendered
    return rendered


_MAX_CHARACTER_BYTES: Final = 4
"""The maximum number of bytes that a character takes in UTF-8."""


def _unfit(page: Page, rendered: Rendered) -> Problem | None:
    """Return the problem with the first document that no engine accepts, or None if the engines accept them all."""
    room = MAX_ID_BYTES - len(document_id(page.path, "").encode())
    for key, source in rendered.items():
        if len(key) * _MAX_CHARACTER_BYTES > room and len(key.encode()) > room:
            return Problem(
                page.path, f"an id over {MAX_ID_BYTES} bytes: expected a shorter path or hash than {key:.40}…"
            )
        if len(source) > MAX_KEYWORD_BYTES and (field := _long_value(source)):
            return Problem(page.path, f"{field} of {key}: expected values of at most {MAX_KEYWORD_BYTES:,} bytes")
    return None


class Summary(NamedTuple):
    """The distinct versions, compilers and stacks of a page's specs."""

    versions: list[str]
    compilers: list[str]
    stacks: list[str]


def summary(page: Page) -> Summary:
    """Summarize a page for its ledger entry, with versions in Spack's order, and compilers and stacks by name."""
    specs = page.specs.values()
    versions = {spec.versions[0] for spec in specs}
    compilers = {_compiler(written).text for written in {spec.compiler for spec in specs} if written}
    compilers.discard("")
    stacks = {stack for spec in specs for stack in spec.stacks}
    return Summary(sorted(versions, key=_place_of_version), sorted(compilers), sorted(stacks))


@lru_cache(maxsize=65_536)
def _place_of_version(version: str) -> tuple[str, str]:
    return version_key(version), version


_encode: Final = msgspec.json.Encoder().encode
_encode_lines: Final = msgspec.json.Encoder().encode_lines


def encoded(fields: dict[str, Any]) -> bytes:
    """Encode the fields of a stored document in the same way as :func:`render`."""
    return _encode({name: fields[name] for name in FIELDS if name in fields})


def fitting(source: bytes, fields: Collection[str]) -> bytes:
    """Return a document reduced to the given fields, for an older index that lacks the others."""
    document: dict[str, msgspec.Raw] = msgspec.json.decode(source, type=dict[str, msgspec.Raw])
    return _encode({name: value for name, value in document.items() if name in fields})


_Optional = str | UnsetType


@lru_cache(maxsize=4096)
def _build(
    compiler: str | None, os: str | None, platform: str | None, target: str | None
) -> tuple[_Optional, _Optional, _Optional, _Optional, _Optional, _Optional, _Optional, str]:
    """Return the compiler's four fields, the architecture's three, and the end of the spec, which contains both."""
    built = _compiler(compiler or "")
    if platform and os and target:
        text = f" arch={platform}-{os}-{target}"
    else:
        parts = {"platform": platform, "os": os, "target": target}
        text = "".join(f" {name}={part}" for name, part in parts.items() if part)
    if built.name:
        text += f" %{built.text}"
    arch = os or UNSET, platform or UNSET, target or UNSET
    return built.text or UNSET, built.name, built.version, built.version_key, *arch, text


BINARY_NUMBER: Final = "binary_number"


def _number(binary: str) -> int:
    """Return a number for a binary. It is exact in JavaScript, and collisions among millions are unlikely."""
    return xxhash.xxh3_64_intdigest(binary.encode()) >> 12


class _Compiler(NamedTuple):
    text: str
    name: str | UnsetType = UNSET
    version: str | UnsetType = UNSET
    version_key: str | UnsetType = UNSET


_TODAYS_NAME: Final = {
    "clang": "llvm",
    "oneapi": "intel-oneapi-compilers",
    "intel": "intel-oneapi-compilers-classic",
    "rocmcc": "llvm-amdgpu",
    "arm": "acfl",
}
"""The current names of the compilers that were renamed when Spack 1.0 turned compilers into packages."""


def todays_name(compiler: str) -> str:
    """Return the current name of a compiler."""
    return _TODAYS_NAME.get(compiler, compiler)


@lru_cache(maxsize=4096)
def _compiler(written: str) -> _Compiler:
    text = written.replace("@=", "@", 1)
    name, _, version = text.partition("@")
    if not name or text == "none":
        return _Compiler(text)
    name = todays_name(name)
    return _Compiler(text, name, version, version_key(version)) if version else _Compiler(text, name)


def _variants(variants: list[str]) -> str:
    """Join variants in Spack's notation, Boolean variants first: ``+mpi~shared build_system=cmake``."""
    switches: list[str] = []
    values = [""]
    for variant in variants:
        if variant and variant[0] in _SIGNS:
            switches.append(variant)
        else:
            values.append(variant)
    return "".join(switches) + " ".join(values)


_SIGNS: Final = frozenset("+~")


_DATE: Final = re.compile(r"(?:^|-)(\d{4}-\d{2}-\d{2})$")


@lru_cache(maxsize=4096)
def date_of(tag: str) -> str | None:
    """Return the date at the end of a tag, or None if the tag doesn't end in a valid date."""
    match = _DATE.search(tag)
    if not match:
        return None
    try:
        return dt.date.fromisoformat(match[1]).isoformat()
    except ValueError:
        return None


def _long_value(source: bytes) -> str | None:
    """Return the name of the first keyword field with a value that is too long for any engine, or None."""
    fields: dict[str, str | list[str]] = msgspec.json.decode(source)
    for name, value in fields.items():
        texts = value if isinstance(value, list) else [value]
        if FIELDS[name].kind == "keyword" and any(len(text.encode()) > MAX_KEYWORD_BYTES for text in texts):
            return name
    return None

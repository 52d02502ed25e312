"""Spec documents: their fields in one table, and how a page's specs become them.

A document is a pure function of a page's path and bytes: the same bytes whenever and wherever it is rendered.
"""

import datetime as dt
import hashlib
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
import xxhash
from msgspec import UNSET, Meta, UnsetType

from cachesync.pages.page import Page, Problem, identity
from cachesync.pages.variants import variants as variants_of
from cachesync.pages.version import INFINITY_VERSION, git_ref, version_key

RENDER_VERSION: Final = 3
"""Raise it when the same page gives other documents, or the same document another digest, than before.

Indices made by an older one are then refilled.
"""

SHORT_HASH: Final = 7
"""How many characters of a hash people see and type."""

MAX_ID_BYTES: Final = 512
"""Elasticsearch refuses a whole bulk request for one longer id."""

MAX_KEYWORD_BYTES: Final = 32_766
"""Lucene's longest term."""

Kind = Literal["keyword", "text", "date", "long"]


def _as(kind: Kind, source: str, meaning: str, example: str, **extra: str | bool) -> Meta:
    return Meta(description=meaning, examples=[example], extra={"kind": kind, "source": source, **extra})


def _keyword(source: str, meaning: str, example: str, **extra: str | bool) -> Meta:
    return _as("keyword", source, meaning, example, **extra)


_Optional = str | UnsetType


class Document(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """The fields of a spec document: name, type, source, meaning, example.

    A field without a value is left out; a list may be empty.
    """

    package: Annotated[str, _keyword("`title`", "the package's name", "hdf5", words=True, any_case=True)]
    tag: Annotated[
        _Optional,
        _keyword("`categories[1]`, else the path", "the build cache that has it", "develop-2025-03-23"),
    ] = UNSET
    tag_date: Annotated[
        _Optional, _as("date", "`categories[1]`, else the path", "the date that the tag ends in", "2025-03-23")
    ] = UNSET
    version: Annotated[str, _keyword("`versions`", "the version, as Spack writes it", "1.14.5", order_by="version_key")]
    version_key: Annotated[str, _keyword("`versions`", "the version as a string in Spack's order", "2a12b142a50z")]
    git_ref: Annotated[
        _Optional,
        _keyword("`versions`", "branch, tag or commit of a version like git.v1.14=1.14.5", "v1.14"),
    ] = UNSET
    compiler: Annotated[
        _Optional,
        _keyword("`compiler`, with `@` for `@=`", "the compiler and its version, or none", "oneapi@2024.2.1"),
    ] = UNSET
    compiler_name: Annotated[
        _Optional, _keyword("`compiler`", "the compiler's name in today's spelling", "intel-oneapi-compilers")
    ] = UNSET
    compiler_version: Annotated[
        _Optional, _keyword("`compiler`", "the compiler's version", "2024.2.1", order_by="compiler_version_key")
    ] = UNSET
    compiler_version_key: Annotated[
        _Optional,
        _keyword("`compiler`", "the compiler's version as a string in Spack's order", "2d20242a22a10z"),
    ] = UNSET
    hash: Annotated[_Optional, _keyword("`hash`", "Spack's hash of the binary", "2elpvcmh4emktokzapzd6p2u7eljzalf")] = (
        UNSET
    )
    short_hash: Annotated[_Optional, _keyword("`hash`", "the first seven characters of the hash", "2elpvcm")] = UNSET
    binary: Annotated[
        str,
        _keyword(
            "`hash`, else a digest of the spec string",
            "the same for one binary in all its tags",
            "2elpvcmh4emktokzapzd6p2u7eljzalf",
        ),
    ]
    binary_number: Annotated[
        int,
        _as(
            "long",
            "`binary`",
            "a number for the binary, by which binaries are counted",
            "1807145088071154",
            counted=True,
        ),
    ]
    os: Annotated[_Optional, _keyword("`os`", "the operating system", "ubuntu22.04")] = UNSET
    platform: Annotated[_Optional, _keyword("`platform`", "the kind of system", "linux")] = UNSET
    target: Annotated[_Optional, _keyword("`target`", "the processor that it is built for", "x86_64_v3")] = UNSET
    stacks: Annotated[
        list[str], _keyword("`stacks`", "the stacks that it is in; `root` is the whole tag", "e4s-oneapi")
    ]
    variants: Annotated[list[str], _keyword("`variants`", "the variants, as the page writes them", "+mpi")]
    variant_names: Annotated[list[str], _keyword("`variants`", "the names of the variants that it has", "mpi")]
    variant_values: Annotated[list[str], _keyword("`variants`", "the variants, value by value", "+mpi")]
    size: Annotated[int | UnsetType, _as("long", "`size`", "how many bytes the binary takes", "7340032")] = UNSET
    spec: Annotated[
        str,
        _as(
            "text",
            "composed of the others",
            "the spec as Spack prints it",
            "hdf5@1.14.5+mpi arch=linux-ubuntu22.04-x86_64_v3 %oneapi@2024.2.1",
        ),
    ]
    page: Annotated[str, _keyword("the path", "the page, below the root", "_cache/develop-2025-03-23/hdf5/specs.md")]


class Field(NamedTuple):
    """One line of the table above."""

    name: str
    kind: Kind
    many: bool
    words: bool
    """It has a subfield ``NAME.text`` with the words of its value."""
    any_case: bool
    """It is found, counted and sorted in lower case."""
    order_by: str
    """The field that sorts it."""
    counted: bool
    """It only serves to count its distinct values: it can't be searched for."""

    @property
    def is_asked_for(self) -> bool:
        """It has values that people ask for, count and sort by."""
        return self.kind != "text" and not self.counted


def _field(name: str, hint: Any) -> Field:
    extra = _meta(hint).extra or {}
    many = get_origin(get_args(hint)[0]) is list
    words, any_case = extra.get("words", False), extra.get("any_case", False)
    order_by, counted = extra.get("order_by", name), extra.get("counted", False)
    return Field(name, extra["kind"], many, words, any_case, order_by, counted)


def _meta(hint: Any) -> Meta:
    return next(item for item in get_args(hint) if isinstance(item, Meta))


_HINTS: Final = get_type_hints(Document, include_extras=True)

FIELDS: Final = {name: _field(name, hint) for name, hint in _HINTS.items()}
"""The fields of a document by name."""

_OPTIONAL: Final = frozenset(each.name for each in msgspec.structs.fields(Document) if not each.required)


def is_optional(field: str) -> bool:
    """Tell whether documents may be without a field."""
    return field in _OPTIONAL


HELPERS: Final = (
    *(each.order_by for each in FIELDS.values() if each.order_by != each.name),
    *(each.name for each in FIELDS.values() if each.counted),
)
"""Fields that only serve to sort, to compare or to count others."""


class About(NamedTuple):
    """What people are told of a field. It may be worded anew without any index being made anew."""

    meaning: str
    source: str
    """What of a page it is from, in Markdown."""
    example: str
    """One value. Those of all fields but ``git_ref`` are of one document."""


def _about(meta: Meta) -> About:
    return About(meta.description or "", (meta.extra or {})["source"], (meta.examples or [""])[0])


ABOUT: Final = {name: _about(_meta(hint)) for name, hint in _HINTS.items()}


def fingerprint() -> str:
    """Return a digest of all that makes documents and index what they are; an index of another one is refilled."""
    parts = [RENDER_VERSION, INFINITY_VERSION, *FIELDS.values()]
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


Rendered = dict[str, bytes]
"""A page's documents, ready to be indexed: key → fields as JSON.

The key tells a spec from the others of its page: the hash, or a digest where the page has none.
"""


def document_id(page: str, key: str) -> str:
    """Return the id of a page's spec."""
    return f"{identity(page)}/{key}"


def key_of(page: str, id: str) -> str:
    """Return the key that is in the id of one of a page's specs."""
    return id[len(identity(page)) + 1 :]


def render(page: Page) -> Rendered | Problem:
    """Turn each spec of a page into its document, or say why one of them can't be."""
    lines = _encode_lines(_rows(page))
    sources = lines.split(b"\n")  # there is none in JSON, and nothing behind the last one
    rendered = dict(zip(page.specs, sources, strict=False))
    longest_id = len(page.path) + max(map(len, rendered), default=0)
    if longest_id * _MAX_CHARACTER_BYTES > MAX_ID_BYTES or len(lines) > MAX_KEYWORD_BYTES:
        return _unfit(page, rendered) or rendered
    return rendered


_MAX_CHARACTER_BYTES: Final = 4
"""How long a character can be in UTF-8."""


def _unfit(page: Page, rendered: Rendered) -> Problem | None:
    """Find the first document that no index takes, and say why."""
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
    """The distinct values of a page's specs."""

    versions: list[str]
    compilers: list[str]
    stacks: list[str]


def summary(page: Page) -> Summary:
    """Sum up a page for its record: versions in Spack's order, the rest by name."""
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
    """Return the fields of a stored document as they are rendered; of one that can't have been rendered, somehow."""
    try:
        return _encode(msgspec.convert(fields, Document))
    except msgspec.ValidationError:
        return _encode(fields)


def fitting(source: bytes, fields: Collection[str]) -> bytes:
    """Leave out of a document what an older index has no field for."""
    document: dict[str, msgspec.Raw] = msgspec.json.decode(source, type=dict[str, msgspec.Raw])
    return _encode({name: value for name, value in document.items() if name in fields})


def _row_type() -> Any:
    """Make a twin of :class:`Document` that takes its fields by position and at once, which is far cheaper."""
    names = Document.__struct_fields__
    return msgspec.defstruct("Row", [(name, Any, UNSET) for name in names], omit_defaults=True, gc=False)


_Row: Final = _row_type()


def _rows(page: Page) -> list[Any]:
    """Return the documents of a page, each as a row of the fields of :class:`Document`, in that order."""
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


@lru_cache(maxsize=4096)
def _build(
    compiler: str | None, os: str | None, platform: str | None, target: str | None
) -> tuple[_Optional, _Optional, _Optional, _Optional, _Optional, _Optional, _Optional, str]:
    """Return the four fields of the compiler, the three of the place, and the text that they give a spec."""
    built = _compiler(compiler or "")
    if platform and os and target:
        text = f" arch={platform}-{os}-{target}"
    else:
        parts = {"platform": platform, "os": os, "target": target}
        text = "".join(f" {name}={part}" for name, part in parts.items() if part)
    if built.name:
        text += f" %{built.text}"
    place = os or UNSET, platform or UNSET, target or UNSET
    return built.text or UNSET, built.name, built.version, built.version_key, *place, text


BINARY_NUMBER: Final = "binary_number"


def _number(binary: str) -> int:
    """Return a number that no two of some million binaries are likely to share, and that is exact in JavaScript too."""
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
"""Compilers that Spack 1.0 renamed when it made them packages."""


def todays_name(compiler: str) -> str:
    """Return a compiler's name in today's spelling."""
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
    """Put variants into a spec as Spack does, switches first: ``+mpi~shared build_system=cmake``."""
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
    """Return the date that a tag ends in, if it does."""
    match = _DATE.search(tag)
    if not match:
        return None
    try:
        return dt.date.fromisoformat(match[1]).isoformat()
    except ValueError:
        return None


def _long_value(source: bytes) -> str | None:
    """Name the first keyword field with a value that no index takes."""
    fields: dict[str, str | list[str]] = msgspec.json.decode(source)
    for name, value in fields.items():
        if FIELDS[name].kind == "keyword" and any(len(item.encode()) > MAX_KEYWORD_BYTES for item in _values(value)):
            return name
    return None


def _values(value: str | list[str]) -> Iterator[str]:
    yield from value if isinstance(value, list) else [value]

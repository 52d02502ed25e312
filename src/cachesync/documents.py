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
from msgspec import UNSET, Meta, UnsetType

from cachesync.pages.page import Page, Problem, identity
from cachesync.pages.spec import Spec
from cachesync.pages.version import INFINITY_VERSION, version_key

RENDER_VERSION: Final = 1
"""Raise it when the same page gives other documents than before: indices made by an older one are then refilled."""

MAX_ID_BYTES: Final = 512
"""Elasticsearch refuses a whole bulk request for one longer id."""

MAX_KEYWORD_BYTES: Final = 32_766
"""Lucene's longest term."""

Kind = Literal["keyword", "text", "date", "long"]


def _as(kind: Kind, source: str, **extra: str | bool) -> Meta:
    return Meta(description=source, extra={"kind": kind, **extra})


def _keyword(source: str, **extra: str | bool) -> Meta:
    return _as("keyword", source, **extra)


class Document(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """The fields of a spec document: name, type, source. A field without a value is left out; a list may be empty."""

    package: Annotated[str, _keyword("`title`", words=True)]
    tag: Annotated[str | UnsetType, _keyword("`categories[1]`, else the path")] = UNSET
    tag_date: Annotated[str | UnsetType, _as("date", "the date that the tag ends in")] = UNSET
    version: Annotated[str, _keyword("`versions`", order_by="version_key")]
    version_key: Annotated[str, _keyword("`versions`, as a text in Spack's order")]
    compiler: Annotated[str | UnsetType, _keyword("`compiler`, with `@` for `@=`")] = UNSET
    compiler_name: Annotated[str | UnsetType, _keyword("`compiler`, in today's spelling")] = UNSET
    compiler_version: Annotated[str | UnsetType, _keyword("`compiler`", order_by="compiler_version_key")] = UNSET
    compiler_version_key: Annotated[str | UnsetType, _keyword("`compiler`, as a text in Spack's order")] = UNSET
    hash: Annotated[str | UnsetType, _keyword("`hash`")] = UNSET
    digest: Annotated[str | UnsetType, _keyword("a digest of the spec string, where the page has no hash")] = UNSET
    os: Annotated[str | UnsetType, _keyword("`os`")] = UNSET
    platform: Annotated[str | UnsetType, _keyword("`platform`")] = UNSET
    target: Annotated[str | UnsetType, _keyword("`target`")] = UNSET
    stacks: Annotated[list[str], _keyword("`stacks`")]
    variants: Annotated[list[str], _keyword("`variants`")]
    size: Annotated[int | UnsetType, _as("long", "`size` in bytes")] = UNSET
    spec: Annotated[str, _as("text", "the spec as Spack prints it, composed")]
    page: Annotated[str, _keyword("the page's path below the root")]


class Field(NamedTuple):
    """One line of the table above."""

    name: str
    kind: Kind
    many: bool
    words: bool
    """It has a subfield ``NAME.text`` with the words of its value."""
    order_by: str
    """The field that sorts it."""


def _field(name: str, hint: Any) -> Field:
    meta = next(item for item in get_args(hint) if isinstance(item, Meta))
    extra = meta.extra or {}
    many = get_origin(get_args(hint)[0]) is list
    return Field(name, extra["kind"], many, extra.get("words", False), extra.get("order_by", name))


FIELDS: Final = {name: _field(name, hint) for name, hint in get_type_hints(Document, include_extras=True).items()}
"""The fields of a document by name."""


def fingerprint() -> str:
    """Return a digest of all that makes documents and index what they are; an index of another one is refilled."""
    parts = [RENDER_VERSION, INFINITY_VERSION, *FIELDS.values()]
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


class Rendered(NamedTuple):
    """A document ready to be indexed."""

    key: str
    """What tells it from the other specs of its page: the hash, or a digest where the page has none."""
    source: bytes
    """The fields as JSON."""


def document_id(page: str, key: str) -> str:
    """Return the id of a page's spec."""
    return f"{identity(page)}/{key}"


def key_of(page: str, id: str) -> str:
    """Return the key that is in the id of one of a page's specs."""
    return id[len(identity(page)) + 1 :]


def render(page: Page) -> list[Rendered] | Problem:
    """Turn each spec of a page into its document, or say why one of them can't be."""
    room = MAX_ID_BYTES - len(identity(page.path).encode()) - 1
    tag_date = _tag_date(page.tag) if page.tag else UNSET
    rendered = []
    for key, spec in page.specs.items():
        if len(key) > room or (len(key) * 4 > room and len(key.encode()) > room):
            return Problem(
                page.path, f"an id over {MAX_ID_BYTES} bytes: expected a shorter path or hash than {key:.40}…"
            )
        source = _encode(_document(page, key, spec, tag_date))
        if len(source) > MAX_KEYWORD_BYTES and (field := _long_value(source)):
            return Problem(page.path, f"{field} of {key}: expected values of at most {MAX_KEYWORD_BYTES:,} bytes")
        rendered.append(Rendered(key, source))
    return rendered


class Summary(NamedTuple):
    """The distinct values of a page's specs."""

    versions: list[str]
    compilers: list[str]
    stacks: list[str]


def summary(page: Page) -> Summary:
    """Sum up a page for its record: versions in Spack's order, the rest by name."""
    specs = page.specs.values()
    return Summary(
        sorted({spec.versions[0] for spec in specs}, key=lambda version: (version_key(version), version)),
        sorted({text for spec in specs if spec.compiler and (text := _compiler(spec.compiler).text)}),
        sorted({stack for spec in specs for stack in spec.stacks}),
    )


_encode: Final = msgspec.json.Encoder().encode


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


def _document(page: Page, key: str, spec: Spec, tag_date: str | UnsetType) -> Document:
    version = spec.versions[0]
    compiler = _compiler(spec.compiler or "")
    return Document(
        package=page.package,
        tag=page.tag or UNSET,
        tag_date=tag_date,
        version=version,
        version_key=version_key(version),
        compiler=compiler.text or UNSET,
        compiler_name=compiler.name,
        compiler_version=compiler.version,
        compiler_version_key=compiler.version_key,
        hash=spec.hash or UNSET,
        digest=UNSET if spec.hash else key,
        os=spec.os or UNSET,
        platform=spec.platform or UNSET,
        target=spec.target or UNSET,
        stacks=spec.stacks,
        variants=spec.variants,
        size=spec.size if isinstance(spec.size, int) else UNSET,
        spec=_text(page.package, version, spec, compiler),
        page=page.path,
    )


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


@lru_cache(maxsize=4096)
def _compiler(written: str) -> _Compiler:
    text = written.replace("@=", "@", 1)
    name, _, version = text.partition("@")
    if not name or text == "none":
        return _Compiler(text)
    name = _TODAYS_NAME.get(name, name)
    return _Compiler(text, name, version, version_key(version)) if version else _Compiler(text, name)


def _text(package: str, version: str, spec: Spec, compiler: _Compiler) -> str:
    """Compose ``hdf5@1.14.5~cxx+mpi build_system=cmake arch=linux-ubuntu22.04-zen3 %gcc@11.4.0``, in Spack's order."""
    switches = ""
    text = f"{package}@{version}"
    values = ""
    for variant in spec.variants:
        if variant[:1] in ("+", "~"):
            switches += variant
        else:
            values += " " + variant
    text = f"{text}{switches}{values}"
    if spec.platform and spec.os and spec.target:
        text += f" arch={spec.platform}-{spec.os}-{spec.target}"
    else:
        parts = {"platform": spec.platform, "os": spec.os, "target": spec.target}
        text += "".join(f" {name}={part}" for name, part in parts.items() if part)
    return f"{text} %{compiler.text}" if compiler.name else text


_DATE: Final = re.compile(r"(?:^|-)(\d{4}-\d{2}-\d{2})$")


def _tag_date(tag: str) -> str | UnsetType:
    match = _DATE.search(tag)
    if not match:
        return UNSET
    try:
        return dt.date.fromisoformat(match[1]).isoformat()
    except ValueError:
        return UNSET


def _long_value(source: bytes) -> str | None:
    """Name the first keyword field with a value that no index takes."""
    fields: dict[str, str | list[str]] = msgspec.json.decode(source)
    for name, value in fields.items():
        if FIELDS[name].kind == "keyword" and any(len(item.encode()) > MAX_KEYWORD_BYTES for item in _values(value)):
            return name
    return None


def _values(value: str | list[str]) -> Iterator[str]:
    yield from value if isinstance(value, list) else [value]

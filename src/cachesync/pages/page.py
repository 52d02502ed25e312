"""Pages: bytes → :class:`Page` | :class:`Problem`.

There are two parsers with the same results. In real pages, nearly all bytes belong to values that are one line of JSON
or, in pages of 2022, have one line for each spec string. The fast parser cuts these values out of the front matter and
decodes them separately; only the rest, a few lines that are the same on most pages, is parsed as YAML. The safe parser
reads the whole front matter as YAML, which takes 20 times as long. Pages about which the fast parser has any doubt are
left to the safe parser, which also reports the problems.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from cachesync import yamltext
from cachesync.pages import jsonyaml, specstring
from cachesync.pages.jsonyaml import DoubtError
from cachesync.pages.spec import Spec
from cachesync.pages.visible import hidden, untidy
from cachesync.yamltext import Mapping, Sequence, Value, YamlError, describe, line_of

PREFIX: Final = "_cache/"
SUFFIX: Final = "/specs.md"
MAX_SIZE: Final = 2**63 - 1


class Problem(msgspec.Struct, frozen=True):
    """The problem with a page: what is wrong, what was expected and, if known, the line (counted from 1)."""

    page: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.message}" if self.line else f"{self.page}: {self.message}"


def by_page(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems by page, for display."""
    return sorted(problems, key=lambda problem: problem.page)


class Page(msgspec.Struct):
    """A complete, valid page: its path below the root, and its specs by key (a spec's hash, or a digest)."""

    path: str
    package: str
    tag: str | None
    specs: dict[str, Spec]


def identity(path: str) -> str:
    """Return the prefix of the IDs of a page's documents: the page's path without ``_cache/`` and ``/specs.md``."""
    return path.removeprefix(PREFIX).removesuffix(SUFFIX)


def folder_of(path: str) -> str:
    """Return the name of a page's folder, which is the name of the page's package."""
    return identity(path).rpartition("/")[2]


def tag_of(path: str) -> str | None:
    """Return TAG of ``_cache/TAG/PACKAGE/specs.md``, or None for ``_cache/PACKAGE/specs.md``, the form of 2021."""
    tag, slash, _ = identity(path).partition("/")
    return tag if slash else None


def parse(path: str, data: bytes) -> Page | Problem:
    """Parse one page. The path is relative to the root, and its separator is ``/`` on every system."""
    return parse_fast(path, data) or parse_safely(path, data)


class _FaultError(Exception):
    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


# --- the front matter ---------------------------------------------------------------------------------------------


class _FrontMatter(NamedTuple):
    """The slice between the two ``---`` lines and, by key, the slices of values that can be decoded without YAML."""

    place: slice
    values: dict[str, slice]


_OPENING: Final = re.compile(rb"(?:\xef\xbb\xbf)?---[ \t]*\r?(?=\n|\Z)")
_LANDMARK: Final = re.compile(
    rb"""\n(?:
        (?P<closing>---|\.\.\.)[ \t]*\r?(?=\n|\Z)
      | (?P<json>title|meta|spec_details):\ +(?=["\[{])
      | (?P<listed>spec_files|spec_names):\ *(?=\n\ -)
    )""",
    re.VERBOSE,
)
_CLOSED_BY: Final = {b'"': b'"', b"[": b"]", b"{": b"}"}
_BEHIND_JSON: Final = re.compile(rb"(?:[ \t]+\#[^\n]*|[ \t]*\r?)(?=\n|\Z)")
_LISTED: Final = re.compile(rb"(?:\n - (?:'[^'\n]+'|[A-Za-z0-9_][A-Za-z0-9_.+-]*)(?=\n))++(?=[ \n]*\n[A-Za-z.-])")


def _front_matter(data: bytes) -> _FrontMatter:
    """Find the front matter of a page, which starts on line 2."""
    _require_text(data)
    opening = _OPENING.match(data)
    if not opening:
        raise _FaultError("no front matter: expected '---' as the first line", 1)
    values: dict[str, slice] = {}
    position = opening.end()
    while landmark := _LANDMARK.search(data, position):
        kind, position = landmark.lastgroup, landmark.end()
        if kind == "closing":
            return _FrontMatter(slice(opening.end() + 1, landmark.start() + 1), values)
        value = _json_at(data, position) if kind == "json" else _listed_at(data, position)
        if value:
            values.setdefault(landmark[landmark.lastindex or 0].decode(), value)
            position = value.stop
    last_line = data.count(b"\n") + (not data.endswith(b"\n"))
    raise _FaultError(
        "the front matter has no end: expected a closing '---' line; the file looks half-written", last_line
    )


def _require_text(data: bytes) -> None:
    try:
        data.isascii() or data.decode()
    except UnicodeDecodeError as error:
        raise _FaultError(
            f"not UTF-8: expected text in UTF-8, found byte {data[error.start]:#04x}",
            1 + data.count(b"\n", 0, error.start),
        ) from None
    if b"\0" in data:
        raise _FaultError(
            "a NUL byte: expected text; the file looks damaged", 1 + data.count(b"\n", 0, data.index(b"\0"))
        )


def _json_at(data: bytes, start: int) -> slice | None:
    """Find a value that looks like JSON and ends with the last bracket or quotation mark on its line."""
    line_end = data.find(b"\n", start)
    end = data.rfind(_CLOSED_BY[data[start : start + 1]], start + 1, line_end if line_end >= 0 else len(data)) + 1
    return slice(start, end) if end and (end == line_end or _BEHIND_JSON.match(data, end)) else None


def _listed_at(data: bytes, start: int) -> slice | None:
    """Find a list with one line for each item, such as ``- 'zlib@1.2.12'`` or ``- spec-0.json``."""
    listed = _LISTED.match(data, start)
    return slice(start, listed.end()) if listed else None


# --- the fast parser ----------------------------------------------------------------------------------------------


def parse_fast(path: str, data: bytes) -> Page | None:
    """Parse a page without using YAML for its large values, or return None in case of doubt.

    The safe parser returns the same page, unless it rejects the page for having too many values. The fast parser
    doesn't limit the number of values because decoded JSON takes no more memory than its size suggests.
    """
    try:
        matter = _front_matter(data)
        values = {key: data[value] for key, value in matter.values.items()}
        if "spec_details" not in values and "spec_names" not in values:
            return None
        front = _read_remainder(data, matter)
        if "title" in values:
            front["title"] = _text(values["title"])
        if "meta" in values:
            _require_mapping(values["meta"])
        return Page(path, _package(front), _tag(front, path), _specs_in(values, front))
    except (DoubtError, _FaultError, YamlError, msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _specs_in(values: dict[str, bytes], front: Mapping) -> dict[str, Spec]:
    if "spec_details" in values:
        return _detailed(values["spec_details"])
    if "spec_details" in front:
        raise DoubtError
    return _listed(values["spec_names"])


def _read_remainder(data: bytes, matter: _FrontMatter) -> Mapping:
    """Parse the front matter as YAML, with an empty list in place of each value that is decoded without YAML.

    YAML is parsed from front to back. If each key is at the top level and on the line where it was found, everything
    before its value was parsed correctly. So was everything after it, because an empty list is also a complete value.
    """
    parts: list[bytes] = []
    lines: dict[str, int] = {}
    line, position = 2, matter.place.start
    for key, value in matter.values.items():
        before = data[position : value.start]
        line += before.count(b"\n")
        lines[key] = line
        parts += before, b" []"
        position = value.stop
    remainder = b"".join([*parts, data[position : matter.place.stop]])
    front = (_read_short if len(remainder) < _SHORT else _read)(remainder)
    if any(front.lines.get(key) != line for key, line in lines.items()):
        raise DoubtError
    copy = Mapping(front.line)
    copy.update(front)
    copy.lines = front.lines
    return copy


_SHORT: Final = 1_000
"""Remainders with fewer bytes are cached because other pages may have the same remainder."""

_OTHER_LINE_BREAK: Final = re.compile("\r(?!\n)|[\x85\u2028\u2029]")


def _read(remainder: bytes) -> Mapping:
    text = remainder.decode()
    front = yamltext.load(text, 2)
    if not isinstance(front, Mapping) or _OTHER_LINE_BREAK.search(text):
        raise DoubtError
    return front


_read_short: Final = lru_cache(maxsize=64)(_read)


_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_details: Final = msgspec.json.Decoder(list[Spec]).decode


def _text(value: bytes) -> str:
    jsonyaml.require_plain(value)
    return _decode_text(value)


_decode_meta: Final = msgspec.json.Decoder(dict[str, list[str] | int]).decode


def _require_mapping(meta: bytes) -> None:
    """Check that YAML would also accept ``meta``, whose content isn't used.

    If there are as many strings as keys and items, no key is duplicate; otherwise a slower check is needed.
    """
    jsonyaml.require_plain(meta)
    try:
        found = _decode_meta(meta)
    except msgspec.ValidationError:
        jsonyaml.require_unique_keys(meta)
        return
    items = sum([len(each) for each in found.values() if type(each) is list])
    if meta.count(b'"') != 2 * (len(found) + items) or max(map(len, found), default=0) > jsonyaml.MAX_KEY:
        jsonyaml.require_unique_keys(meta)


def _detailed(value: bytes) -> dict[str, Spec]:
    """Parse a value of ``spec_details`` that is one line of JSON."""
    jsonyaml.require_plain(value)
    details = _decode_details(value)
    specs = {spec.hash or "": spec for spec in details}
    if len(specs) == len(details) and _are_usual(specs, value) and _have_only_usual_keys(specs.values(), value):
        return specs
    jsonyaml.require_unique_keys(value)
    return _checked(details, lambda _position, _field: 0)


def _are_usual(specs: dict[str, Spec], value: bytes) -> bool:
    """Whether all entries are certainly valid. Checking the entries one by one would take as long as parsing them."""
    entries = specs.values()
    try:
        texts = {
            text
            for each in entries
            for (version,) in (each.versions,)
            for text in (version, each.compiler, each.os, each.platform, each.target)
        }
    except ValueError:
        return False
    return (
        "".join(specs).encode().isalnum()
        and "" not in specs
        and {each.size for each in entries} == {"-"}
        and all(texts)
        and texts == {text and text.strip() for text in texts}
        and (_is_plain(value) or _all_visible(texts, entries))
    )


def _is_plain(value: bytes) -> bool:
    """Whether JSON is ASCII without escapes, and therefore has no control characters, which JSON must escape."""
    return value.isascii() and b"\\" not in value


def _all_visible(texts: set[str | None], entries: Collection[Spec]) -> bool:
    words = texts.union(*[each.variants for each in entries], *[each.stacks for each in entries])
    return not hidden("".join(filter(None, words)))


class _Listing(msgspec.Struct):
    variants: msgspec.Raw
    stacks: msgspec.Raw


class _Stored(msgspec.Struct):
    tarball: str


_decode_listings: Final = msgspec.json.Decoder(list[_Listing]).decode
_decode_stored: Final = msgspec.json.Decoder(list[_Stored]).decode
_KEYS: Final = len(Spec.__struct_fields__)
_VALUES: Final = _KEYS - 2
"""The number of strings among the values of an entry, not counting the items of ``variants`` and ``stacks``."""


def _have_only_usual_keys(entries: Collection[Spec], value: bytes) -> bool:
    """Whether valid entries have only the usual keys, each once, judged by the number of strings in the JSON.

    Valid entries have all keys because none of their values is missing. If the JSON contains no more strings than these
    keys and the values, no key is duplicate or unusual. Entries of 2023 and 2024 also have a ``tarball``. Escaped
    quotation marks are counted as well, so a page that contains them seems to have more strings.
    """
    lengths = [len(each.variants) for each in entries] + [len(each.stacks) for each in entries]
    others = value.count(b'"') - 2 * ((_KEYS + _VALUES) * len(entries) + sum(lengths))
    return (
        others in {0, 4 * len(entries)}
        and (all(lengths) or _fits(_decode_listings, value))
        and (not others or _fits(_decode_stored, value))
    )


def _fits(decode: Callable[[bytes], object], value: bytes) -> bool:
    try:
        decode(value)
    except msgspec.ValidationError:
        return False
    return True


def _listed(value: bytes) -> dict[str, Spec]:
    """Parse a list of ``spec_names``. Backslashes between single quotes aren't escapes in YAML."""
    lines = value.decode().removeprefix("\n").split("\n")
    if not all(map(str.isprintable, lines)):
        raise DoubtError
    return dict(_named(line.removeprefix(" - ").strip("'")) for line in lines)


# --- the safe parser ----------------------------------------------------------------------------------------------


def parse_safely(path: str, data: bytes) -> Page | Problem:
    """Parse a page by reading its whole front matter as YAML."""
    try:
        front = _read_whole(data)
        return Page(path, _package(front), _tag(front, path), _specs(front))
    except (_FaultError, YamlError) as error:
        return Problem(path, error.message, error.line)


def _read_whole(data: bytes) -> Mapping:
    front = yamltext.load(data[_front_matter(data).place].decode(), 2)
    if not isinstance(front, Mapping):
        raise _FaultError(f"expected 'key: value' lines in the front matter, found {describe(front)}", 2)
    return front


def _specs(front: Mapping) -> dict[str, Spec]:
    if "spec_details" in front:
        details = _convert(front["spec_details"], front)
        return _checked(details, lambda position, field: _line(front, ["spec_details", position, field]))
    if "spec_names" in front:
        return _all_named(front)
    raise _FaultError("neither spec_details nor spec_names: expected the list of the page's specs", front.line)


def _convert(details: Value, front: Mapping) -> list[Spec]:
    try:
        return msgspec.convert(details, list[Spec])
    except msgspec.ValidationError as error:
        raise _wrong_type(str(error), front) from None


def _wrong_type(message: str, front: Mapping) -> _FaultError:
    """Translate msgspec's ``Expected `str`, got `array` - at `$[3].hash` `` into the page's terms, and add the line."""
    match = re.search(r"Expected `([^`]*)`, got `([^`]*)`(?: - at `\$([^`]*)`)?", message)
    if not match:
        return _FaultError(f"spec_details: {message}", _line(front, ["spec_details"]))
    words = {"str": "text", "array": "a list", "object": "a mapping", "null": "nothing", "int": "a number"}
    expected = match[1].replace(" | null", "").split(" | ")
    path: list[str | int] = ["spec_details"]
    path += [name or int(position) for position, name in re.findall(r"\[(\d+)\]|\.(\w+)", match[3] or "")]
    where = "spec_details" + (match[3] or "")
    wanted = " or ".join(words.get(name, name) for name in expected)
    return _FaultError(f"{where}: expected {wanted}, found {words.get(match[2], match[2])}", _line(front, path))


def _all_named(front: Mapping) -> dict[str, Spec]:
    """Parse the list of spec strings that pages of 2021 and 2022 have."""
    names = front["spec_names"]
    if not isinstance(names, Sequence):
        raise _FaultError(
            f"spec_names: expected a list of spec strings, found {describe(names)}", _line(front, ["spec_names"])
        )
    specs = {}
    for position, name in enumerate(names):
        line = names.lines[position]
        if not isinstance(name, str):
            raise _FaultError(f"spec_names[{position}]: expected a spec string, found {describe(name)}", line)
        try:
            key, specs[key] = _named(name)
        except ValueError as error:
            raise _FaultError(f"spec_names[{position}]: {error} of {name!r:.80}", line) from None
    return specs


# --- both parsers -------------------------------------------------------------------------------------------------


def _line(front: Mapping, path: list[str | int]) -> int:
    return line_of(front, path, front.line)


def _package(front: Mapping) -> str:
    title = front.get("title")
    if not isinstance(title, str) or not title.strip():
        found = describe(title) if "title" in front else "no such key"
        raise _FaultError(f"title: expected the package's name, found {found}", _line(front, ["title"]))
    if flaw := untidy(title):
        raise _FaultError(f"title: {flaw}", _line(front, ["title"]))
    return title


def _tag(front: Mapping, path: str) -> str | None:
    written = _categories_tag(front)
    tag = written or tag_of(path)
    if tag and (flaw := untidy(tag)):
        line = _line(front, ["categories", 1]) if written else None
        raise _FaultError(f"{'categories[1]' if written else 'the folder of the tag'}: {flaw}", line)
    return tag


def _categories_tag(front: Mapping) -> str | None:
    """Return TAG of ``categories: [package, TAG]``, or None for pages of 2021, which have no tag."""
    categories = front.get("categories")
    if categories is None:
        return None
    if not isinstance(categories, Sequence) or not all(isinstance(item, str) for item in categories):
        raise _FaultError(
            f"categories: expected [package, TAG], found {describe(categories)}", _line(front, ["categories"])
        )
    return str(categories[1]) if len(categories) > 1 else None


def _named(name: str) -> tuple[str, Spec]:
    """Return the key and the spec of a spec string. The key is a digest because a spec string has no hash.

    Raises:
        ValueError: the spec string is invalid.
    """
    if flaw := hidden(name):
        raise ValueError(flaw)
    return hashlib.blake2b(name.strip().encode(), digest_size=16).hexdigest(), specstring.parse(name)


def _checked(details: list[Spec], line_at: Callable[[int, str], int]) -> dict[str, Spec]:
    specs: dict[str, Spec] = {}
    for position, spec in enumerate(details):
        if spec.size != "-":
            spec.size = _size(spec.size)
        fault = _entry_fault(spec)
        if fault:
            field, message = fault
            raise _FaultError(f"spec_details[{position}].{field}: {message}", line_at(position, field))
        key = spec.hash or ""
        first = specs.setdefault(key, spec)
        if first is not spec and first != spec:
            message = f"{key} occurs twice with different values; expected one entry for each hash"
            raise _FaultError(f"spec_details[{position}].hash: {message}", line_at(position, "hash"))
    return specs


def _size(size: int | str | None) -> int | str | None:
    """Convert a size from YAML, which yields all values as text, to the number that JSON yields."""
    return int(size) if isinstance(size, str) and re.fullmatch(r"-?[0-9]{1,20}", size) else size


def _entry_fault(spec: Spec) -> tuple[str, str] | None:
    """Return the first invalid field of an entry and what is wrong with it, or None if the entry is valid."""
    hash, versions, size = spec.hash, spec.versions, spec.size
    if not hash:
        return "hash", "missing; expected the spec's hash"
    if len(versions) != 1 or not versions[0] or versions[0].isspace():
        return "versions", f"expected a list of exactly one version, found {versions!r:.80}"
    if flaw := _flaw_of(spec):
        return flaw
    if not hash.isalnum() and re.search(r"[\s/]", hash):
        return "hash", f"expected letters and digits, found {hash!r:.80}"
    if size != "-" and size is not None and not (isinstance(size, int) and 0 <= size <= MAX_SIZE):
        return "size", f"expected a number of bytes or '-', found {size!r:.80}"
    return None


def _flaw_of(spec: Spec) -> tuple[str, str] | None:
    """Return the first field with invisible characters, and describe them. A variant's value may end in a space."""
    for field in ("hash", "compiler", "os", "platform", "target"):
        if flaw := untidy(getattr(spec, field) or ""):
            return field, flaw
    if flaw := untidy(spec.versions[0]):
        return "versions", flaw
    for field in ("stacks", "variants"):
        for text in getattr(spec, field):
            if flaw := hidden(text):
                return field, flaw
    return None

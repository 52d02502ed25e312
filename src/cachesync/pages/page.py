"""Pages: bytes → :class:`Page` | :class:`Problem`.

Two ways lead to the same page. Real pages have ``spec_details`` as one line of JSON, which the fast way reads with
typed structs, or, those of 2022, a line for each spec string. Whatever else a page may be (edited by hand, broken)
takes the safe way: YAML with text as written. A 2.7 MB page takes 0.03 s the one way and seconds the other.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from cachesync import yamltext
from cachesync.pages import specstring
from cachesync.pages.spec import Spec
from cachesync.yamltext import Mapping, Sequence, Value, YamlError, describe, line_of

PREFIX: Final = "_cache/"
SUFFIX: Final = "/specs.md"
MAX_SIZE: Final = 2**63 - 1


class Problem(msgspec.Struct, frozen=True):
    """Why a page can't be used: what is wrong, what was expected, and the line (from 1) where it is known."""

    page: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.message}" if self.line else f"{self.page}: {self.message}"


def by_page(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems in the order in which they are shown."""
    return sorted(problems, key=lambda problem: problem.page)


class Page(msgspec.Struct):
    """A page that is whole and valid: its path below the root, and its specs by their key (the hash, or a digest)."""

    path: str
    package: str
    tag: str | None
    specs: dict[str, Spec]


def identity(path: str) -> str:
    """Return what the ids of a page's documents start with: its path without ``_cache/`` and ``/specs.md``."""
    return path.removeprefix(PREFIX).removesuffix(SUFFIX)


def parse(path: str, data: bytes) -> Page | Problem:
    """Read one page; ``path`` is relative to the root, with ``/`` on every system."""
    try:
        return _fast(path, data) or _safe(path, data)
    except _FaultError as fault:
        return Problem(path, fault.message, fault.line)
    except YamlError as error:
        return Problem(path, error.message, error.line)


class _FaultError(Exception):
    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


# --- the fast way -------------------------------------------------------------------------------------------------

_PLAIN: Final = rb"(?!null\b|Null\b|NULL\b)[A-Za-z0-9_][A-Za-z0-9_.+-]*"
_HEAD: Final = re.compile(
    rb"""---\n
    title:\ +(?:"(?P<quoted>[!\#-\[\]-~]+)"|(?P<title>%(plain)b))\ *\n
    (?:layout:\ +%(plain)b\ *\n)?
    categories:\ +\[%(plain)b(?:,\ *(?P<tag>%(plain)b))?\]\ *\n
    (?:meta:\ +(?P<meta>.*)\n)?
    (?:(?P<details>spec_details:\ +)|spec_files:\ *\n(?:\ -\ %(plain)b\n)*spec_names:\ *\n)"""
    % {b"plain": _PLAIN},
    re.VERBOSE,
)
"""A page down to its specs, as the site writes it."""


class _Meta(msgspec.Struct):
    """A mapping of which nothing is wanted but that it is one."""


_decode_details: Final = msgspec.json.Decoder(list[Spec]).decode
_decode_meta: Final = msgspec.json.Decoder(_Meta).decode


def _fast(path: str, data: bytes) -> Page | None:
    """Read a page as the site writes it, or return None where anything about it is unusual.

    Where it reads a page, the safe way would read the same, but for JSON's keys over 1,024 characters, which YAML
    refuses. Hence only ASCII: YAML folds and refuses some characters that JSON keeps.
    """
    head = _HEAD.match(data)
    if not head or not data.isascii() or b"\0" in data or b"\x7f" in data:
        return None
    quoted, title, tag, meta, details = head.groups()
    start = head.end()
    end = data.find(b"\n" if details else b"\n---", start)
    if end < 0 or data[end + 1 : end + 5] not in _CLOSED:
        return None
    try:
        if meta:
            _decode_meta(meta)
        specs = _detailed(data, start, end) if details else _listed(data[start:end].decode().split("\n"))
    except (msgspec.MsgspecError, RecursionError):
        return None
    if specs is None:
        return None
    return Page(path, (quoted or title).decode(), tag.decode() if tag else tag_of(path), specs)


_CLOSED: Final = frozenset({b"---", b"---\n"})


def _detailed(data: bytes, start: int, end: int) -> dict[str, Spec]:
    """Read ``spec_details`` in one line of JSON."""
    details = _decode_details(data[start:end])
    return _keyed(details, lambda _position, _field: 1 + data.count(b"\n", 0, start))


def _listed(lines: list[str]) -> dict[str, Spec] | None:
    """Read ``spec_names`` in lines like ``- 'zlib@1.2.12'``: between single quotes YAML takes text as it is."""
    for line in lines:
        if line[:4] != " - '" or line[-1] != "'" or line.count("'") != 2 or not line.isprintable():
            return None
    try:
        return dict(_named(line[4:-1]) for line in lines)
    except ValueError:
        return None


# --- the safe way -------------------------------------------------------------------------------------------------

_CLOSING: Final = re.compile(r"^(?:---|\.\.\.)[ \t]*\r?$", re.MULTILINE)


def _safe(path: str, data: bytes) -> Page:
    text, first_line = _front_matter(data)
    front = yamltext.load(text, first_line)
    if not isinstance(front, Mapping):
        raise _FaultError(f"expected 'key: value' lines in the front matter, found {describe(front)}", first_line)
    package = _package(front)
    tag = _categories_tag(front) or tag_of(path)
    if "spec_details" in front:
        details = front["spec_details"]
        specs = _keyed(
            _convert(details, front), lambda position, field: _line(front, ["spec_details", position, field])
        )
    elif "spec_names" in front:
        specs = _all_named(front)
    else:
        raise _FaultError("neither spec_details nor spec_names: expected the list of the page's specs", front.line)
    return Page(path, package, tag, specs)


def _front_matter(data: bytes) -> tuple[str, int]:
    """Return the text between the two ``---`` lines and the line on which it starts."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _FaultError(
            f"not UTF-8: expected text in UTF-8, found byte {data[error.start]:#04x}",
            1 + data.count(b"\n", 0, error.start),
        ) from None
    if b"\0" in data:
        raise _FaultError(
            "a NUL byte: expected text; the file looks damaged", 1 + data.count(b"\n", 0, data.index(b"\0"))
        )
    opening = re.match(r"---[ \t]*\r?(?:\n|$)", text)
    if not opening:
        raise _FaultError("no front matter: expected '---' as the first line", 1)
    closing = _CLOSING.search(text, opening.end())
    if not closing:
        raise _FaultError(
            "the front matter has no end: expected a closing '---' line; the file looks half-written",
            text.count("\n") + (not text.endswith("\n")),
        )
    return text[opening.end() : closing.start()], 2


def _line(front: Mapping, path: list[str | int]) -> int:
    return line_of(front, path, front.line)


def _package(front: Mapping) -> str:
    title = front.get("title")
    if not isinstance(title, str) or not title.strip() or title != title.strip():
        found = describe(title) if "title" in front else "no such key"
        raise _FaultError(f"title: expected the package's name, found {found}", _line(front, ["title"]))
    return title


def _categories_tag(front: Mapping) -> str | None:
    """``categories: [package, TAG]``; pages of 2021 have none."""
    categories = front.get("categories")
    if categories is None:
        return None
    if not isinstance(categories, Sequence) or not all(isinstance(item, str) for item in categories):
        raise _FaultError(
            f"categories: expected [package, TAG], found {describe(categories)}", _line(front, ["categories"])
        )
    return str(categories[1]) if len(categories) > 1 else None


def folder_of(path: str) -> str:
    """Return the folder of a page, which is called like its package."""
    return identity(path).rpartition("/")[2]


def tag_of(path: str) -> str | None:
    """Return the tag's folder: ``_cache/TAG/PACKAGE/specs.md``. In ``_cache/PACKAGE/specs.md`` (2021) there is none."""
    tag, slash, _ = identity(path).partition("/")
    return tag if slash else None


def _convert(details: Value, front: Mapping) -> list[Spec]:
    try:
        return msgspec.convert(details, list[Spec])
    except msgspec.ValidationError as error:
        raise _wrong_type(str(error), front) from None


def _wrong_type(message: str, front: Mapping) -> _FaultError:
    """Say msgspec's ``Expected `str`, got `array` - at `$[3].hash` `` in the page's own words and with the line."""
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
    """Read the spec strings of 2021 and 2022."""
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


# --- both ways ----------------------------------------------------------------------------------------------------


def _named(name: str) -> tuple[str, Spec]:
    """Read a spec string and key it by a digest, since it has no hash.

    Raises:
        ValueError: it can't be used.
    """
    return hashlib.blake2b(name.strip().encode(), digest_size=16).hexdigest(), specstring.parse(name)


def _keyed(details: list[Spec], line_at: Callable[[int, str], int]) -> dict[str, Spec]:
    """Check the entries of ``spec_details`` and key them by their hashes. Two equal entries of one hash are one.

    ``line_at`` gives the line of a field of the entry at a position.
    """
    specs = {spec.hash or "": spec for spec in details}
    if len(specs) == len(details) and _are_usual(specs):
        return specs
    return _checked(details, line_at)


def _are_usual(specs: dict[str, Spec]) -> bool:
    """Tell whether entries are beyond doubt, all at once: looking at each takes many times as long."""
    entries = specs.values()
    try:
        versions = {version for (version,) in [spec.versions for spec in entries]}
    except ValueError:
        return False
    sizes = {spec.size for spec in entries}
    return sizes <= _NO_SIZE and "" not in specs and "".join(specs).isalnum() and all(map(str.strip, versions))


_NO_SIZE: Final = frozenset({"-", None})


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
    """Turn a number in text, as YAML has it, into the number that JSON has."""
    return int(size) if isinstance(size, str) and re.fullmatch(r"-?[0-9]{1,20}", size) else size


def _entry_fault(spec: Spec) -> tuple[str, str] | None:
    """Return the field of an entry that can't be used, and why."""
    hash, versions, size = spec.hash, spec.versions, spec.size
    if not hash:
        return "hash", "missing; expected the spec's hash"
    if not hash.isalnum() and (not hash.isprintable() or re.search(r"[\s/]", hash)):
        return "hash", f"expected letters and digits, found {hash!r:.80}"
    if len(versions) != 1 or not versions[0] or versions[0].isspace():
        return "versions", f"expected a list of exactly one version, found {versions!r:.80}"
    if size != "-" and size is not None and not (isinstance(size, int) and 0 <= size <= MAX_SIZE):
        return "size", f"expected a number of bytes or '-', found {size!r:.80}"
    return None

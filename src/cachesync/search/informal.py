"""Translate informal queries, which are clear but not in Spack's grammar, such as ``hdf5==1.14`` and quoted words.

The rest of a query keeps its position so that errors refer to the characters that were typed.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from cachesync.errors import QueryError
from cachesync.search.spec import Word

_CHUNK: Final = re.compile(r"""(?:="[^"]*"|='[^']*'|\S)+""")
_QUOTES: Final = "\"'`\u2018\u2019\u201c\u201d"
_SEPARATORS: Final = ",;"
_PLUSES: Final = re.compile(r"[A-Za-z0-9][\w.-]*\+{1,2}")
_VERSIONED: Final = re.compile(
    r"(?P<name>(?:\S*%)?[A-Za-z0-9][\w-]*)(?P<sign>==|/)v?(?P<version>\d[\w.-]*)(?P<rest>[+~%,:].*)?", re.DOTALL
)
_VERSION_SUFFIX: Final = re.compile(
    r"[-_:#@.]?v?(?P<version>\d[\d.]*(?:[-.]?(?:rc|alpha|beta)\d*)?)|_(?P<apart>\d+(?:_\d+)+)", re.ASCII
)
_NAME: Final = re.compile(r"[A-Za-z][\w.-]*", re.ASCII)
_MODULE: Final = re.compile(
    r"(?P<name>[A-Za-z][\w-]*?)[-/](?P<version>\d[\w.]*)-"
    r"(?P<compiler>aocc|apple-clang|arm|cce|clang|fj|gcc|intel|intel-oneapi-compilers|llvm|nag|nvhpc|oneapi|rocmcc|xl)"
    r"(?:-(?P<of>\d[\w.]*?))?(?:-(?P<hash>[a-z2-7]{7,32}))?"
)
"""The form of the names that Spack gives to modules and install folders."""

_COMPARED: Final = re.compile(r"(?P<name>[\w.+-]*?)@?(?P<sign>[<>]=?|[~!]=)(?P<version>\d[\w.]*)?")
_COMMAND: Final = re.compile(
    r"\s*((?:spack\s+(?:install|find|spec|load|info|add|concretize|buildcache\s+[a-z]+)|pip3?\s+install|"
    r"(?:conda|mamba|brew|apt|apt-get|dnf|yum)\s+install|module\s+(?:load|add|avail|spider))"
    r"(?:\s+(?:-[A-Za-z]|--[a-z-]+))*)\s+(?=\S)"
)
_JOINING: Final = frozenset(("and", "built", "by", "compiled", "for", "in", "of", "on", "the", "using", "with"))
"""English words that only join other words, as in ``hdf5 with mpi for zen4``."""

_PHRASES: Final = re.compile(
    r"(?<!\S)(?:(?P<since>or\s+(?:newer|later|higher|above|greater|more))|(?P<until>or\s+(?:older|earlier|lower|below|less))"
    r"|(?P<without>without))(?!\S)",
    re.IGNORECASE,
)
"""English phrases for which Spack's grammar has a sign."""

_NAMESPACE: Final = "builtin."
_WITHOUT_TYPOGRAPHY: Final = "Quotes, commas and stars around words are left out."
_NOT_IN_HASHES: Final = re.compile("[^a-z2-7]")
_ID: Final = re.compile(r"https?://\S+|[^/\s=@%]+/[^/\s=@%]+/[a-z2-7]{32}")

SIGIL: Final = re.compile(
    r"[@%^~=/]|^[+~-](?=[A-Za-z0-9_])|(?<=\s)[+~-]\s*(?=[A-Za-z0-9_])|(?<=[\w.])\+(?=[A-Za-z0-9_])"
)
"""The signs that make a query a spec because they can only be part of Spack's grammar."""


class Typed(NamedTuple):
    """The translation of an informal query."""

    text: str
    """The query in its original length, with spaces in place of the parts that are left out."""
    words: tuple[Word, ...]
    """Words that look like Spack's grammar but aren't, such as ``c++``."""
    notes: tuple[str, ...]


def read(text: str) -> Typed:
    """Translate an informal query without its typography. Words that only look like grammar are returned separately.

    Raises:
        QueryError: the query names a binary, which another command shows, or has a comparison or phrase that isn't
            part of Spack's grammar.
    """
    characters = list(text)
    words: list[Word] = []
    notes: list[str] = []
    begin = 0
    if command := _COMMAND.match(text):
        begin = command.end()
        characters[:begin] = " " * begin
        notes.append(f"{' '.join(command[1].split())} is left out: only what follows it is searched for.")
    _require_no_phrase(text)
    joining = _joining(text, begin)
    for match in _CHUNK.finditer(text, begin):
        start, bare = _stripped(match.start(), match[0], is_list=_is_in_version_list(text, match))
        characters[match.start() : match.end()] = " " * len(match[0])
        if bare in joining:
            continue
        if _ID.fullmatch(bare):
            raise QueryError(start + 1, f"{bare:.120} names one binary: `cachesync show` shows it")
        if _PLUSES.fullmatch(bare):
            words.append(Word(bare, start + 1))
            continue
        require_no_comparison(bare, start)
        chunk = _module(bare) or _versioned(bare) or _compiler(bare) or _without_namespace(bare) or bare
        if chunk != bare:
            notes.append(f"{bare} is read as {chunk.replace(' ', '')}.")
        elif bare != match[0] and _WITHOUT_TYPOGRAPHY not in notes:
            notes.append(_WITHOUT_TYPOGRAPHY)
        characters[start : start + len(chunk)] = chunk
    if joining:
        notes.append(f"{', '.join(joining)}: left out, since hits match every word anyway.")
    return Typed("".join(characters), tuple(words), tuple(notes))


def _joining(text: str, begin: int) -> list[str]:
    """Return the words that only join other words, or an empty list if the query has no other words."""
    chunks = dict.fromkeys(match[0] for match in _CHUNK.finditer(text, begin))
    joining = [chunk for chunk in chunks if chunk.lower() in _JOINING]
    return joining if len(joining) < len(chunks) else []


def _require_no_phrase(text: str) -> None:
    """Reject a query that contains an English phrase for which Spack has a sign."""
    for match in _PHRASES.finditer(text, 1):
        phrase = " ".join(match[0].split())
        expected = {
            "since": "a version with a colon after it, such as hdf5@1.14:",
            "until": "a version with a colon before it, such as hdf5@:1.14",
            "without": "a variant that is off, such as hdf5~mpi",
        }[match.lastgroup or ""]
        raise QueryError(match.start() + 1, f"{phrase!r} can't be part of a query; expected {expected}")


def require_no_comparison(text: str, start: int = 0) -> None:
    """Reject text that compares versions by signs like ``>=``. In the query, ``start`` characters precede the text.

    Raises:
        QueryError: the text has a comparison.
    """
    for match in _COMPARED.finditer(text):
        name, sign, version = match["name"], match["sign"], match["version"] or "1.2"
        if sign[0] in "<>" or match["version"]:
            span = f"@:{version}" if sign[0] == "<" else f"@{version}:"
            own = f" ({version} itself is in it)" if sign in "<>" else ""
            problem = f"{sign!r} compares nothing here; expected a range of versions, such as {name}{span}{own}"
            raise QueryError(start + match.start("sign") + 1, problem)


def names_and_versions(word: str) -> Iterator[tuple[str, str]]:
    """Yield the ways to split a word like ``hdf5-1.14.6`` or ``gcc12`` into a name and a version, long names first."""
    name = _NAME.match(word)
    for end in range(min(name.end() if name else 0, len(word) - 1), 0, -1):
        match = _VERSION_SUFFIX.fullmatch(word, end)
        if match and word[end - 1].isalnum() and not (word[end - 1].isdigit() and word[end].isdigit()):
            yield word[:end], match["version"] or match["apart"].replace("_", ".")


def _is_in_version_list(text: str, chunk: re.Match[str]) -> bool:
    """Whether a comma at the end of a chunk, or a chunk that is only a comma, belongs to a list of versions."""
    before = text[: chunk.end()].rstrip(_SEPARATORS + " \t").rpartition(" ")[2]
    return "@" in before and re.match(r"[\s,]*[\d:=]", text[chunk.end() :]) is not None


def _stripped(start: int, chunk: str, *, is_list: bool) -> tuple[int, str]:
    """Remove the quotes and commas around a word, and the star at the word's end."""
    if is_list:
        return start, chunk
    while chunk and chunk[0] in _QUOTES + _SEPARATORS:
        start, chunk = start + 1, chunk[1:]
    while chunk and (chunk[-1] in _SEPARATORS or (chunk[-1] in _QUOTES and chunk.count(chunk[-1]) == 1)):
        chunk = chunk[:-1]
    may_have_star = "=" not in chunk or "==" in chunk
    if len(chunk) > 1 and chunk.endswith("*") and may_have_star:
        chunk = chunk.rstrip("*").rstrip("." if "==" in chunk else "")
    if "@" not in chunk and "=" not in chunk:
        chunk = re.sub(r"(?<=[\w.])[,;](?=[+~%])", " ", chunk)
    return start, chunk


def _module(chunk: str) -> str | None:
    """Return a module name like ``hdf5/1.14.6-gcc-11.4.0`` as a spec of the same length, or None for other chunks."""
    match = _MODULE.fullmatch(chunk)
    if not match:
        return None
    compiler = f"%{match['compiler']}" + (f"@{match['of']}" if match["of"] else "")
    return f"{match['name']}@{match['version']}{compiler}" + (f"/{match['hash']}" if match["hash"] else "")


def _without_namespace(chunk: str) -> str | None:
    """Return a chunk without its namespace ``builtin.``, padded to the same length, or None for other chunks."""
    name = chunk.removeprefix(_NAMESPACE)
    return f"{' ' * len(_NAMESPACE)}{name}" if name != chunk and name else None


def _compiler(chunk: str) -> str | None:
    """Return ``compiler=gcc@11`` as Spack writes it, padded to the same length, or None for other chunks."""
    key, _, compiler = chunk.partition("=")
    is_compiler = "@" in compiler or re.fullmatch("(?!none$)[a-z][a-z-]*", compiler)
    return f"{' ' * len(key)}%{compiler}" if key == "compiler" and is_compiler else None


def _versioned(chunk: str) -> str | None:
    """Return ``NAME==1.2`` or ``NAME/1.2`` as Spack writes it, padded to the same length, or None for other chunks."""
    match = _VERSIONED.fullmatch(chunk)
    if not match or (match["sign"] == "/" and not match["rest"] and not _NOT_IN_HASHES.search(match["version"])):
        return None
    suffix = chunk[match.start("version") :]
    return f"{match['name']}@{' ' * (match.start('version') - match.end('name') - 1)}{suffix}"

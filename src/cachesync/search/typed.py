"""Ways to type a query that aren't Spack's grammar, though everybody knows what they mean.

What is taken for something else stays at its place, so that errors name the characters that were typed.
"""

import re
from typing import Final, NamedTuple

from cachesync.errors import QueryError
from cachesync.search.spec import Word

_CHUNK: Final = re.compile(r"""(?:="[^"]*"|='[^']*'|\S)+""")
_QUOTES: Final = "\"'`\u2018\u2019\u201c\u201d"
_BETWEEN: Final = ",;"
_PLUSES: Final = re.compile(r"[A-Za-z0-9][\w.-]*\+{1,2}")
_PINNED: Final = re.compile(
    r"(?P<name>(?:\S*%)?[A-Za-z0-9][\w-]*)(?P<sign>==|/)v?(?P<version>\d[\w.-]*)(?P<rest>[+~%,:].*)?", re.DOTALL
)
_GLUED: Final = re.compile(
    r"(?P<name>[A-Za-z][\w.-]*?)[-_]?v?(?P<version>\d[\d.]*(?:[-.]?(?:rc|alpha|beta)\d*)?)", re.ASCII
)
_NO_HASH: Final = re.compile("[^a-z2-7]")
_ID: Final = re.compile(r"https?://\S+|[^/\s=@%]+/[^/\s=@%]+/[a-z2-7]{32}")

SIGIL: Final = re.compile(
    r"[@%^~=/]|^[+~-](?=[A-Za-z0-9_])|(?<=\s)[+~-]\s*(?=[A-Za-z0-9_])|(?<=[\w.])\+(?=[A-Za-z0-9_])"
)
"""What makes a query a spec: it stands for nothing else than a part of Spack's grammar."""


class Typed(NamedTuple):
    """A query as it is to be read."""

    text: str
    """As long as what was typed, with blanks in the place of what is left out."""
    words: tuple[Word, ...]
    """Words that are none of Spack's grammar though they look so: ``c++``."""
    notes: tuple[str, ...]


def read(text: str) -> Typed:
    """Take out what is only typography, and the words that aren't what they look like.

    Raises:
        QueryError: it names a binary, which is shown by another command.
    """
    characters = list(text)
    words: list[Word] = []
    notes: list[str] = []
    for match in _CHUNK.finditer(text):
        start, chunk = _stripped(match.start(), match[0], is_list=_goes_on(text, match))
        characters[match.start() : match.end()] = " " * len(match[0])
        if _ID.fullmatch(chunk):
            raise QueryError(start + 1, f"{chunk:.120} names one binary: `cachesync show` shows it")
        if _PLUSES.fullmatch(chunk):
            words.append(Word(chunk, start + 1))
            continue
        if pinned := _pinned(chunk) or _compiled(chunk):
            notes.append(f"{chunk} is read as {pinned.replace(' ', '')}.")
            chunk = pinned
        characters[start : start + len(chunk)] = chunk
    return Typed("".join(characters), tuple(words), tuple(notes))


def name_and_version(word: str) -> tuple[str, str] | None:
    """Take a word apart that is a name with a version behind it, as in ``hdf5-1.14.6`` and ``gcc12``; None: it isn't.

    The name is as short as it can be.
    """
    match = _GLUED.fullmatch(word)
    return (match["name"], match["version"]) if match else None


def _goes_on(text: str, chunk: re.Match[str]) -> bool:
    """Tell whether a comma at the end of a chunk, or a chunk that is one, is within a list of versions."""
    before = text[: chunk.end()].rstrip(_BETWEEN + " \t").rpartition(" ")[2]
    return "@" in before and re.match(r"[\s,]*[\d:=]", text[chunk.end() :]) is not None


def _stripped(start: int, chunk: str, *, is_list: bool) -> tuple[int, str]:
    """Drop quotes around a word, commas beside it, and a star that stands for its rest."""
    if is_list:
        return start, chunk
    while chunk and chunk[0] in _QUOTES + _BETWEEN:
        start, chunk = start + 1, chunk[1:]
    while chunk and (chunk[-1] in _BETWEEN or (chunk[-1] in _QUOTES and chunk.count(chunk[-1]) == 1)):
        chunk = chunk[:-1]
    is_free = "=" not in chunk or "==" in chunk
    if len(chunk) > 1 and chunk.endswith("*") and is_free:
        chunk = chunk.rstrip("*").rstrip("." if "==" in chunk else "")
    if "@" not in chunk and "=" not in chunk:
        chunk = re.sub(r"(?<=[\w.])[,;](?=[+~%])", " ", chunk)
    return start, chunk


def _compiled(chunk: str) -> str | None:
    """Return ``compiler=gcc@11`` as Spack writes it, as long as before; None: it is something else."""
    key, _, compiler = chunk.partition("=")
    is_one = "@" in compiler or re.fullmatch("(?!none$)[a-z][a-z-]*", compiler)
    return f"{' ' * len(key)}%{compiler}" if key == "compiler" and is_one else None


def _pinned(chunk: str) -> str | None:
    """Return ``NAME==1.2`` and ``NAME/1.2`` as Spack writes it, as long as before; None: it is neither."""
    match = _PINNED.fullmatch(chunk)
    if not match or (match["sign"] == "/" and not match["rest"] and not _NO_HASH.search(match["version"])):
        return None
    behind = chunk[match.start("version") :]
    return f"{match['name']}@{' ' * (match.start('version') - match.end('name') - 1)}{behind}"

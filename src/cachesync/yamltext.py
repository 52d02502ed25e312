"""YAML read safely: text stays text, every value knows its line, and no input can exhaust memory or the stack.

PyYAML's loaders compose by recursion (100,000 open brackets kill the C one) and turn ``1.10`` into ``1.1``. This
reads the parser's event stream with a stack of its own and stops at the bounds below.
"""

import enum
import re
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

import yaml

from cachesync.errors import CachesyncError

MAX_DEPTH: Final = 64
"""Nested lists and mappings; a real page has 4."""

MAX_ALIASED_NODES: Final = 100_000
"""Nodes that ``*aliases`` may add to those written out. A bomb has billions."""

MAX_NODES: Final = 1_000_000
"""Values in one text, aliases counted out. The biggest page has about 150,000."""

_SHOWN: Final = 60
"""Characters of a key that a message shows."""

_DIRECTIVE: Final = re.compile(r"^%", re.MULTILINE)
_LINE_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TAGS: Final = frozenset({"!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))})
_QUOTED: Final = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'""", re.DOTALL)
_SURROGATES: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


class YamlError(CachesyncError):
    """Text that is no YAML, or that passes a bound; ``line`` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class Mapping(dict[str, "Value"]):
    """A YAML mapping; ``lines`` has the line of each key."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class Sequence(list["Value"]):
    """A YAML list; ``lines`` has the line of each item."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


Value = Mapping | Sequence | str | None


class Repeated(NamedTuple):
    """A key that its mapping has already."""

    path: tuple[str | int, ...]
    """The keys and positions that lead to the mapping, and this key."""
    line: int
    first: int
    """The line on which the key was given first."""


def line_of(value: Value, path: list[str | int], default: int) -> int:
    """Return the line of what ``path`` (keys and positions) leads to, as near as it exists."""
    line = default
    for step in path:
        if isinstance(value, Mapping) and isinstance(step, str):
            line = value.lines.get(step, value.line)
            value = value.get(step)
        elif isinstance(value, Sequence) and isinstance(step, int) and step < len(value):
            line = value.lines[step]
            value = value[step]
        else:
            break
    return line


def describe(value: object) -> str:
    """Name a value in words for a message."""
    match value:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case None:
            return "nothing"
        case _:
            return f"the text {value!r:.80}"


def load(text: str, first_line: int = 1, repeated: list[Repeated] | None = None) -> Value:
    """Read one YAML document. Scalars are text as written, null (``~``, ``null``, nothing) is None.

    ``first_line`` is the line of the file on which ``text`` starts. A key given twice in one mapping is an error, or,
    where there is a list ``repeated``, is added to it and keeps its last value. Merge keys (``<<``) work and are no
    repetition.

    Raises:
        YamlError: no YAML, nested deeper than :data:`MAX_DEPTH`, aliases that add more than :data:`MAX_ALIASED_NODES`,
            a tag other than ``!!str``, ``!!seq`` and ``!!map``, a key that is no text or is given twice, or a second
            document.
    """
    builder = _Builder(first_line, repeated)
    if directive := _DIRECTIVE.search(text):  # libyaml takes quadratic time for many of them
        line = first_line + text.count("\n", 0, directive.start())
        raise YamlError("a line that starts with '%': YAML directives are not accepted", line)
    try:
        for event in yaml.parse(_join_surrogates(text), Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        # libyaml notices a line without a colon only at the next one; its context is where the line is
        mark = error.context_mark if error.context == "while scanning a simple key" else error.problem_mark
        where = f", at column {mark.column + 1}" if mark else ""
        last = first_line + len(_LINE_BREAK.findall(text))  # libyaml's end of a text is on a line of its own
        raise YamlError(
            f"broken YAML: {error.problem or error.context}{where}", min(builder.line(mark), last)
        ) from None
    except yaml.reader.ReaderError as error:
        line = first_line + text.encode()[: error.position].count(b"\n")
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise YamlError(f"broken YAML: the character U+{code:04X} is not allowed", line) from None
    return builder.document


def _join_surrogates(text: str) -> str:
    r"""Turn JSON's ``"\ud83d\ude00"`` into the character it stands for: libyaml refuses the halves."""
    if not _SURROGATES.search(text):
        return text
    return _QUOTED.sub(lambda quoted: _SURROGATES.sub(_joined, quoted[0]) if quoted[0][0] == '"' else quoted[0], text)


def _joined(match: re.Match[str]) -> str:
    high, low = int(match[2], 16), int(match[3], 16)
    return match[1] + chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


class _Mark(Protocol):
    """A place in the text; libyaml's and PyYAML's own are two classes."""

    line: int


class _Key(enum.Enum):
    """What an open mapping waits for, where it isn't the value of a key with a name."""

    NEXT = enum.auto()
    MERGED = enum.auto()


class _Builder:
    """Builds the document from parser events, on an explicit stack."""

    def __init__(self, first_line: int, repeated: list[Repeated] | None) -> None:
        self.document: Value = None
        self._first_line = first_line
        self._repeated = repeated
        self._documents = 0
        self._stack: list[Mapping | Sequence] = []
        self._keys: list[str | _Key] = []  # for each open collection: the key that waits for its value
        self._given: list[dict[str, int]] = []  # for each open collection: the line that gave each key
        self._starts: list[int] = []  # for each open collection: the nodes that were there before it
        self._names: list[str | None] = []  # for each open collection: its anchor
        self._anchors: dict[str, tuple[Value, int]] = {}  # anchor → value and its number of nodes
        self._nodes = 0
        self._aliased = 0

    def line(self, mark: _Mark | None) -> int:
        return self._first_line + (mark.line if mark else 0)

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._check(event)
                plain = event.implicit[0] and not event.style  # libyaml says "" where PyYAML's own parser says None
                value = None if plain and event.value in _NULL else event.value
                if event.anchor:
                    self._anchors[event.anchor] = (value, 1)
                self._add(value, event, merge=plain and event.value == "<<")
            case yaml.MappingStartEvent():
                self._open(Mapping(self.line(event.start_mark)), event)
            case yaml.SequenceStartEvent():
                self._open(Sequence(self.line(event.start_mark)), event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close(event)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise self._error("expected one YAML document, found a second one", event)

    def _error(self, message: str, event: yaml.Event) -> YamlError:
        return YamlError(message, self.line(event.start_mark))

    def _unless(self, event: yaml.Event, sign: str) -> str:
        """Say where a sign is that may be meant as text. What follows it may be long, or a password, and isn't told."""
        return f"; a text that starts with '{sign}' needs quotes{_at(event)}"

    def _check(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._error(f"more than {MAX_NODES:,} values", event)
        if event.tag and event.tag not in _TAGS:
            raise self._error(
                f"a YAML tag is not accepted: expected plain text, lists and mappings{self._unless(event, '!')}", event
            )

    def _open(self, value: Mapping | Sequence, event: yaml.CollectionStartEvent) -> None:
        self._check(event)
        if len(self._stack) == MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels", event)
        if self._stack and isinstance(self._stack[-1], Mapping) and self._keys[-1] is _Key.NEXT:
            raise self._error(f"expected text as a key, found {describe(value)}", event)
        self._stack.append(value)
        self._keys.append(_Key.NEXT)
        self._given.append({})
        self._starts.append(self._nodes - 1)
        self._names.append(event.anchor)

    def _close(self, event: yaml.Event) -> None:
        value = self._stack.pop()
        self._keys.pop()
        self._given.pop()
        start, name = self._starts.pop(), self._names.pop()
        if name:
            self._anchors[name] = (value, self._nodes - start)
        self._add(value, event, line=value.line)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self._anchors:
            raise self._error(f"an alias of nothing that is complete before it{self._unless(event, '*')}", event)
        value, nodes = self._anchors[event.anchor]
        self._nodes += nodes
        self._aliased += nodes
        if self._aliased > MAX_ALIASED_NODES:
            raise self._error(
                f"aliases add more than {MAX_ALIASED_NODES:,} values: this looks like an alias bomb", event
            )
        self._add(value, event)

    def _add(self, value: Value, event: yaml.Event, *, line: int | None = None, merge: bool = False) -> None:
        """Put a finished value where it belongs: the document, a list, a mapping's key, or that key's value."""
        line = line or self.line(event.start_mark)
        if not self._stack:
            self.document = value
            return
        parent = self._stack[-1]
        if isinstance(parent, Sequence):
            parent.append(value)
            parent.lines.append(line)
            return
        key = self._keys[-1]
        if key is _Key.NEXT:
            if not isinstance(value, str | None):
                raise self._error(f"expected text as a key, found {describe(value)}", event)
            self._keys[-1] = _Key.MERGED if merge else value or ""
            parent.lines[value or ""] = line
            self._note_key(event)
            return
        self._keys[-1] = _Key.NEXT
        if isinstance(key, str):
            parent[key] = value
        else:
            self._merge(parent, value, event)

    def _note_key(self, event: yaml.Event) -> None:
        """Note a key that was given in its mapping before. What was merged there wasn't."""
        key, given, line = self._keys[-1], self._given[-1], self.line(event.start_mark)
        if not isinstance(key, str):
            return
        if key not in given:
            given[key] = line
            return
        repeated = Repeated(self._path(), line, given[key])
        if self._repeated is None:
            where = f"first on line {repeated.first}, and again{_at(event)}"
            raise self._error(f"{_shown(repeated.path)} is given twice, {where}; expected each key once", event)
        self._repeated.append(repeated)

    def _path(self) -> tuple[str | int, ...]:
        """Return the keys and positions that lead to what is being read."""
        steps = [
            len(value) if isinstance(value, Sequence) else key
            for value, key in zip(self._stack, self._keys, strict=True)
        ]
        return tuple(step for step in steps if not isinstance(step, _Key))

    def _merge(self, into: Mapping, value: Value, event: yaml.Event) -> None:
        """``<<: *defaults``: keys that the mapping doesn't have itself. Those written after it replace them anyway."""
        for source in _mappings(value):
            if source is None:
                raise self._error("expected a mapping or a list of mappings behind '<<'", event)
            for key, item in source.items():
                if key not in into:
                    into[key] = item
                    into.lines.setdefault(key, source.lines[key])


def _at(event: yaml.Event) -> str:
    return f", at column {event.start_mark.column + 1}" if event.start_mark else ""


def _shown(path: tuple[str | int, ...]) -> str:
    """Write the end of a path like ``spec_details[3].os``, since the rest may be of any length."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return repr(text if len(text) <= _SHOWN else f"…{text[-_SHOWN:]}")


def _mappings(value: Value) -> Iterator[Mapping | None]:
    for item in value if isinstance(value, Sequence) else [value]:
        yield item if isinstance(item, Mapping) else None

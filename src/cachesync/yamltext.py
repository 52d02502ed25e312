"""A safe YAML loader: scalars stay text, every value has a line number, and no input can exhaust memory or the stack.

PyYAML's loaders are recursive (100,000 open brackets crash the C loader) and turn ``1.10`` into ``1.1``. This loader
processes the parser's events with an explicit stack and stops at the bounds below.
"""

import enum
import re
from typing import Final, NamedTuple, Protocol

import yaml

from cachesync.errors import CachesyncError

MAX_DEPTH: Final = 64
"""The maximum depth of nested lists and mappings; a real page has 4 levels."""

MAX_ALIASED_NODES: Final = 100_000
"""The maximum number of nodes that ``*aliases`` add to the nodes written out. An alias bomb adds billions."""

MAX_NODES: Final = 1_000_000
"""The maximum number of values in one text, with aliases expanded. The largest page has about 150,000."""

_SHOWN: Final = 60
"""The maximum number of characters of a key's path in a message."""

_DIRECTIVE: Final = re.compile(r"^%", re.MULTILINE)
_LINE_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TAGS: Final = frozenset({"!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))})
_QUOTED: Final = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'""", re.DOTALL)
_SURROGATES: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


class YamlError(CachesyncError):
    """Raised for text that is not YAML or exceeds a bound; ``line`` is counted from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class Mapping(dict[str, "Value"]):
    """A YAML mapping; ``lines`` contains the line of each key."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class Sequence(list["Value"]):
    """A YAML list; ``lines`` contains the line of each item."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


Value = Mapping | Sequence | str | None


class Repeated(NamedTuple):
    """A duplicate key."""

    path: tuple[str | int, ...]
    """The keys and positions that lead to the mapping, followed by the duplicate key."""
    line: int
    first: int
    """The line of the key's first occurrence."""


def line_of(value: Value, path: list[str | int], default: int) -> int:
    """Return the line of the value at a path of keys and positions, or the line of its nearest existing parent."""
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
    """Describe a value for a message."""
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
    """Parse one YAML document. Scalars are text as written; null (``~``, ``null``, nothing) is None.

    ``first_line`` is the line of the file on which ``text`` starts. A duplicate key in a mapping is an error unless a
    list ``repeated`` is given: then the duplicate is added to the list, and the key's last value is used. Merge keys
    (``<<``) work and don't count as duplicates.

    Raises:
        YamlError: the text is invalid YAML, or has nesting deeper than :data:`MAX_DEPTH`, more than :data:`MAX_NODES`
            values, aliases that add more than :data:`MAX_ALIASED_NODES`, a directive, a tag other than ``!!str``,
            ``!!seq`` and ``!!map``, a key that isn't text or is a duplicate, or a second document.
    """
    builder = _Builder(first_line, repeated)
    if directive := _DIRECTIVE.search(text):  # libyaml takes quadratic time for many directives
        line = first_line + text.count("\n", 0, directive.start())
        raise YamlError("a line that starts with '%': YAML directives are not accepted", line)
    try:
        for event in yaml.parse(_join_surrogates(text), Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        # libyaml detects a line without a colon only at the next line; the context mark has the right line
        mark = error.context_mark if error.context == "while scanning a simple key" else error.problem_mark
        where = f", at column {mark.column + 1}" if mark else ""
        last = first_line + len(_LINE_BREAK.findall(text))  # libyaml puts the end of the text on a line of its own
        raise YamlError(
            f"broken YAML: {error.problem or error.context}{where}", min(builder.line(mark), last)
        ) from None
    except yaml.reader.ReaderError as error:
        line = first_line + text.encode()[: error.position].count(b"\n")
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise YamlError(f"broken YAML: the character U+{code:04X} is not allowed", line) from None
    return builder.document


def _join_surrogates(text: str) -> str:
    r"""Replace JSON's ``"\ud83d\ude00"`` with the character that it encodes, because libyaml rejects the halves."""
    if not _SURROGATES.search(text):
        return text
    return _QUOTED.sub(lambda quoted: _SURROGATES.sub(_joined, quoted[0]) if quoted[0][0] == '"' else quoted[0], text)


def _joined(match: re.Match[str]) -> str:
    high, low = int(match[2], 16), int(match[3], 16)
    return match[1] + chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


class _Mark(Protocol):
    """A position in the text. The marks of libyaml and of PyYAML are instances of different classes."""

    line: int


class _Key(enum.Enum):
    """What an open mapping expects if it isn't the value of an ordinary key: the next key, or a value to merge."""

    NEXT = enum.auto()
    MERGED = enum.auto()


class _Open:
    """A list or mapping that isn't complete yet."""

    def __init__(self, value: Mapping | Sequence, anchor: str | None, start: int) -> None:
        self.value = value
        self.anchor = anchor
        self.start = start
        """The number of nodes that precede the list or mapping."""
        self.key: str | _Key = _Key.NEXT
        """In a mapping, the key whose value comes next."""
        self.given: dict[str, int] = {}
        """In a mapping, the line of each key that was written out rather than merged."""


class _Builder:
    """Builds the document from the parser's events with an explicit stack."""

    def __init__(self, first_line: int, repeated: list[Repeated] | None) -> None:
        self.document: Value = None
        self._first_line = first_line
        self._repeated = repeated
        self._documents = 0
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Value, int]] = {}  # anchor → value and its number of nodes
        self._nodes = 0
        self._aliased = 0

    def line(self, mark: _Mark | None) -> int:
        return self._first_line + (mark.line if mark else 0)

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._check(event)
                plain = event.implicit[0] and not event.style  # for no style, libyaml has "" and PyYAML None
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

    def _hint(self, event: yaml.Event, sign: str) -> str:
        """Suggest quotes for text that begins with a sign. The text isn't shown because it may be a password."""
        return f"; a text that starts with '{sign}' needs quotes{_at(event)}"

    def _check(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._error(f"more than {MAX_NODES:,} values", event)
        if event.tag and event.tag not in _TAGS:
            raise self._error(
                f"a YAML tag is not accepted: expected plain text, lists and mappings{self._hint(event, '!')}", event
            )

    def _open(self, value: Mapping | Sequence, event: yaml.CollectionStartEvent) -> None:
        self._check(event)
        if len(self._stack) == MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels", event)
        if self._stack and isinstance(self._stack[-1].value, Mapping) and self._stack[-1].key is _Key.NEXT:
            raise self._error(f"expected text as a key, found {describe(value)}", event)
        self._stack.append(_Open(value, event.anchor, self._nodes - 1))

    def _close(self, event: yaml.Event) -> None:
        closed = self._stack.pop()
        if closed.anchor:
            self._anchors[closed.anchor] = (closed.value, self._nodes - closed.start)
        self._add(closed.value, event, line=closed.value.line)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self._anchors:
            raise self._error(f"an alias without a complete anchor before it{self._hint(event, '*')}", event)
        value, nodes = self._anchors[event.anchor]
        self._nodes += nodes
        self._aliased += nodes
        if self._aliased > MAX_ALIASED_NODES:
            raise self._error(
                f"aliases add more than {MAX_ALIASED_NODES:,} values: this looks like an alias bomb", event
            )
        self._add(value, event)

    def _add(self, value: Value, event: yaml.Event, *, line: int | None = None, merge: bool = False) -> None:
        """Add a complete value in its place: as the document, as an item of a list, or as a mapping's key or value."""
        line = line or self.line(event.start_mark)
        if not self._stack:
            self.document = value
            return
        opened = self._stack[-1]
        parent, key = opened.value, opened.key
        if isinstance(parent, Sequence):
            parent.append(value)
            parent.lines.append(line)
        elif key is _Key.NEXT:
            if not isinstance(value, str | None):
                raise self._error(f"expected text as a key, found {describe(value)}", event)
            opened.key = _Key.MERGED if merge else value or ""
            parent.lines[value or ""] = line
            self._note_key(opened, event)
        else:
            opened.key = _Key.NEXT
            if isinstance(key, str):
                parent[key] = value
            else:
                self._merge(parent, value, event)

    def _note_key(self, opened: _Open, event: yaml.Event) -> None:
        """Report the current key if its mapping already has that key. Merged keys don't count."""
        key, line = opened.key, self.line(event.start_mark)
        if not isinstance(key, str):
            return
        if key not in opened.given:
            opened.given[key] = line
            return
        repeated = Repeated(self._path(), line, opened.given[key])
        if self._repeated is None:
            where = f"first on line {repeated.first}, and again{_at(event)}"
            raise self._error(f"{_shown(repeated.path)} is given twice, {where}; expected each key once", event)
        self._repeated.append(repeated)

    def _path(self) -> tuple[str | int, ...]:
        """Return the keys and positions that lead to the value that is being parsed."""
        steps = [len(each.value) if isinstance(each.value, Sequence) else each.key for each in self._stack]
        return tuple(step for step in steps if not isinstance(step, _Key))

    def _merge(self, into: Mapping, value: Value, event: yaml.Event) -> None:
        """Merge ``<<: *defaults``: add the keys that the mapping lacks. Keys that come later replace them anyway."""
        for source in value if isinstance(value, Sequence) else [value]:
            if not isinstance(source, Mapping):
                raise self._error("expected a mapping or a list of mappings after '<<'", event)
            for key, item in source.items():
                if key not in into:
                    into[key] = item
                    into.lines.setdefault(key, source.lines[key])


def _at(event: yaml.Event) -> str:
    return f", at column {event.start_mark.column + 1}" if event.start_mark else ""


def _shown(path: tuple[str | int, ...]) -> str:
    """Format a path as ``spec_details[3].os``, and cut off the beginning of a path that is too long."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return repr(text if len(text) <= _SHOWN else f"…{text[-_SHOWN:]}")

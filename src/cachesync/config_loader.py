"""Load the configuration from a YAML file and the environment, and report all mistakes together."""

import os
import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Environment
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, NamedTuple

from cachesync import values, yamltext
from cachesync.config import SECTIONS, Config
from cachesync.errors import UsageError
from cachesync.values import Read
from cachesync.yamltext import Mapping, Repeated, Sequence, Value, YamlError

FILE_VARIABLE: Final = "CACHESYNC_CONFIG"
DEFAULT_FILE: Final = Path("config/cachesync.yml")

_PREFIX: Final = "CACHESYNC_"
_SEPARATOR: Final = "__"
_MAX_NAME_LENGTH: Final = 80
"""The maximum number of characters of an unknown key that a message shows."""


class Loaded(NamedTuple):
    """A configuration, the file it was read from, and the folder that its relative paths are resolved against."""

    config: Config
    file: Path | None
    base: Path
    misspelt: tuple[tuple[str, str], ...] = ()
    """Ignored environment variables, each paired with the configuration variable that its name resembles."""

    def path(self, path: Path) -> Path:
        """Resolve a configured path against the folder of the file or, without a file, the working directory."""
        return self.base / path.expanduser()


def load(file: Path | None, environment: Environment[str, str] = os.environ) -> Loaded:
    """Load the configuration.

    ``file`` defaults to ``$CACHESYNC_CONFIG``, then to ``config/cachesync.yml``. Without a file, defaults apply.

    Raises:
        UsageError: the file can't be read, or the file or the environment has mistakes, which are listed one per line.
    """
    named = file or (Path(environment[FILE_VARIABLE]) if environment.get(FILE_VARIABLE) else None)
    found = named or _default_file()
    mistakes: list[str] = []
    tree = _read(found, environment, mistakes) if found else Mapping(1)
    overrides = _overrides(environment, mistakes)
    sources = _Sources(tree, overrides, found)
    config = _read_config(_merged(tree, overrides), sources, mistakes)
    if mistakes:
        raise UsageError("\n".join(mistakes))
    return Loaded(config, found, _base(found), tuple(_misspelt(environment)))


def _default_file() -> Path | None:
    try:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    except OSError as error:
        raise _unreadable(DEFAULT_FILE, error) from None


def _base(file: Path | None) -> Path:
    try:
        return file.absolute().parent if file else Path.cwd()
    except OSError as error:
        raise UsageError(f"the working directory can't be used: {error.strerror}; change to another one") from None


def _unreadable(file: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot read the configuration {file}: {error.strerror}")


def _read(file: Path, environment: Environment[str, str], mistakes: list[str]) -> Mapping:
    repeated: list[Repeated] = []
    try:
        tree = yamltext.load(file.read_text("utf-8"), repeated=repeated)
    except OSError as error:
        raise _unreadable(file, error) from None
    except UnicodeDecodeError:
        raise UsageError(f"the configuration {file} is not UTF-8") from None
    except YamlError as error:
        raise UsageError(f"{file}:{error.line}: {error.message}") from None
    if tree is None:
        return Mapping(1)
    if not isinstance(tree, Mapping):
        raise UsageError(f"{file}:1: expected sections like 'pages:', found {_kind(tree)}")
    mistakes += [f"{file}:{each.line}: {_key_of(each)}: given twice (line {each.first})" for each in repeated]
    _expand(tree, environment, file, mistakes)
    return tree


def _key_of(repeated: Repeated) -> str:
    return ".".join(_name_in(step) if isinstance(step, str) else str(step) for step in repeated.path)


_VARIABLE: Final = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


def _expand(
    value: Mapping | Sequence, environment: Environment[str, str], file: Path, mistakes: list[str], *path: str
) -> None:
    """Substitute ``${VAR}`` and ``${VAR:-default}`` in place; ``path`` has the keys that lead to ``value``."""

    def text_of(match: re.Match[str]) -> str:
        set_value = environment.get(match["name"])
        if set_value is None and match["default"] is None:
            raise KeyError(match[0])
        return set_value or match["default"] or ""

    items: list[tuple[Any, Value]] = list(value.items() if isinstance(value, Mapping) else enumerate(value))
    for key, item in items:
        if isinstance(item, Mapping | Sequence):
            _expand(item, environment, file, mistakes, *path, str(key))
        elif item is not None:
            try:
                if "${" in _VARIABLE.sub("", item):
                    mistakes.append(f"{file}:{value.lines[key]}: unterminated '${{': expected ${{NAME}}")
                value[key] = _VARIABLE.sub(text_of, item)
            except KeyError as error:
                # "${" may be part of a secret, which must not be shown even if its key is misspelt.
                section, name = (*path, str(key), "")[:2]
                is_shown = _reader(section, name) is not None and not _is_secret(section, name)
                variable = error.args[0] if is_shown else "a variable"
                mistakes.append(
                    f"{file}:{value.lines[key]}: {variable} is not set in the environment and has no default"
                )


_Overrides = dict[tuple[str, str], Value]


def _overrides(environment: Environment[str, str], mistakes: list[str]) -> _Overrides:
    """Return the values of ``CACHESYNC_SECTION__KEY`` variables. Lists are written as in YAML: ``[a, b]``."""
    found: _Overrides = {}
    for name, text in environment.items():
        section, separator, key = name.removeprefix(_PREFIX).lower().partition(_SEPARATOR)
        if not (name.startswith(_PREFIX) and separator):
            continue
        if _reader(section, key) is None:
            meant = _nearest(name)
            mistakes.append(f"environment: {name}: no such key" + (f"; did you mean {meant}?" if meant else ""))
            continue
        found[section, key] = text
        if text.startswith("[") and not _is_secret(section, key):
            try:
                found[section, key] = yamltext.load(text)
            except YamlError as error:
                mistakes.append(f"environment: {name}: {error.message}")
    return found


def _variables() -> Iterator[str]:
    """Yield the names of all environment variables that configure something."""
    yield FILE_VARIABLE
    for section, keys in SECTIONS.items():
        for key in keys.readers():
            yield f"{_PREFIX}{section}{_SEPARATOR}{key}".upper()


def _misspelt(environment: Environment[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the ignored variables that may have been meant as configuration, see :attr:`Loaded.misspelt`.

    Such variables are not errors because they may have another purpose: Kubernetes sets CACHESYNC_HTTP_PORT for a
    service called ``cachesync-http``.
    """
    for name in environment:
        if name.startswith(_PREFIX) and _SEPARATOR not in name and (meant := _nearest(name)):
            yield name, meant


def _nearest(name: str) -> str | None:
    """Return the configuration variable whose name is one typing error away from an unknown name, if there is one."""
    return next((known for known in _variables() if _differ_by_one(name.upper(), known)), None)


def _differ_by_one(one: str, other: str) -> bool:
    """Whether the strings differ by one missing, added or replaced character, or by two swapped neighbours."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    one, other = one[same:], other[same:]
    swapped = one[:2] == other[1::-1] and one[2:] == other[2:]
    return one != other and (one[1:] in (other, other[1:]) or one == other[1:] or swapped)


def _merged(tree: Mapping, overrides: _Overrides) -> dict[str, Any]:
    """Override the file's values with the environment's. A known key without a value (``reindex:``) counts as unset."""
    merged: dict[str, Any] = {}
    for section, keys in tree.items():
        if isinstance(keys, Mapping):
            merged[section] = {
                key: value for key, value in keys.items() if value is not None or _reader(section, key) is None
            }
        elif keys is not None or section not in SECTIONS:
            merged[section] = keys
    for (section, key), value in overrides.items():
        keys = merged.setdefault(section, {})
        if isinstance(keys, dict):
            keys[key] = value
    return merged


def _reader(section: str, key: str) -> Read | None:
    """Return the function that reads a key's value; None if there is no such key."""
    return SECTIONS[section].readers().get(key) if section in SECTIONS else None


def _is_secret(section: str, key: str) -> bool:
    return _reader(section, key) is values.secret


class _Sources(NamedTuple):
    """The sources of the configuration, for finding where a mistake was made."""

    tree: Mapping
    overrides: _Overrides
    file: Path | None

    def locate(self, message: str, section: str, key: str = "", *, named: str = "") -> str:
        """Prefix a message about a key with the place where its value is set. ``named`` is the name to show for it."""
        name = named or f"{section}{'.' if key else ''}{key}"
        if (section, key) in self.overrides or self.file is None:
            return f"environment: {_PREFIX}{section.upper()}{_SEPARATOR}{key.upper()}: {message}"
        line = yamltext.line_of(self.tree, [step for step in (section, key) if step], 1)
        return f"{self.file}:{line}: {name}: {message}"


def _read_config(sections: dict[str, Any], sources: _Sources, mistakes: list[str]) -> Config:
    """Read all sections, and append a message for each of their mistakes to ``mistakes``."""
    found: dict[str, Any] = {}
    for name in sorted(sections, key=[*SECTIONS, *sections].index):
        keys = sections[name]
        if name not in SECTIONS:
            mistakes.append(sources.locate(_no_such(name, SECTIONS), name, named=_name_in(name)))
        elif not isinstance(keys, dict):
            mistakes.append(sources.locate(f"expected keys below it, found {_kind(keys)}", name))
        else:
            found[name] = SECTIONS[name](**_read_section(name, keys, sources, mistakes))
    return Config(**found)


def _read_section(section: str, keys: dict[str, Value], sources: _Sources, mistakes: list[str]) -> dict[str, Any]:
    readers = SECTIONS[section].readers()
    found: dict[str, Any] = {}
    for key, value in keys.items():
        if key not in readers:
            mistakes.append(sources.locate(_no_such(key, readers), section, key, named=f"{section}.{_name_in(key)}"))
            continue
        try:
            found[key] = readers[key](value)
        except ValueError as error:
            is_shown = not _is_secret(section, key) and not key.endswith("url")  # people put passwords into URLs
            mistakes.append(sources.locate(f"{error}, found {value!r:.80}" if is_shown else str(error), section, key))
    return found


def _no_such(key: str, known: Iterable[str]) -> str:
    is_glued = not re.fullmatch(r"[\w-]*", key)
    return f"no such key{' (a colon needs a space after it)' if is_glued else ''}; expected one of {', '.join(known)}"


def _kind(value: object) -> str:
    """Describe a value without showing a string, which may be a key and its secret without a colon between them."""
    return "a string" if isinstance(value, str) else yamltext.describe(value)


def _name_in(key: str) -> str:
    """Return the part of an unknown key that may be shown. After a colon without a space, the rest may be a secret."""
    name = re.split(r"[^\w-]", key, maxsplit=1)[0][:_MAX_NAME_LENGTH]
    return name if name == key else f"{name}…"

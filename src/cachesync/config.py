"""The configuration: a YAML file, the environment over it, and every mistake told at once.

Only commands read it; everything below them is handed values.
"""

import os
import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Environment
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args

import msgspec

from cachesync import values, yamltext
from cachesync.errors import UsageError
from cachesync.index.server import with_port
from cachesync.search.install import MIRROR_URL
from cachesync.values import Read, Secret
from cachesync.yamltext import Mapping, Repeated, Sequence, Value, YamlError

FILE_VARIABLE: Final = "CACHESYNC_CONFIG"
DEFAULT_FILE: Final = Path("config/cachesync.yml")
EMBEDDED: Final = "embedded:"
"""How the URL of an embedded index starts; its folder follows."""

WatchMode = Literal["auto", "native", "polling"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "console", "json"]

_LONGEST_NAME: Final = 80
"""So much is told of a key that isn't ours."""

_PREFIX: Final = "CACHESYNC_"
_SEPARATOR: Final = "__"


def _patterns(value: Value) -> tuple[str, ...]:
    patterns = values.texts(value)
    if not all(pattern.strip() and not pattern.startswith("!") for pattern in patterns):
        raise ValueError("expected patterns as in .gitignore, none of them empty or starting with '!'")
    if patterns != _USUAL_PAGES:
        from cachesync.pages.pattern import Pattern  # noqa: PLC0415  a search does without patterns

        Pattern(patterns)
    return patterns


def _some_patterns(value: Value) -> tuple[str, ...]:
    patterns = _patterns(value)
    if not patterns:
        raise ValueError("expected at least one pattern")
    return patterns


def _names(value: Value) -> tuple[str, ...]:
    names = values.texts(value)
    if not all(name and "/" not in name for name in names):
        raise ValueError(
            "expected names of folders or files, none of them empty or with '/': for paths there is exclude"
        )
    return names


def _index_urls(value: Value) -> tuple[str, ...]:
    urls = values.texts(value)
    servers = [url for url in urls if re.match(r"https?://[^/]", url)]
    folders = [url for url in urls if re.match(rf"{EMBEDDED}.", url)]
    if any("@" in url for url in servers):
        raise ValueError("expected no user and password in it: they go to index.username and index.password")
    for url in folders:
        values.expandable(url.removeprefix(EMBEDDED))
    if any(re.search(r"\s", url) for url in servers) or any("\0" in url for url in folders):
        raise ValueError("expected no blanks in it")
    if not urls or (len(servers) != len(urls) and (len(folders), len(urls)) != (1, 1)):
        raise ValueError(f"expected http(s)://HOST:PORT, several of those, or one {EMBEDDED}DIR")
    addresses = [_with_port(url) for url in servers]
    if len({url.partition(":")[0] for url in urls}) > 1:
        raise ValueError("expected https:// for all servers, or http:// for all")
    if len({*addresses, *folders}) < len(urls):
        raise ValueError("expected each server once")
    return urls


def _with_port(url: str) -> str:
    try:
        return with_port(url)
    except ValueError:
        raise ValueError("expected a host, and a port from 0 to 65535 if any, as in http://localhost:9200") from None


def _kibana_url(value: Value) -> str:
    url = values.text(value)
    if "@" in url:
        raise ValueError("expected no user and password in it: an API key goes to kibana.api_key")
    if not re.fullmatch(r"https?://[^\s/?#\\]+(/[^\s?#\\]*)?", url):
        raise ValueError("expected http(s)://HOST:PORT, perhaps with a base path, as in https://example.org/kibana")
    return url.rstrip("/")


_index_name: Final = values.matching(
    r"[a-z0-9][a-z0-9_.-]{0,99}", "small letters, digits and _ . - (at most 100, a letter or digit first)"
)
_host: Final = values.matching(r"[^\s/\[\]\x00]+", "an address or a host's name, such as 127.0.0.1, 0.0.0.0 or ::")
_base_path: Final = values.matching(
    r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*",
    "nothing or a path like /cachesync: a '/' first, none at the end, no blanks, ? or #",
)


def _listener(value: Value) -> str | None:
    """Take ``HOST:PORT``; an empty text is none."""
    address = values.text(value)
    if not address:
        return None
    host, _, port = address.rpartition(":")
    if not re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[^\s/\[\]:\x00]+", host) or not re.fullmatch("[0-9]{1,5}", port):
        raise ValueError("expected HOST:PORT, such as 127.0.0.1:9464, or nothing")
    values.integer(0, 65_535)(port)
    return address


def _origins(value: Value) -> tuple[str, ...]:
    """Take where web pages come from."""
    origins = values.texts(value)
    for origin in origins:
        if not re.fullmatch(
            r"\*|https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9A-Fa-f:]+\](:[0-9]{1,5})?", origin
        ):
            raise ValueError("expected http(s)://HOST[:PORT] as browsers send it, such as https://example.org, or *")
    return origins


_space: Final = values.matching(
    r"[a-z0-9_-]+", "the space's identifier, as in its address: small letters, digits, _ and -"
)

Location = Annotated[Path | None, values.path]
"""A path, if any."""

Hidden = Annotated[Secret | None, values.secret]
"""A secret, if any."""

Duration = Annotated[float, values.duration()]
"""Seconds."""

_USUAL_PAGES: Final = ("_cache/**/specs.md",)


class _Section(msgspec.Struct, frozen=True, kw_only=True):
    """Keys, each with its type, what reads it, and its default."""

    @classmethod
    def readers(cls) -> dict[str, Read]:
        """Return what reads each key."""
        return {key: hint.__metadata__[0] for key, hint in cls.__annotations__.items()}


class PagesConfig(_Section, frozen=True, kw_only=True):
    """Where pages are."""

    root: Annotated[Path, values.path] = Path("pages")
    include: Annotated[tuple[str, ...], _some_patterns] = _USUAL_PAGES
    exclude: Annotated[tuple[str, ...], _patterns] = ()
    ignore: Annotated[tuple[str, ...], _names] = (
        *("@eaDir", "@tmp", "#recycle", "#snapshot"),
        *("@Recycle", "@Recently-Snapshot"),
        "~snapshot",
        "lost+found",
        *("$RECYCLE.BIN", "System Volume Information", "FOUND.[0-9][0-9][0-9]"),
        *("__MACOSX", "Network Trash Folder", "Temporary Items"),
        "*~",
    )
    max_bytes: Annotated[int, values.integer(1)] = 64_000_000


class WatchConfig(_Section, frozen=True, kw_only=True):
    """How changes are noticed."""

    mode: Annotated[WatchMode, values.choice(*get_args(WatchMode))] = "auto"
    debounce: Duration = 0.3
    debounce_max: Duration = 5.0
    rescan_interval: Annotated[float, values.duration(1)] = 300.0


class IndexConfig(_Section, frozen=True, kw_only=True):
    """Where documents go."""

    url: Annotated[tuple[str, ...], _index_urls] = ("embedded:var/index",)
    name: Annotated[str, _index_name] = "spack-specs"
    api_key: Hidden = None
    api_key_file: Location = None
    username: Annotated[str | None, values.text] = None
    username_file: Location = None
    password: Hidden = None
    password_file: Location = None
    ca_certs: Location = None
    client_cert: Location = None
    client_key: Location = None
    shards: Annotated[int, values.integer(1, 1024)] = 1
    replicas: Annotated[int, values.integer(0)] = 1
    refresh_interval: Annotated[float, values.duration(0.1)] = 1.0
    keep_generations: Annotated[int, values.integer(0)] = 1
    auto_reindex: Annotated[bool, values.truth] = True


class SearchConfig(_Section, frozen=True, kw_only=True):
    """What answers say beyond what documents do."""

    mirror_url: Annotated[str, values.text] = MIRROR_URL
    aliases: Location = None


class ScheduleConfig(_Section, frozen=True, kw_only=True):
    """When the index is rebuilt."""

    reindex: Annotated[str | None, values.schedule] = None
    timezone: Annotated[str, values.timezone] = "UTC"


class SafetyConfig(_Section, frozen=True, kw_only=True):
    """What a pass may not do without consent."""

    max_delete_fraction: Annotated[float, values.fraction] = 0.5


class HttpConfig(_Section, frozen=True, kw_only=True):
    """The web server of the service, and of `cachesync serve`."""

    host: Annotated[str, _host] = "127.0.0.1"
    port: Annotated[int, values.integer(0, 65_535)] = 8080
    base_path: Annotated[str, _base_path] = ""
    max_lag: Duration = 600.0
    search_timeout: Annotated[float, values.duration(0.1)] = 5.0
    max_searches: Annotated[int, values.integer(1, 64)] = 8
    metrics: Annotated[str | None, _listener] = None
    allow_origins: Annotated[tuple[str, ...], _origins] = ()


class LogConfig(_Section, frozen=True, kw_only=True):
    """What is told on stderr."""

    level: Annotated[LogLevel, values.choice(*get_args(LogLevel))] = "info"
    format: Annotated[LogFormat, values.choice(*get_args(LogFormat))] = "auto"


class KibanaConfig(_Section, frozen=True, kw_only=True):
    """Where saved objects go."""

    url: Annotated[str | None, _kibana_url] = None
    public_url: Annotated[str | None, _kibana_url] = None
    space: Annotated[str, _space] = "default"
    api_key: Hidden = None
    api_key_file: Location = None
    ca_certs: Location = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, with its defaults."""

    pages: PagesConfig = PagesConfig()
    watch: WatchConfig = WatchConfig()
    index: IndexConfig = IndexConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    search: SearchConfig = SearchConfig()
    safety: SafetyConfig = SafetyConfig()
    http: HttpConfig = HttpConfig()
    log: LogConfig = LogConfig()
    kibana: KibanaConfig = KibanaConfig()

    def shown(self) -> dict[str, dict[str, Any]]:
        """Return all keys and values, as YAML has them, without secrets."""
        return {name: {key: _shown(value) for key, value in _items(getattr(self, name))} for name in SECTIONS}


SECTIONS: Final[dict[str, type[_Section]]] = dict(Config.__annotations__)
"""The sections by name."""


def _items(section: _Section) -> Iterator[tuple[str, Any]]:
    return ((key, getattr(section, key)) for key in section.__struct_fields__)


def _shown(value: Any) -> Any:
    match value:
        case Secret():
            return "**********"
        case Path():
            return str(value)
        case tuple():
            return list(value)
        case _:
            return value


class Misspelt(NamedTuple):
    """A variable of the environment that isn't configuration, though its name is nearly that of a key."""

    name: str
    meant: str
    """The variable of that key."""


class Loaded(NamedTuple):
    """A configuration and what its relative paths are relative to."""

    config: Config
    file: Path | None
    base: Path
    misspelt: tuple[Misspelt, ...] = ()

    def path(self, path: Path) -> Path:
        """Resolve a path of the configuration: relative to its file, without one to the working directory."""
        return self.base / path.expanduser()


def load(file: Path | None, environment: Environment[str, str] = os.environ) -> Loaded:
    """Read the configuration.

    ``file`` defaults to ``$CACHESYNC_CONFIG``, then ``config/cachesync.yml``, then nothing but defaults.

    Raises:
        UsageError: the file can't be read, or anything in it or in the environment is wrong: all of it, a line each.
    """
    named = file or (Path(environment[FILE_VARIABLE]) if environment.get(FILE_VARIABLE) else None)
    found = named or _default_file()
    mistakes: list[str] = []
    tree = _read(found, environment, mistakes) if found else Mapping(1)
    overrides = _overrides(environment, mistakes)
    place = _Place(tree, overrides, found)
    config = _read_config(_merged(tree, overrides), place, mistakes)
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
        raise UsageError(f"the working directory can't be used: {error.strerror}; go to another one") from None


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
    """Put the environment's values for ``${VAR}`` and ``${VAR:-default}``, in place; ``path`` leads to ``value``."""

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
                    mistakes.append(f"{file}:{value.lines[key]}: a '${{' without its end: expected ${{NAME}}")
                value[key] = _VARIABLE.sub(text_of, item)
            except KeyError as error:
                # A secret may have a ${ of its own, and so may one whose key is misspelt.
                section, name = (*path, str(key), "")[:2]
                told = _field(section, name) is not None and not _is_secret(section, name)
                variable = error.args[0] if told else "a variable"
                mistakes.append(
                    f"{file}:{value.lines[key]}: {variable} is not set in the environment and has no default"
                )


_Overrides = dict[tuple[str, str], Value]


def _overrides(environment: Environment[str, str], mistakes: list[str]) -> _Overrides:
    """Return what ``CACHESYNC_SECTION__KEY`` variables say. A list is written as in YAML: ``[a, b]``."""
    found: _Overrides = {}
    for name, text in environment.items():
        section, separator, key = name.removeprefix(_PREFIX).lower().partition(_SEPARATOR)
        if not (name.startswith(_PREFIX) and separator):
            continue
        if _field(section, key) is None:
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
    """Yield all variables that are configuration."""
    yield FILE_VARIABLE
    for section, keys in SECTIONS.items():
        for key in keys.readers():
            yield f"{_PREFIX}{section}{_SEPARATOR}{key}".upper()


def _misspelt(environment: Environment[str, str]) -> Iterator[Misspelt]:
    """Find variables that may have been meant as configuration.

    They are no mistakes: who runs us may have variables of its own. Kubernetes makes CACHESYNC_HTTP_PORT of a service
    called ``cachesync-http``.
    """
    for name in environment:
        if name.startswith(_PREFIX) and _SEPARATOR not in name and (meant := _nearest(name)):
            yield Misspelt(name, meant)


def _nearest(name: str) -> str | None:
    """Return the variable whose name differs from a name, which is none, by one character."""
    return next((known for known in _variables() if _differ_by_one(name.upper(), known)), None)


def _differ_by_one(one: str, other: str) -> bool:
    """Tell whether a character is missing, added, another one, or has changed places with the next."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    one, other = one[same:], other[same:]
    swapped = one[:2] == other[1::-1] and one[2:] == other[2:]
    return one != other and (one[1:] in (other, other[1:]) or one == other[1:] or swapped)


def _merged(tree: Mapping, overrides: _Overrides) -> dict[str, Any]:
    """Lay the environment over the file. A key of ours without a value (``reindex:``) is a key left out."""
    merged: dict[str, Any] = {}
    for section, keys in tree.items():
        if isinstance(keys, Mapping):
            merged[section] = {
                key: value for key, value in keys.items() if value is not None or _field(section, key) is None
            }
        elif keys is not None or section not in SECTIONS:
            merged[section] = keys
    for (section, key), value in overrides.items():
        keys = merged.setdefault(section, {})
        if isinstance(keys, dict):
            keys[key] = value
    return merged


def _field(section: str, key: str) -> Read | None:
    """Return what reads a key; None: there is no such key."""
    return SECTIONS[section].readers().get(key) if section in SECTIONS else None


def _is_secret(section: str, key: str) -> bool:
    return _field(section, key) is values.secret


class _Place(NamedTuple):
    """Where what is wrong is to be mended."""

    tree: Mapping
    overrides: _Overrides
    file: Path | None

    def told(self, message: str, section: str, key: str = "", *, named: str = "") -> str:
        """Say what is wrong with a key, and where that stands. ``named``: what the key is called then."""
        name = named or f"{section}{'.' if key else ''}{key}"
        if (section, key) in self.overrides or self.file is None:
            return f"environment: {_PREFIX}{section.upper()}{_SEPARATOR}{key.upper()}: {message}"
        line = yamltext.line_of(self.tree, [step for step in (section, key) if step], 1)
        return f"{self.file}:{line}: {name}: {message}"


def _read_config(sections: dict[str, Any], place: _Place, mistakes: list[str]) -> Config:
    """Read all sections; what is wrong with any of them is told."""
    found: dict[str, Any] = {}
    for name in sorted(sections, key=[*SECTIONS, *sections].index):
        keys = sections[name]
        if name not in SECTIONS:
            mistakes.append(place.told(_no_such(name, SECTIONS), name, named=_name_in(name)))
        elif not isinstance(keys, dict):
            mistakes.append(place.told(f"expected keys below it, found {_kind(keys)}", name))
        else:
            found[name] = SECTIONS[name](**_read_section(name, keys, place, mistakes))
    return Config(**found)


def _read_section(section: str, keys: dict[str, Value], place: _Place, mistakes: list[str]) -> dict[str, Any]:
    readers = SECTIONS[section].readers()
    found: dict[str, Any] = {}
    for key, value in keys.items():
        if key not in readers:
            mistakes.append(place.told(_no_such(key, readers), section, key, named=f"{section}.{_name_in(key)}"))
            continue
        try:
            found[key] = readers[key](value)
        except ValueError as error:
            is_told = not _is_secret(section, key) and not key.endswith("url")  # people put passwords into addresses
            mistakes.append(place.told(f"{error}, found {value!r:.80}" if is_told else str(error), section, key))
    return found


def _no_such(key: str, known: Iterable[str]) -> str:
    is_glued = not re.fullmatch(r"[\w-]*", key)
    return f"no such key{' (a colon needs a blank behind it)' if is_glued else ''}; expected one of {', '.join(known)}"


def _kind(value: object) -> str:
    """Name a value without telling a text, which may be a key and its secret whose colon was forgotten."""
    return "a text" if isinstance(value, str) else yamltext.describe(value)


def _name_in(key: str) -> str:
    """Return what may be a name in a key that isn't ours. A secret follows where a colon has no blank behind it."""
    name = re.split(r"[^\w-]", key, maxsplit=1)[0][:_LONGEST_NAME]
    return name if name == key else f"{name}…"

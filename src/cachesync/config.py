"""The configuration: a YAML file, the environment over it, and every mistake told at once.

Only commands read it; everything below them is handed values.
"""

import os
import re
import zoneinfo
from collections.abc import Iterator
from collections.abc import Mapping as Environment
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from cachesync import yamltext
from cachesync.errors import UsageError
from cachesync.index.server import with_port
from cachesync.pages.pattern import Pattern
from cachesync.search.install import MIRROR_URL
from cachesync.yamltext import Mapping, Repeated, Sequence, Value, YamlError

FILE_VARIABLE: Final = "CACHESYNC_CONFIG"
DEFAULT_FILE: Final = Path("config/cachesync.yml")
EMBEDDED: Final = "embedded:"
"""How the URL of an embedded index starts; its folder follows."""

_PREFIX: Final = "CACHESYNC_"
_SEPARATOR: Final = "__"

_UNITS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)")


def _seconds(value: object) -> object:
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        if isinstance(value, str):
            raise ValueError("expected seconds, or a number with ms, s, m, h or d behind it, as in 300ms")
        return value
    return float(match[1]) * _UNITS[match[2]]


def _texts(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _path(value: object) -> object:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected a path")
    _expanded(value)
    return value


def _expanded(path: str) -> None:
    try:
        Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"expected a path: {error}") from None


def _patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if not all(pattern.strip() and not pattern.startswith("!") for pattern in patterns):
        raise ValueError("expected patterns as in .gitignore, none of them empty or starting with '!'")
    Pattern(patterns)
    return patterns


def _names(names: tuple[str, ...]) -> tuple[str, ...]:
    if not all(name and "/" not in name for name in names):
        raise ValueError(
            "expected names of folders or files, none of them empty or with '/': for paths there is exclude"
        )
    return names


def _timezone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("expected a time zone like UTC or Europe/Berlin") from None
    return name


def _cron(expression: str | None) -> str | None:
    if not expression or not expression.strip():
        return None
    try:
        comes = len(expression.split()) == 5 and next(CronSim(expression, datetime.now(UTC)), None)
    except CronSimError:
        comes = None
    if not comes:
        raise ValueError("expected a cron expression like '0 4 * * 0': minute, hour, day of month, month, day of week")
    return expression


def _host(host: str) -> str:
    if not re.fullmatch(r"[^\s/\[\]\x00]+", host):
        raise ValueError("expected an address or a host's name, such as 127.0.0.1, 0.0.0.0 or ::")
    return host


def _base_path(path: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", path):
        raise ValueError("expected nothing or a path like /cachesync: a '/' first, none at the end, no blanks, ? or #")
    return path


def _index_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,99}", name):
        raise ValueError("expected small letters, digits and _ . - (at most 100, a letter or digit first)")
    return name


def _index_urls(urls: tuple[str, ...]) -> tuple[str, ...]:
    servers = [url for url in urls if re.match(r"https?://[^/]", url)]
    folders = [url for url in urls if re.match(rf"{EMBEDDED}.", url)]
    if any("@" in url for url in servers):
        raise ValueError("expected no user and password in it: they go to index.username and index.password")
    for url in folders:
        _expanded(url.removeprefix(EMBEDDED))
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


def _kibana_url(url: str) -> str:
    if "@" in url:
        raise ValueError("expected no user and password in it: an API key goes to kibana.api_key")
    if not re.fullmatch(r"https?://[^\s/?#\\]+(/[^\s?#\\]*)?", url):
        raise ValueError("expected http(s)://HOST:PORT, perhaps with a base path, as in https://example.org/kibana")
    return url.rstrip("/")


def _space(space: str) -> str:
    if not re.fullmatch(r"[a-z0-9_-]+", space):
        raise ValueError("expected the space's identifier, as in its address: small letters, digits, _ and -")
    return space


def _at_least(least: float) -> AfterValidator:
    """Refuse fewer seconds."""

    def check(seconds: float) -> float:
        if seconds < least:
            raise ValueError(f"expected at least {least:g}s")
        return seconds

    return AfterValidator(check)


Duration = Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)]
"""Seconds."""

Location = Annotated[Path, BeforeValidator(_path)]
"""A path; ``~`` is the home folder."""

Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
"""A list of texts; a single text is a list of one."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Pages(_Section):
    """Where pages are."""

    root: Location = Path("pages")
    include: Annotated[Texts, AfterValidator(_patterns), Field(min_length=1)] = ("_cache/**/specs.md",)
    exclude: Annotated[Texts, AfterValidator(_patterns)] = ()
    ignore: Annotated[Texts, AfterValidator(_names)] = (
        *("@eaDir", "@tmp", "#recycle", "#snapshot"),
        *("@Recycle", "@Recently-Snapshot"),
        "~snapshot",
        "lost+found",
        *("$RECYCLE.BIN", "System Volume Information", "FOUND.[0-9][0-9][0-9]"),
        *("__MACOSX", "Network Trash Folder", "Temporary Items"),
        "*~",
    )
    max_bytes: Annotated[int, Field(gt=0)] = 64_000_000


class Watch(_Section):
    """How changes are noticed."""

    mode: Literal["auto", "native", "polling"] = "auto"
    debounce: Duration = 0.3
    debounce_max: Duration = 5.0
    rescan_interval: Annotated[Duration, _at_least(1)] = 300.0


class Index(_Section):
    """Where documents go."""

    url: Annotated[Texts, AfterValidator(_index_urls)] = ("embedded:var/index",)
    name: Annotated[str, AfterValidator(_index_name)] = "spack-specs"
    api_key: SecretStr | None = None
    api_key_file: Location | None = None
    username: str | None = None
    username_file: Location | None = None
    password: SecretStr | None = None
    password_file: Location | None = None
    ca_certs: Location | None = None
    client_cert: Location | None = None
    client_key: Location | None = None
    shards: Annotated[int, Field(ge=1, le=1024)] = 1
    replicas: Annotated[int, Field(ge=0)] = 1
    refresh_interval: Annotated[Duration, _at_least(0.1)] = 1.0
    keep_generations: Annotated[int, Field(ge=0)] = 1
    auto_reindex: bool = True


class Search(_Section):
    """What answers say beyond what documents do."""

    mirror_url: str = MIRROR_URL
    aliases: Location | None = None


class Schedule(_Section):
    """When the index is rebuilt."""

    reindex: Annotated[str | None, AfterValidator(_cron)] = None
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"


class Safety(_Section):
    """What a pass may not do without consent."""

    max_delete_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5


class Http(_Section):
    """The service's own web server."""

    host: Annotated[str, AfterValidator(_host)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    base_path: Annotated[str, AfterValidator(_base_path)] = ""
    max_lag: Duration = 600.0


class Log(_Section):
    """What is told on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class Kibana(_Section):
    """Where saved objects go."""

    url: Annotated[str, AfterValidator(_kibana_url)] | None = None
    public_url: Annotated[str, AfterValidator(_kibana_url)] | None = None
    space: Annotated[str, AfterValidator(_space)] = "default"
    api_key: SecretStr | None = None
    api_key_file: Location | None = None
    ca_certs: Location | None = None


class Config(_Section):
    """Everything, with its defaults."""

    pages: Pages = Pages()
    watch: Watch = Watch()
    index: Index = Index()
    schedule: Schedule = Schedule()
    search: Search = Search()
    safety: Safety = Safety()
    http: Http = Http()
    log: Log = Log()
    kibana: Kibana = Kibana()


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
    config = Config()
    try:
        config = Config.model_validate(_merged(tree, overrides))
    except ValidationError as error:
        mistakes += [_told(each, tree, overrides, found) for each in error.errors(include_url=False)]
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
    for section, keys in Config.model_fields.items():
        for key in getattr(keys.annotation, "model_fields", ()):
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
    values: dict[str, Any] = {}
    for section, keys in tree.items():
        if isinstance(keys, Mapping):
            values[section] = {
                key: value for key, value in keys.items() if value is not None or _field(section, key) is None
            }
        elif keys is not None or _section(section) is None:
            values[section] = keys
    for (section, key), value in overrides.items():
        keys = values.setdefault(section, {})
        if isinstance(keys, dict):
            keys[key] = value
    return values


def _section(name: str) -> type[BaseModel] | None:
    field = Config.model_fields.get(name)
    return field.annotation if field and isinstance(field.annotation, type) else None


def _field(section: str, key: str) -> FieldInfo | None:
    model = _section(section)
    return model.model_fields.get(key) if model else None


def _is_secret(section: str, key: str) -> bool:
    field = _field(section, key)
    return field is not None and field.annotation == SecretStr | None


def _kind(value: object) -> str:
    """Name a value without telling a text, which may be a key and its secret whose colon was forgotten."""
    return "a text" if isinstance(value, str) else yamltext.describe(value)


def _name_in(key: str) -> str:
    """Return what may be a name in a key that isn't ours. A secret follows where a colon has no blank behind it."""
    name = re.split(r"[^\w-]", key, maxsplit=1)[0][:_LONGEST_NAME]
    return name if name == key else f"{name}…"


_LONGEST_NAME: Final = 80
"""So much is told of a key that isn't ours."""


def _told(error: ErrorDetails, tree: Mapping, overrides: _Overrides, file: Path | None) -> str:
    """Say one of pydantic's errors with its key, value, file and line."""
    section, key = ([str(step) for step in error["loc"]] + ["", ""])[:2]
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        known = (_section(section) or Config) if key else Config
        section, key = (section, _name_in(key)) if key else (_name_in(section), "")
        told = key or section
        why = " (a colon needs a blank behind it)" if told.endswith("…") and len(told) <= _LONGEST_NAME else ""
        message = f"no such key{why}; expected one of {', '.join(known.model_fields)}"
    elif error["type"] == "model_type":
        message = f"expected keys below it, found {_kind(error['input'])}"
    elif not _is_secret(section, key) and not key.endswith("url"):  # people put passwords into addresses
        message = f"{message[0].lower()}{message[1:]}, found {error['input']!r:.80}"
    if (section, key) in overrides or file is None:
        return f"environment: {_PREFIX}{section.upper()}{_SEPARATOR}{key.upper()}: {message}"
    line = yamltext.line_of(tree, [step for step in error["loc"] if step], 1)
    return f"{file}:{line}: {section}{'.' if key else ''}{key}: {message}"

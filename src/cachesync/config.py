"""The configuration: its sections, and their keys with types, defaults and validators.

Only commands use the configuration; the layers below them are passed plain values.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import structs

from cachesync import values
from cachesync.index.server import with_port
from cachesync.search.install import MIRROR_URL
from cachesync.values import Read, Secret
from cachesync.yamltext import Value

EMBEDDED: Final = "embedded:"
"""The prefix of an embedded index's URL; the path of its folder follows."""

WatchMode = Literal["auto", "native", "polling"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "console", "json"]


def _patterns(value: Value) -> tuple[str, ...]:
    patterns = values.texts(value)
    if not all(pattern.strip() and not pattern.startswith("!") for pattern in patterns):
        raise ValueError("expected patterns as in .gitignore, none of them empty or starting with '!'")
    if patterns != _DEFAULT_INCLUDE:
        from cachesync.pages.pattern import Pattern  # noqa: PLC0415  a search doesn't need patterns

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
        raise ValueError("expected names of folders or files, none of them empty or with '/': use exclude for paths")
    return names


def _index_urls(value: Value) -> tuple[str, ...]:
    urls = values.texts(value)
    servers = [url for url in urls if re.match(r"https?://[^/]", url)]
    folders = [url for url in urls if re.match(rf"{EMBEDDED}.", url)]
    if any("@" in url for url in servers):
        raise ValueError("expected no user and password in it: use index.username and index.password")
    for url in folders:
        values.expandable(url.removeprefix(EMBEDDED))
    if any(re.search(r"\s", url) for url in servers) or any("\0" in url for url in folders):
        raise ValueError("expected no whitespace in it")
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
        raise ValueError("expected a host and an optional port from 0 to 65535, as in http://localhost:9200") from None


def _kibana_url(value: Value) -> str:
    url = values.text(value)
    if "@" in url:
        raise ValueError("expected no user and password in it: use kibana.api_key")
    if not re.fullmatch(r"https?://[^\s/?#\\]+(/[^\s?#\\]*)?", url):
        raise ValueError("expected http(s)://HOST:PORT with an optional base path, as in https://example.org/kibana")
    return url.rstrip("/")


_index_name: Final = values.matching(
    r"[a-z0-9][a-z0-9_.-]{0,99}", "lowercase letters, digits and _ . - (at most 100, a letter or digit first)"
)
_host: Final = values.matching(r"[^\s/\[\]\x00]+", "an address or a hostname, such as 127.0.0.1, 0.0.0.0 or ::")
_base_path: Final = values.matching(
    r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*",
    "nothing or a path like /cachesync: a '/' first, none at the end, no spaces, ? or #",
)


def _listener(value: Value) -> str | None:
    """Validate ``HOST:PORT`` and return it; return None for an empty string."""
    address = values.text(value)
    if not address:
        return None
    host, _, port = address.rpartition(":")
    if not re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[^\s/\[\]:\x00]+", host) or not re.fullmatch("[0-9]{1,5}", port):
        raise ValueError("expected HOST:PORT, such as 127.0.0.1:9464, or nothing")
    values.integer(0, 65_535)(port)
    return address


def _origins(value: Value) -> tuple[str, ...]:
    """Validate the origins of web pages and return them."""
    origins = values.texts(value)
    if not all(re.fullmatch(r"\*|https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?", each) for each in origins):
        raise ValueError("expected http(s)://HOST[:PORT] as browsers send it, such as https://example.org, or *")
    return origins


_space: Final = values.matching(
    r"[a-z0-9_-]+", "the space's identifier, as in its URL: lowercase letters, digits, _ and -"
)

Location = Annotated[Path | None, values.path]
"""An optional path."""

Hidden = Annotated[Secret | None, values.secret]
"""An optional secret."""

Duration = Annotated[float, values.duration()]
"""A duration in seconds."""

_DEFAULT_INCLUDE: Final = ("_cache/**/specs.md",)


class _Section(msgspec.Struct, frozen=True, kw_only=True):
    """A section of the configuration. Each key has a type, a function that reads the key's value, and a default."""

    @classmethod
    def readers(cls) -> dict[str, Read]:
        """Return the keys, each with the function that reads its value."""
        return {key: hint.__metadata__[0] for key, hint in cls.__annotations__.items()}


class PagesConfig(_Section, frozen=True, kw_only=True):
    """The location of the pages, and which files are pages."""

    root: Annotated[Path, values.path] = Path("pages")
    include: Annotated[tuple[str, ...], _some_patterns] = _DEFAULT_INCLUDE
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
    """How changes to pages are detected."""

    mode: Annotated[WatchMode, values.choice(*get_args(WatchMode))] = "auto"
    debounce: Duration = 0.3
    debounce_max: Duration = 5.0
    rescan_interval: Annotated[float, values.duration(1)] = 300.0


# Many fields: one for each key of the section.
class IndexConfig(_Section, frozen=True, kw_only=True):
    """The index's location, credentials and layout."""

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
    """The mirror named in search results, and the file with other names of packages."""

    mirror_url: Annotated[str, values.text] = MIRROR_URL
    aliases: Location = None


class ScheduleConfig(_Section, frozen=True, kw_only=True):
    """When the service reindexes on a schedule."""

    reindex: Annotated[str | None, values.schedule] = None
    timezone: Annotated[str, values.timezone] = "UTC"


class SafetyConfig(_Section, frozen=True, kw_only=True):
    """The limit on what a pass may do without consent."""

    max_delete_fraction: Annotated[float, values.fraction] = 0.5


class HttpConfig(_Section, frozen=True, kw_only=True):
    """The web server of the service and of `cachesync serve`."""

    host: Annotated[str, _host] = "127.0.0.1"
    port: Annotated[int, values.integer(0, 65_535)] = 8080
    base_path: Annotated[str, _base_path] = ""
    max_lag: Duration = 600.0
    search_timeout: Annotated[float, values.duration(0.1)] = 5.0
    max_searches: Annotated[int, values.integer(1, 64)] = 8
    metrics: Annotated[str | None, _listener] = None
    allow_origins: Annotated[tuple[str, ...], _origins] = ()


class LogConfig(_Section, frozen=True, kw_only=True):
    """What is logged to stderr, and in which format."""

    level: Annotated[LogLevel, values.choice(*get_args(LogLevel))] = "info"
    format: Annotated[LogFormat, values.choice(*get_args(LogFormat))] = "auto"


class KibanaConfig(_Section, frozen=True, kw_only=True):
    """The Kibana server and space in which saved objects are installed."""

    url: Annotated[str | None, _kibana_url] = None
    public_url: Annotated[str | None, _kibana_url] = None
    space: Annotated[str, _space] = "default"
    api_key: Hidden = None
    api_key_file: Location = None
    ca_certs: Location = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration, with its defaults."""

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
        """Return all keys and values as types that YAML supports, with secrets redacted."""
        sections = {name: structs.asdict(getattr(self, name)) for name in SECTIONS}
        return {name: {key: _shown(value) for key, value in keys.items()} for name, keys in sections.items()}


SECTIONS: Final[dict[str, type[_Section]]] = dict(Config.__annotations__)
"""The sections by name."""


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

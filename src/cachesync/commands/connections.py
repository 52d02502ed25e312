"""Opens the index and Kibana with the credentials and certificates that the configuration names.

The module is among the commands because only commands read the configuration.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cachesync.config import EMBEDDED
from cachesync.config_loader import Loaded
from cachesync.errors import UsageError
from cachesync.index.base import Index
from cachesync.index.connection_health import ConnectionHealth
from cachesync.index.server import IndexServer, Layout
from cachesync.values import Secret

if TYPE_CHECKING:  # slow to import, and not needed by most commands
    from cachesync.kibana.server import Kibana

_CREDENTIALS: Final = ("api_key", "username", "password")
_CERTIFICATES: Final = ("ca_certs", "client_cert", "client_key")

_SPACE: Final = ord(" ")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_=-]+")


class Connections:
    """The servers that the configuration names."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._config = loaded.config
        self._is_embedded = self._config.index.url[0].startswith(EMBEDDED)

    def index(self, health: ConnectionHealth | None = None) -> Index:
        """Open the index; ``health`` records the state of its connection."""
        server = IndexServer(self._config.index.url)
        if not self._is_embedded:
            server = IndexServer(server.urls, *self._credentials(), *map(self._path, _CERTIFICATES))
        return self._open(server, health)

    def kibana(self) -> "Kibana":
        """Return the Kibana server."""
        from cachesync.kibana.server import Kibana  # noqa: PLC0415  few commands need Kibana

        settings = self._config.kibana
        if settings.url is None:
            raise UsageError("kibana.url: expected the URL of Kibana, as in http://localhost:5601")
        key = self._secret("api_key", "kibana")
        return Kibana(settings.url, settings.space, key, self._path("ca_certs", "kibana"), settings.public_url)

    def index_uses(self) -> Iterator[Callable[[], object]]:
        """Yield functions that use the index's secrets and certificates as commands do, one at a time."""
        if self._is_embedded:
            yield self.index
            return
        server = IndexServer(self._config.index.url)
        yield from (partial(self._secret, name) for name in _CREDENTIALS)
        yield self._credentials
        ca_certs, client_cert, client_key = map(self._path, _CERTIFICATES)
        yield lambda: self._open(server._replace(ca_certs=ca_certs))
        yield lambda: self._open(server._replace(client_cert=client_cert, client_key=client_key))

    def kibana_uses(self) -> Iterator[Callable[[], object]]:
        """Yield functions that use Kibana's secrets and certificates as commands do."""
        if self._config.kibana.url:
            yield self.kibana
            yield self._trust_kibana

    def _open(self, server: IndexServer, health: ConnectionHealth | None = None) -> Index:
        from cachesync.index.engines import open_index  # noqa: PLC0415  some commands don't need an index

        settings = self._config.index
        layout = Layout(settings.shards, settings.replicas, settings.refresh_interval, settings.keep_generations)
        return open_index(server, settings.name, layout, self._loaded.path, health)

    def _credentials(self) -> tuple[str | None, str | None, str | None]:
        api_key, username, password = map(self._secret, _CREDENTIALS)
        if api_key and (username or password):
            raise UsageError("index.api_key: expected either this or index.username and index.password, not both")
        if bool(username) != bool(password):
            missing, given = ("username", "password") if password else ("password", "username")
            raise UsageError(f"index.{missing}: expected it together with index.{given}")
        return api_key, username, password

    def _trust_kibana(self) -> None:
        from cachesync.kibana.server import NAMES  # noqa: PLC0415  see above
        from cachesync.tls import trusting  # noqa: PLC0415  see above

        trusting(self._path("ca_certs", "kibana"), NAMES)

    def _secret(self, name: str, section: str = "index") -> str | None:
        """Return one of a section's credentials."""
        value = getattr(getattr(self._config, section), name)
        return _read_secret(f"{section}.{name}", value, self._path(f"{name}_file", section))

    def _path(self, name: str, section: str = "index") -> Path | None:
        path = getattr(getattr(self._config, section), name)
        return self._loaded.path(path) if path else None


def _read_secret(key: str, value: Secret | str | None, file: Path | None) -> str | None:
    """Return a secret; None if it is unset or set to an empty environment variable. No message ever contains a secret.

    ``key`` is the secret's name in the configuration, such as ``index.api_key``, ``value`` is the value there, and
    ``file`` is the file that contains the secret instead. An API key must be one line of base64.

    Raises:
        UsageError: the secret can't be read, is invalid, or is given both as a value and as a file.
    """
    found, where = value.reveal() if isinstance(value, Secret) else value or "", ""
    if not found:
        if file is None:
            return None
        key, where = f"{key}_file", f" in {file}"
        found = _text_of(key, file)
    elif file is not None:
        raise UsageError(f"{key}: expected either this or {key}_file, not both")
    if key.partition(".")[2].startswith("api_key") and not _BASE64.fullmatch(found):
        raise UsageError(f"{key}: expected one line of base64{where}: the 'encoded' value of the created key")
    if not found or any(ord(each) < _SPACE for each in found):
        raise UsageError(f"{key}: expected one line{where}, not empty and without control characters")
    return found


def _text_of(key: str, file: Path) -> str:
    """Return the text of a file without a byte order mark and trailing line ends."""
    try:
        return file.read_text("utf-8-sig").strip("\r\n")
    except OSError as error:
        raise UsageError(f"{key}: cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{key}: cannot read {file}: expected UTF-8") from None

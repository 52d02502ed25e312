"""Opens the index and Kibana with the credentials and certificates that the configuration names.

It is among the commands since they alone read the configuration.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cachesync.commands.secrets import secret
from cachesync.config import EMBEDDED
from cachesync.config_loader import Loaded
from cachesync.errors import UsageError
from cachesync.index.base import Index
from cachesync.index.connection_health import ConnectionHealth
from cachesync.index.server import IndexServer, Layout

if TYPE_CHECKING:  # slow to import, and not needed by most commands
    from cachesync.kibana.server import Kibana

_CREDENTIALS: Final = ("api_key", "username", "password")
_CERTIFICATES: Final = ("ca_certs", "client_cert", "client_key")


class Connections:
    """The servers that the configuration names."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._config = loaded.config
        self._is_embedded = self._config.index.url[0].startswith(EMBEDDED)

    def index(self, health: ConnectionHealth | None = None) -> Index:
        """Open the index, with ``health`` recording the state of its connection."""
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
        """Yield every use that commands make of the index's secrets and certificates, one at a time."""
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
        """Yield the same of Kibana's."""
        if self._config.kibana.url:
            yield self.kibana
            yield self._trust_kibana

    def _open(self, server: IndexServer, health: ConnectionHealth | None = None) -> Index:
        from cachesync.index.engines import open_index  # noqa: PLC0415  some commands need no index

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
        return secret(f"{section}.{name}", value, self._path(f"{name}_file", section))

    def _path(self, name: str, section: str = "index") -> Path | None:
        path = getattr(getattr(self._config, section), name)
        return self._loaded.path(path) if path else None

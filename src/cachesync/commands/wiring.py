"""The configuration's values, put together into what commands work with."""

from functools import cached_property
from pathlib import Path

from pydantic import SecretStr

from cachesync import config, log
from cachesync.config import Config, Loaded
from cachesync.errors import UsageError
from cachesync.index.base import Index
from cachesync.index.opening import open_index
from cachesync.index.server import Layout, Server
from cachesync.index.vitals import Vitals
from cachesync.pages.pattern import Pattern
from cachesync.sync.guard import Guard
from cachesync.sync.scan import Source


class Wiring:
    """What one run of a command needs. The configuration is read when it is first asked for."""

    def __init__(self, config_file: Path | None, *, quiet: bool = False) -> None:
        """``quiet``: leave the log as it is."""
        self._config_file = config_file
        self._quiet = quiet

    @cached_property
    def loaded(self) -> Loaded:
        """The configuration."""
        loaded = config.load(self._config_file)
        if not self._quiet:
            log.setup(loaded.config.log.level, loaded.config.log.format)
        return loaded

    def set_up_log(self) -> None:
        """Log as the configuration says."""
        log.setup(self.config.log.level, self.config.log.format)

    @property
    def config(self) -> Config:
        """The configuration's values."""
        return self.loaded.config

    @cached_property
    def source(self) -> Source:
        """Where pages come from."""
        pages = self.config.pages
        return Source(self.loaded.path(pages.root), Pattern(pages.include, pages.exclude), pages.max_bytes)

    def again(self) -> "Wiring":
        """Return the wiring of the configuration as it is now. It may be refused, so the log stays as it is."""
        return Wiring(self._config_file, quiet=True)

    @cached_property
    def index(self) -> Index:
        """Where documents go."""
        return self.index_with(None)

    def index_with(self, vitals: Vitals | None) -> Index:
        """Return where documents go, and let ``vitals`` know how the way to it fares."""
        settings = self.config.index
        server = Server(
            urls=settings.url,
            api_key=self._secret("api_key"),
            username=self._secret("username"),
            password=self._secret("password"),
            **{name: self._path(name) for name in ("ca_certs", "client_cert", "client_key")},
        )
        layout = Layout(settings.shards, settings.replicas, settings.refresh_interval, settings.keep_generations)
        return open_index(server, settings.name, layout, self.loaded.path, vitals)

    def _secret(self, name: str) -> str | None:
        """Return one of the index's credentials, from the configuration or from its file."""
        value = getattr(self.config.index, name)
        file = self._path(f"{name}_file")
        if value is not None:
            return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        try:
            return file.read_text("utf-8").strip() if file else None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"index.{name}_file: cannot read {file}: {error}") from None

    def _path(self, name: str) -> Path | None:
        path = getattr(self.config.index, name)
        return self.loaded.path(path) if path else None

    def guard(self, consent: bool) -> Guard:
        """How much a pass may lose."""
        return Guard(self.config.safety.max_delete_fraction, consent=consent)

"""The configuration's values, put together into what commands work with."""

from functools import cached_property
from pathlib import Path

from cachesync import config, log
from cachesync.config import Config, Loaded
from cachesync.index.base import Index
from cachesync.index.opening import open_index
from cachesync.pages.pattern import Pattern
from cachesync.sync.guard import Guard
from cachesync.sync.scan import Source

WRITER_WAIT = 60.0
"""Seconds that a writing command waits for another to end."""


class Wiring:
    """What one run of a command needs. The configuration is read when it is first asked for."""

    def __init__(self, config_file: Path | None) -> None:
        self._config_file = config_file

    @cached_property
    def loaded(self) -> Loaded:
        """The configuration."""
        loaded = config.load(self._config_file)
        log.setup(loaded.config.log.level, loaded.config.log.format)
        return loaded

    @property
    def config(self) -> Config:
        """The configuration's values."""
        return self.loaded.config

    @cached_property
    def source(self) -> Source:
        """Where pages come from."""
        pages = self.config.pages
        return Source(self.loaded.path(pages.root), Pattern(pages.include, pages.exclude), pages.max_bytes)

    @cached_property
    def index(self) -> Index:
        """Where documents go."""
        return open_index(self.config.index.url, self.config.index.name, self.loaded.path)

    def guard(self, consent: bool) -> Guard:
        """How much a pass may lose."""
        return Guard(self.config.safety.max_delete_fraction, consent=consent)

"""Builds the objects that commands work with, such as the index and the guard, from the configuration.

The module is among the commands because only commands read the configuration.
"""

from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from cachesync import config_loader, log
from cachesync.commands.connections import Connections
from cachesync.config import Config
from cachesync.config_loader import Loaded
from cachesync.errors import IndexUnusableError, NoIndexError, UsageError
from cachesync.index.base import Index
from cachesync.index.generation import Reader
from cachesync.log import get_logger
from cachesync.search.aliases import Aliases, load_aliases
from cachesync.search.answer import Answer, ask
from cachesync.search.question import Question
from cachesync.search.vocabulary import Vocabulary

if TYPE_CHECKING:  # slow to import, and not needed by most commands
    from cachesync.sync.guard import Consent, Guard
    from cachesync.sync.scan import Source
    from cachesync.web.api import Api

_log = get_logger()


class Components:
    """The objects that one run of a command needs, each built when it is first used."""

    def __init__(self, config_file: Path | None, *, quiet: bool = False) -> None:
        """``quiet`` leaves the log as it is."""
        self._config_file = config_file
        self._quiet = quiet

    @cached_property
    def loaded(self) -> Loaded:
        """The configuration."""
        loaded = config_loader.load(self._config_file)
        if not self._quiet:
            log.setup(loaded.config.log.level, loaded.config.log.format)
            for name, meant in loaded.misspelt:
                _log.warning(
                    "a variable is ignored: its name resembles that of a configuration key",
                    action="config.variable_ignored",
                    name=name,
                    meant=meant,
                )
        return loaded

    def set_up_log(self) -> None:
        """Configure the log."""
        log.setup(self.config.log.level, self.config.log.format)

    @property
    def config(self) -> Config:
        """The configuration's values."""
        return self.loaded.config

    @cached_property
    def source(self) -> "Source":
        """The source of the pages."""
        from cachesync.pages.pattern import Pattern  # noqa: PLC0415  a search doesn't need pages
        from cachesync.sync.scan import Source  # noqa: PLC0415  see above

        pages = self.config.pages
        pattern = Pattern(pages.include, pages.exclude, pages.ignore)
        return Source(self.loaded.path(pages.root), pattern, pages.max_bytes)

    def again(self) -> "Components":
        """Return components that reread the configuration. The log is left as it is in case the new one is invalid."""
        return Components(self._config_file, quiet=True)

    @cached_property
    def connections(self) -> Connections:
        """The object that opens the index and Kibana."""
        return Connections(self.loaded)

    @cached_property
    def index(self) -> Index:
        """The index that documents are written to and read from."""
        return self.connections.index()

    def reader(self, *, refresh: bool = False) -> Reader:
        """Open the live generation, see :meth:`Index.reader`. The error says if a service is still filling it."""
        try:
            return self.index.reader(refresh=refresh)
        except NoIndexError:
            if not (status := self.index.status()).service:
                raise
            from cachesync.service.first_fill import noted_progress  # noqa: PLC0415  see above

            known = noted_progress(self.index.notes())
        filling = (
            f"no index {self.config.index.name} at {self.index.url} yet: the service ({status.holder}) is filling it"
        )
        raise NoIndexError(f"{filling}, {known.done:,} of {known.pages:,} pages are done" if known else filling)

    @cached_property
    def aliases(self) -> Aliases:
        """The other names by which people know packages."""
        if self.config.search.aliases is None:
            return load_aliases()
        file = self.loaded.path(self.config.search.aliases)
        try:
            lines = file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UsageError(f"search.aliases: cannot read {file}: {reason}") from None
        return load_aliases(lines, f"search.aliases: {file}")

    def ask(self, question: Question) -> Answer:
        """Answer a question from the live generation. If a new one replaces it meanwhile, retry with the new one."""

        def answer() -> Answer:
            reader = self.reader()
            return ask(question, reader, Vocabulary(reader, self.aliases), self.config.search.mirror_url)

        try:
            return answer()
        except IndexUnusableError:
            return answer()

    def api(self, *, is_public: bool) -> "Api":
        """Return the HTTP API, for which the index is opened separately.

        ``is_public`` means that error messages reveal nothing about the index behind the API.
        """
        from cachesync.web.api import Api, Bounds  # noqa: PLC0415  see above
        from cachesync.web.searcher import Searcher  # noqa: PLC0415  see above

        settings = self.config.http
        searcher = Searcher(
            self.connections.index(), self.aliases, self.config.search.mirror_url, logs_failures=is_public
        )
        return Api(searcher, Bounds(settings.search_timeout, settings.max_searches), is_public=is_public)

    def mistakes(self) -> list[str]:
        """Return the errors that commands would raise about secrets, certificates and aliases.

        A missing ``pages.root`` is not a mistake: the root may be mounted later, and the service waits for that.
        """
        servers = self.connections
        uses = chain(servers.index_uses(), [lambda: self.aliases], servers.kibana_uses())
        found: dict[str, None] = {}
        for use in uses:
            try:
                use()
            except UsageError as error:
                found[str(error)] = None
        return list(found)

    def guard(self, consent: "Consent") -> "Guard":
        """Return the guard, which stops a pass that loses too many specs unless ``consent`` returns true."""
        from cachesync.sync.guard import Guard  # noqa: PLC0415  see above

        return Guard(self.config.safety.max_delete_fraction, consent)

"""The configuration's values, put together into what commands work with."""

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cachesync import config, log
from cachesync.commands.secrets import secret
from cachesync.config import Config, Loaded
from cachesync.errors import IndexUnusableError, NoIndexError, UsageError
from cachesync.index.base import Index, Reader
from cachesync.index.connection_health import ConnectionHealth
from cachesync.index.server import IndexServer, Layout
from cachesync.log import get_logger
from cachesync.search.aliases import Aliases, load_aliases
from cachesync.search.answer import Answer, ask
from cachesync.search.question import Question
from cachesync.search.vocabulary import Vocabulary

if TYPE_CHECKING:  # what most commands do without, and what takes a while to load
    from cachesync.kibana.server import Kibana
    from cachesync.sync.guard import Consent, Guard
    from cachesync.sync.scan import Source
    from cachesync.web.api import Api

_log = get_logger()

_CREDENTIALS: Final = ("api_key", "username", "password")
_CERTIFICATES: Final = ("ca_certs", "client_cert", "client_key")


class Components:
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
            for name, meant in loaded.misspelt:
                _log.warning(
                    "a variable is not configuration, though its name is nearly a key's", name=name, meant=meant
                )
        return loaded

    def set_up_log(self) -> None:
        """Log as the configuration says."""
        log.setup(self.config.log.level, self.config.log.format)

    @property
    def config(self) -> Config:
        """The configuration's values."""
        return self.loaded.config

    @cached_property
    def source(self) -> "Source":
        """Where pages come from."""
        from cachesync.pages.pattern import Pattern  # noqa: PLC0415  a search does without pages
        from cachesync.sync.scan import Source  # noqa: PLC0415  see above

        pages = self.config.pages
        pattern = Pattern(pages.include, pages.exclude, pages.ignore)
        return Source(self.loaded.path(pages.root), pattern, pages.max_bytes)

    def again(self) -> "Components":
        """Return the components of the configuration as it is now. It may be refused, so the log stays as it is."""
        return Components(self._config_file, quiet=True)

    @cached_property
    def index(self) -> Index:
        """Where documents go."""
        return self.index_with(None)

    def reader(self, *, fresh: bool = False) -> Reader:
        """Open the live generation, see :meth:`Index.reader`. Where there is none yet, tell of who is filling it."""
        try:
            return self.index.reader(fresh=fresh)
        except NoIndexError:
            if not (status := self.index.status()).service:
                raise
            from cachesync.service.first_fill import filled  # noqa: PLC0415  see above

            known = filled(self.index.notes())
        filling = (
            f"no index {self.config.index.name} at {self.index.url} yet: the service ({status.holder}) is filling it"
        )
        raise NoIndexError(f"{filling}, {known.done:,} of {known.pages:,} pages are done" if known else filling)

    @cached_property
    def aliases(self) -> Aliases:
        """What people call packages."""
        file = self._path("aliases", "search")
        if file is None:
            return load_aliases()
        try:
            lines = file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UsageError(f"search.aliases: cannot read {file}: {reason}") from None
        return load_aliases(lines, f"search.aliases: {file}")

    def ask(self, question: Question) -> Answer:
        """Answer a question from the live generation; if another takes its place just then, from that one."""
        try:
            return self._asked(question, self.reader())
        except IndexUnusableError:
            return self._asked(question, self.reader())

    def _asked(self, question: Question, reader: Reader) -> Answer:
        return ask(question, reader, Vocabulary(reader, self.aliases), self.config.search.mirror_url)

    def api(self, *, is_public: bool) -> "Api":
        """Return what answers over HTTP, over an index that is opened for nothing else.

        ``is_public``: errors tell nothing of what is behind.
        """
        from cachesync.web.api import Api, Bounds  # noqa: PLC0415  see above
        from cachesync.web.searcher import Searcher  # noqa: PLC0415  see above

        settings = self.config.http
        searcher = Searcher(self.index_with(None), self.aliases, self.config.search.mirror_url, logs_failures=is_public)
        return Api(searcher, Bounds(settings.search_timeout, settings.max_searches), is_public=is_public)

    def index_with(self, health: ConnectionHealth | None) -> Index:
        """Return where documents go, and let ``health`` know how the way to it fares."""
        return self._opened(IndexServer(self.config.index.url) if self._is_embedded else self._cluster(), health)

    @property
    def _is_embedded(self) -> bool:
        return self.config.index.url[0].startswith(config.EMBEDDED)

    def _opened(self, server: IndexServer, health: ConnectionHealth | None = None) -> Index:
        from cachesync.index.engines import open_index  # noqa: PLC0415  not even every command has an index

        settings = self.config.index
        layout = Layout(settings.shards, settings.replicas, settings.refresh_interval, settings.keep_generations)
        return open_index(server, settings.name, layout, self.loaded.path, health)

    def _cluster(self) -> IndexServer:
        """Where a cluster is, and who we are there."""
        return IndexServer(self.config.index.url, *self._credentials(), *map(self._path, _CERTIFICATES))

    def _credentials(self) -> tuple[str | None, str | None, str | None]:
        api_key, username, password = map(self._secret, _CREDENTIALS)
        if api_key and (username or password):
            raise UsageError("index.api_key: expected it, or index.username and index.password, not both")
        if bool(username) != bool(password):
            missing, given = ("username", "password") if password else ("password", "username")
            raise UsageError(f"index.{missing}: expected one beside index.{given}")
        return api_key, username, password

    def mistakes(self) -> list[str]:
        """Return what commands would refuse of secrets and certificates.

        That ``pages.root`` is missing is none: it may be mounted later, which the service waits for.
        """
        told = [mistake for use in self._uses() if (mistake := _refusal(use))]
        return list(dict.fromkeys(told))

    def _uses(self) -> Iterator[Callable[[], object]]:
        """Yield what commands do with secrets and certificates, each by itself."""
        server = IndexServer(self.config.index.url)
        if self._is_embedded:
            yield lambda: self.index
        else:
            yield from (partial(self._secret, name) for name in _CREDENTIALS)
            yield self._credentials
            ca_certs, client_cert, client_key = map(self._path, _CERTIFICATES)
            yield lambda: self._opened(server._replace(ca_certs=ca_certs))
            yield lambda: self._opened(server._replace(client_cert=client_cert, client_key=client_key))
        yield lambda: self.aliases
        if self.config.kibana.url:
            yield lambda: self.kibana
            yield self._trust_kibana

    def _trust_kibana(self) -> None:
        from cachesync.index.elastic.tls import trusting  # noqa: PLC0415  the client beside it takes a while to load

        trusting(self._path("ca_certs", "kibana"), "kibana.ca_certs")

    @cached_property
    def kibana(self) -> "Kibana":
        """Where Kibana is."""
        from cachesync.kibana.server import Kibana  # noqa: PLC0415  see above

        settings = self.config.kibana
        if settings.url is None:
            raise UsageError("kibana.url: expected where Kibana is, as in http://localhost:5601")
        key = self._secret("api_key", "kibana")
        return Kibana(settings.url, settings.space, key, self._path("ca_certs", "kibana"), settings.public_url)

    def _secret(self, name: str, section: str = "index") -> str | None:
        """Return one of a section's credentials."""
        return secret(
            f"{section}.{name}", getattr(getattr(self.config, section), name), self._path(f"{name}_file", section)
        )

    def _path(self, name: str, section: str = "index") -> Path | None:
        path = getattr(getattr(self.config, section), name)
        return self.loaded.path(path) if path else None

    def guard(self, consent: "Consent") -> "Guard":
        """How much a pass may lose, if whoever is asked doesn't consent to more."""
        from cachesync.sync.guard import Guard  # noqa: PLC0415  see above

        return Guard(self.config.safety.max_delete_fraction, consent)


def _refusal(use: Callable[[], object]) -> str | None:
    """Return why something can't be used."""
    try:
        use()
    except UsageError as error:
        return str(error)
    return None

"""Builds the objects that commands work with, such as the index and the guard, from the configuration."""

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cachesync import config_loader, log
from cachesync.commands.secrets import secret
from cachesync.config import EMBEDDED, Config
from cachesync.config_loader import Loaded
from cachesync.errors import IndexUnusableError, NoIndexError, UsageError
from cachesync.index.base import Index, Reader
from cachesync.index.connection_health import ConnectionHealth
from cachesync.index.server import IndexServer, Layout
from cachesync.log import get_logger
from cachesync.search.aliases import Aliases, load_aliases
from cachesync.search.answer import Answer, ask
from cachesync.search.question import Question
from cachesync.search.vocabulary import Vocabulary

if TYPE_CHECKING:  # slow to import, and not needed by most commands
    from cachesync.kibana.server import Kibana
    from cachesync.sync.guard import Consent, Guard
    from cachesync.sync.scan import Source
    from cachesync.web.api import Api

_log = get_logger()

_CREDENTIALS: Final = ("api_key", "username", "password")
_CERTIFICATES: Final = ("ca_certs", "client_cert", "client_key")


class Components:
    """The objects that one run of a command needs, each built when it is first used."""

    def __init__(self, config_file: Path | None, *, quiet: bool = False) -> None:
        """``quiet``: don't configure the log."""
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
        from cachesync.pages.pattern import Pattern  # noqa: PLC0415  a search needs no pages
        from cachesync.sync.scan import Source  # noqa: PLC0415  see above

        pages = self.config.pages
        pattern = Pattern(pages.include, pages.exclude, pages.ignore)
        return Source(self.loaded.path(pages.root), pattern, pages.max_bytes)

    def again(self) -> "Components":
        """Return components of the configuration read anew. It may turn out invalid, so the log is not configured."""
        return Components(self._config_file, quiet=True)

    @cached_property
    def index(self) -> Index:
        """The index that documents are written to and read from."""
        return self.index_with(None)

    def reader(self, *, refresh: bool = False) -> Reader:
        """Open the live generation, see :meth:`Index.reader`. If a service is still filling it, the error says so."""
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
        """Answer a question from the live generation; if it is replaced meanwhile, retry with its successor."""
        try:
            return self._ask(question, self.reader())
        except IndexUnusableError:
            return self._ask(question, self.reader())

    def _ask(self, question: Question, reader: Reader) -> Answer:
        return ask(question, reader, Vocabulary(reader, self.aliases), self.config.search.mirror_url)

    def api(self, *, is_public: bool) -> "Api":
        """Return the HTTP API, over an index opened for it alone.

        ``is_public``: error messages reveal nothing about the index behind the API.
        """
        from cachesync.web.api import Api, Bounds  # noqa: PLC0415  see above
        from cachesync.web.searcher import Searcher  # noqa: PLC0415  see above

        settings = self.config.http
        searcher = Searcher(self.index_with(None), self.aliases, self.config.search.mirror_url, logs_failures=is_public)
        return Api(searcher, Bounds(settings.search_timeout, settings.max_searches), is_public=is_public)

    def index_with(self, health: ConnectionHealth | None) -> Index:
        """Open the index, with ``health`` recording the state of its connection."""
        return self._open(IndexServer(self.config.index.url) if self._is_embedded else self._cluster(), health)

    @property
    def _is_embedded(self) -> bool:
        return self.config.index.url[0].startswith(EMBEDDED)

    def _open(self, server: IndexServer, health: ConnectionHealth | None = None) -> Index:
        from cachesync.index.engines import open_index  # noqa: PLC0415  some commands need no index

        settings = self.config.index
        layout = Layout(settings.shards, settings.replicas, settings.refresh_interval, settings.keep_generations)
        return open_index(server, settings.name, layout, self.loaded.path, health)

    def _cluster(self) -> IndexServer:
        """Return the cluster's URLs with our credentials and certificates."""
        return IndexServer(self.config.index.url, *self._credentials(), *map(self._path, _CERTIFICATES))

    def _credentials(self) -> tuple[str | None, str | None, str | None]:
        api_key, username, password = map(self._secret, _CREDENTIALS)
        if api_key and (username or password):
            raise UsageError("index.api_key: expected either this or index.username and index.password, not both")
        if bool(username) != bool(password):
            missing, given = ("username", "password") if password else ("password", "username")
            raise UsageError(f"index.{missing}: expected it together with index.{given}")
        return api_key, username, password

    def mistakes(self) -> list[str]:
        """Return the errors that commands would raise about secrets, certificates and aliases.

        A missing ``pages.root`` is not a mistake: it may be mounted later, and the service waits for it.
        """
        found = [mistake for use in self._uses() if (mistake := _usage_error(use))]
        return list(dict.fromkeys(found))

    def _uses(self) -> Iterator[Callable[[], object]]:
        """Yield every use that commands make of these, one at a time."""
        server = IndexServer(self.config.index.url)
        if self._is_embedded:
            yield lambda: self.index
        else:
            yield from (partial(self._secret, name) for name in _CREDENTIALS)
            yield self._credentials
            ca_certs, client_cert, client_key = map(self._path, _CERTIFICATES)
            yield lambda: self._open(server._replace(ca_certs=ca_certs))
            yield lambda: self._open(server._replace(client_cert=client_cert, client_key=client_key))
        yield lambda: self.aliases
        if self.config.kibana.url:
            yield lambda: self.kibana
            yield self._trust_kibana

    def _trust_kibana(self) -> None:
        from cachesync.kibana.server import NAMES  # noqa: PLC0415  see above
        from cachesync.tls import trusting  # noqa: PLC0415  see above

        trusting(self._path("ca_certs", "kibana"), NAMES)

    @cached_property
    def kibana(self) -> "Kibana":
        """The Kibana server."""
        from cachesync.kibana.server import Kibana  # noqa: PLC0415  see above

        settings = self.config.kibana
        if settings.url is None:
            raise UsageError("kibana.url: expected the URL of Kibana, as in http://localhost:5601")
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
        """Return the guard, which stops a pass that loses too many specs unless ``consent`` returns true."""
        from cachesync.sync.guard import Guard  # noqa: PLC0415  see above

        return Guard(self.config.safety.max_delete_fraction, consent)


def _usage_error(use: Callable[[], object]) -> str | None:
    """Return the message of the UsageError that a call raises, if any."""
    try:
        use()
    except UsageError as error:
        return str(error)
    return None

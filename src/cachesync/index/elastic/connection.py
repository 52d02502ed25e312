"""The way to a cluster: one client, and what its failures mean.

A failure is *temporary* (tried again for as long as there is patience), or a person has to do something about it. Each
is told apart in one place, here; what is said of single documents in a bulk answer, in :mod:`.bulk`.
"""

import base64
import contextlib
import logging
import re
import ssl
import time
from collections.abc import Callable
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final, cast
from urllib.parse import urlsplit

import elastic_transport
import elasticsearch
import msgspec
from elastic_transport import ObjectApiResponse
from elasticsearch import ApiError, Elasticsearch, TransportError
from elasticsearch.serializer import JsonSerializer, NdjsonSerializer

from cachesync.context import current, delays
from cachesync.errors import CachesyncError, ForbiddenError, IndexUnavailableError, IndexUnusableError, UsageError
from cachesync.index.connection_health import ConnectionHealth, Tries
from cachesync.index.elastic import tls
from cachesync.index.elastic.limits import Limits, is_too_large, too_large
from cachesync.index.server import IndexServer

logging.getLogger("elastic_transport").addHandler(logging.NullHandler())  # what its warnings say is ours to tell

REQUEST_SECONDS: Final = 30.0
"""How long one request may take until it counts as lost; it never takes longer than what is left of the patience."""

BUSY: Final = frozenset({429, 502, 503, 504})
"""How a server, or a proxy before it, says that it can't now."""

CLOSED: Final = "index_closed_exception"
"""The kind of error that says no more than "closed"."""

_LEAST_SECONDS: Final = 0.1
"""How long a request may take where no patience is left, and the resolution of all time-outs."""

_ANOTHER_SECONDS: Final = 2.5
"""What a request to one of several nodes leaves for a request to another."""

_TIDY_SECONDS: Final = 1.0
"""How long a request may take whose failure does no harm."""

_POOL: Final = 20
"""How many connections to a node are kept: two generations being written, the lease, and some searches."""


class _Json(JsonSerializer):
    """Requests and answers by msgspec; ready bytes go as they are."""

    def dumps(self, data: Any) -> bytes:
        return data if isinstance(data, bytes) else msgspec.json.encode(data)

    def json_loads(self, data: bytes) -> Any:
        """Decode an answer, but not the thousands of items of a bulk request in which nothing failed."""
        try:
            if data.startswith(b'{"errors":false'):
                return msgspec.structs.asdict(msgspec.json.decode(data, type=_NothingFailed))
            return msgspec.json.decode(data)
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from error


class _NothingFailed(msgspec.Struct):
    errors: bool
    took: int
    items: msgspec.Raw


class _Ndjson(NdjsonSerializer):
    """Ready bytes."""

    def dumps(self, data: Any) -> bytes:
        assert isinstance(data, bytes)
        return data


class Connection:
    """A client that waits out what passes by itself. Many threads may use it."""

    def __init__(
        self,
        server: IndexServer,
        patience: float,
        health: ConnectionHealth | None = None,
        certificates: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare a connection; nothing is sent yet.

        Args:
            server: where to.
            patience: how many seconds a call may take, all its tries together.
            health: are told how it fares.
            certificates: whom to trust and who we are; else they are read.

        Raises:
            UsageError: a certificate or key can't be read.
        """
        self.server = server
        self.patience = patience
        self._named = f"Elasticsearch at {server.url}"
        self._clients: dict[int, Elasticsearch] = {}
        self.health = health or ConnectionHealth()
        self.limits = Limits()
        """What requests ask for at most. It is only ever replaced as a whole."""
        options: dict[str, Any] = {}
        if told := authorization(server):
            options["headers"] = {"authorization": told}
        if secured := certificates or tls.context(server):
            options["ssl_context"] = secured
        try:
            self._client = Elasticsearch(
                list(server.nodes),
                max_retries=0,
                request_timeout=REQUEST_SECONDS,
                connections_per_node=_POOL,
                serializers={each.mimetype: each for each in (_Json(), _Ndjson())},
                **options,
            )
        except ValueError as error:
            raise UsageError(f"index.url: {server.url} can't be used: {error}") from error

    def call(self, request: Callable[[Elasticsearch], Any], expected: tuple[type[ApiError], ...] = ()) -> Any:
        """Send a request and return the body of its answer.

        It is tried again for as long as there is patience and the thread's context has time, and no longer.

        Args:
            request: sends it by a client. It must do no harm when it is sent twice.
            expected: errors that the caller deals with.

        Raises:
            IndexUnavailableError: the server can't be reached or won't, for longer than there is patience.
            IndexUnusableError: what is asked for isn't there.
            StoppedError: it would have to be tried again, and the work is to stop.
        """
        context = current()
        deadline = time.monotonic() + min(self.patience, context.left)
        waits = delays()
        with self.health.trying(self.server.url) as tries, context.awaiting(self._named):
            while True:
                try:
                    body = _json(request(self._bounded(deadline - time.monotonic())))
                except expected:
                    tries.answered()
                    raise
                except (ApiError, TransportError) as error:
                    pause = next(waits)
                    if not self.is_temporary(error) or time.monotonic() + pause >= deadline:
                        raise self.given_up(tries, error) from error
                    tries.failed(failure_of(error), reason_of(error))
                    context.wait(pause)
                else:
                    tries.answered()
                    return body

    def _bounded(self, left: float) -> Elasticsearch:
        """Return a client whose requests end before there is no patience left. Making one costs more than a request.

        Where there are several nodes, one that doesn't answer leaves time to ask another, if there is much.
        """
        for_another = _ANOTHER_SECONDS if len(self.server.urls) > 1 and left > 2 * _ANOTHER_SECONDS else 0.0
        seconds = min(left - for_another, REQUEST_SECONDS)
        steps = max(1, int(seconds / _LEAST_SECONDS))
        client = self._clients.get(steps)
        if client is None:
            client = self._clients[steps] = self._client.options(request_timeout=steps * _LEAST_SECONDS)
        return client

    def close(self) -> None:
        """Close what is open."""
        self._client.close()

    def is_temporary(self, error: Exception) -> bool:
        """Tell whether the same request may succeed a moment later.

        Where there are several nodes, one with a bad certificate is like one that is away: another is asked next.
        """
        if isinstance(error, ApiError):
            return error.meta.status in BUSY or kind_of(error) == "cluster_block_exception"
        if isinstance(error, elastic_transport.TlsError):
            return len(self.server.urls) > 1
        return isinstance(error, _LOST)

    def attempt(self, request: Callable[[Elasticsearch], Any]) -> None:
        """Send a request that tidies up; if it fails, what it is about ends by itself."""
        with contextlib.suppress(ApiError, TransportError):
            request(self._bounded(_TIDY_SECONDS))

    def bulk(self, alias: str, body: bytes, seconds: float) -> Any:
        """Send ready operations to an alias once, and return the answer: of each item no more than what matters.

        Where nothing failed, ``items`` is raw JSON. The request takes no longer than so many seconds.

        Raises:
            ApiError: the request was refused as a whole.
            TransportError: no answer came.
        """
        return _json(
            self._bounded(seconds).bulk(
                operations=cast("Any", body),  # ready bytes, as the serializer takes them
                index=alias,
                require_alias=True,
                filter_path="took,errors,items.*.status,items.*.error",
            )
        )

    def given_up(self, tries: Tries, error: Exception) -> CachesyncError:
        """Take note of a failure that isn't tried again, and return it as a sentence for a person."""
        explained = self.explained(error)
        if isinstance(explained, IndexUnusableError) or not isinstance(explained, IndexUnavailableError):
            tries.answered()  # it was asked for what isn't there
        else:
            tries.gave_up(failure_of(error), str(explained).partition("\n")[0])
        return explained

    def explained(self, error: Exception) -> CachesyncError:
        """Turn a failure into a sentence for a person, with what to do."""
        url = self.server.url
        reason = reason_of(error)
        if isinstance(error, elasticsearch.UnsupportedProductError):
            return IndexUnavailableError(f"what answers at {url} is not an Elasticsearch server: check index.url")
        if isinstance(error, ApiError):
            return self._kind_explained(error, reason) or self._status_explained(error, reason)
        if isinstance(error, elastic_transport.TlsError):
            return IndexUnavailableError(f"no trusted connection to {url}: {tls.meaning(reason)}")
        return IndexUnavailableError(f"cannot reach Elasticsearch at {url}: {reason}{self._doubt(reason)}")

    def _kind_explained(self, error: ApiError, reason: str) -> CachesyncError | None:
        """Explain an error that has a name which tells enough."""
        url = self.server.url
        match kind_of(error):
            case "invalid_index_name_exception" | "invalid_alias_name_exception":
                return UsageError(f"{reason}: choose another index.name")
            case "media_type_header_exception":
                return IndexUnavailableError(
                    f"{url} is older than the client, elasticsearch-py {version('elasticsearch')}: {reason}.\n"
                    "For a server of version 8.19: pip install 'cachesync[es8]'"
                )
            case kind if kind == CLOSED:
                return closed(_cause(error), url)
        return None

    def _status_explained(self, error: ApiError, reason: str) -> CachesyncError:
        """Explain an error by its status."""
        url, status = self.server.url, error.meta.status
        if status in _UNKNOWN and "x-elastic-product" not in error.meta.headers:
            return IndexUnavailableError(
                f"what answers at {url} is not an Elasticsearch server ({status}: {reason}): check index.url"
            )
        if status == HTTPStatus.NOT_FOUND:
            return IndexUnusableError(f"{url}: {reason}")
        if status == HTTPStatus.UNAUTHORIZED:
            return IndexUnavailableError(
                f"{url} refuses the credentials: check index.api_key, or index.username and index.password"
            )
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return IndexUnavailableError(
                f"{url} redirects to {_location(error)}: index.url must be the address of Elasticsearch itself"
            )
        if is_too_large(error):
            return IndexUnavailableError(f"{url} refuses a request ({status}): {too_large()}")
        if status in BUSY:
            return IndexUnavailableError(f"{url} stayed overloaded for {self.patience:g} s: {reason}")
        refused = f"{url} refuses a request ({status}): {reason}{_advice(error)}"
        return ForbiddenError(refused) if lacks_a_right(error) else IndexUnavailableError(refused)

    def _doubt(self, reason: str) -> str:
        """Ask what may be wrong with an address where nobody answers."""
        if "RemoteDisconnected" in reason and self.server.url.startswith("http:"):
            return "; does it want https://?"
        if self.server.urls != self.server.nodes:
            return "; without a port in index.url it is 443, or 80 for http://: Elasticsearch's own is 9200"
        return ""


def authorization(server: IndexServer) -> str | None:
    """Return the header that says who we are. The client's own way knows only ASCII."""
    if server.api_key:
        return f"ApiKey {server.api_key}"
    if server.username:
        return "Basic " + base64.b64encode(f"{server.username}:{server.password or ''}".encode()).decode()
    return None


def failure_of(error: Exception) -> str:
    """Return the kind of a failure, by which :class:`~cachesync.index.connection_health.ConnectionHealth` counts."""
    if isinstance(error, ApiError):
        return failure(error.meta.status, kind_of(error))
    if isinstance(error, elastic_transport.TlsError):
        return "other"
    if isinstance(error, elastic_transport.ConnectionTimeout):
        return "timeout"
    return "connection" if isinstance(error, elastic_transport.ConnectionError) else "other"


def failure(status: int, kind: str) -> str:
    """Return the kind of a failure by what the server says."""
    if status in BUSY:
        return str(status)
    if kind == "cluster_block_exception":
        return "blocked"
    return "credentials" if status == HTTPStatus.UNAUTHORIZED or kind == "security_exception" else "other"


def _json(answer: ObjectApiResponse[Any]) -> Any:
    """Return the body of an answer; a proxy's page, sent as a success, is none."""
    body: Any = answer.body
    if not isinstance(body, dict | list):
        raise elastic_transport.SerializationError(f"an answer that is no JSON: {body!r:.200}")
    return body


_UNKNOWN: Final = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.NOT_IMPLEMENTED,
}
"""What a server of another kind says to requests that it doesn't know."""


_LOST: Final = (
    elastic_transport.ConnectionError,
    elastic_transport.ConnectionTimeout,
    elastic_transport.SerializationError,  # an answer that is none, as proxies give
)


def lacks_a_right(error: ApiError) -> bool:
    """Tell whether the server knows who asks, and doesn't allow it."""
    return error.meta.status == HTTPStatus.FORBIDDEN and kind_of(error) == "security_exception"


def kind_of(error: ApiError) -> str:
    """Return the server's own name of an error."""
    return str(_told(error).get("type", ""))


def reason_of(error: Exception) -> str:
    """Return what a server, or the way to it, says of an error."""
    if isinstance(error, ApiError):
        return str(_cause(error).get("reason") or error.message)
    text = error.message if isinstance(error, TransportError) else str(error)
    return re.sub(r"^HTTPS?Connection\(.*?\): | \(_ssl\.c:\d+\)$", "", text)


def _told(error: ApiError) -> dict[str, Any]:
    body = error.body
    told = body.get("error") if isinstance(body, dict) else None
    return told if isinstance(told, dict) else {"reason": _plain(str(told or error.message))}


def _cause(error: ApiError) -> dict[str, Any]:
    """Return what an error goes back to, as the server describes it."""
    told = _told(error)
    causes = [*told.get("root_cause", []), told, told.get("caused_by") or {}]
    return next((cause for cause in causes if cause.get("reason")), told)


def _plain(text: str) -> str:
    """Return what a proxy's page says: its title."""
    title = re.search(r"<title>\s*(.*?)\s*</title>", text, re.DOTALL | re.IGNORECASE)
    return title[1] if title else text


def _location(error: ApiError) -> str:
    """Return where a redirect leads to, without the path and query of our own request."""
    parts = urlsplit(error.meta.headers.get("location") or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else parts.path or "an unknown address"


def closed(cause: dict[str, Any], url: str) -> IndexUnavailableError:
    """Say that an index is closed, which the server's own words don't name."""
    index = cause.get("index", "")
    return IndexUnavailableError(f"the index {index} at {url} is closed: open it, by POST {url}/{index}/_open")


def unreadable(index: str, error: dict[str, Any], url: str) -> IndexUnavailableError:
    """Say why documents of an index can't be read, by the error that a server gives in their place."""
    cause = next(iter(error.get("root_cause", [])), error)
    if cause.get("type") == CLOSED:
        return closed(cause, url)
    return IndexUnusableError(f"cannot read {index}: {cause.get('reason', '')}")


def _advice(error: ApiError) -> str:
    """Say what to do about a refusal, where the server's own words don't."""
    if lacks_a_right(error):
        return "\ndocs/elasticsearch.md lists the rights that are needed"
    if "maximum normal shards open" in str(error.body):
        return "\nRaise cluster.max_shards_per_node, or delete indices that nobody needs"
    return ""

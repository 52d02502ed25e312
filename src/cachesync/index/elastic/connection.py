"""The connection to a cluster: one client that retries requests and explains failures.

A failure is either *temporary*, and retried until the patience is used up, or a person has to act on it. This module
decides which failures are temporary; :mod:`.bulk` decides it for single documents in the response to a bulk request.
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

from cachesync import tls
from cachesync.context import current
from cachesync.errors import (
    CachesyncError,
    ForbiddenError,
    IndexUnavailableError,
    IndexUnusableError,
    UsageError,
    library_reason,
)
from cachesync.index.connection_health import ConnectionHealth, Tries
from cachesync.index.elastic.limits import Limits, is_too_large, too_large
from cachesync.index.server import IndexServer
from cachesync.retry import BUSY, Retries

logging.getLogger("elastic_transport").addHandler(logging.NullHandler())  # we log what its warnings say

REQUEST_SECONDS: Final = 30.0
"""The timeout of one request, unless less of the patience is left."""

CLOSED: Final = "index_closed_exception"
"""The type of an error whose reason only says "closed"."""

_LEAST_SECONDS: Final = 0.1
"""The timeout of a request when no patience is left, and the resolution of all timeouts."""

_ANOTHER_SECONDS: Final = 2.5
"""How much time a request to one of several nodes leaves for a request to another node."""

_CLEANUP_SECONDS: Final = 1.0
"""The timeout of a request whose failure does no harm."""

_POOL: Final = 20
"""How many connections to a node are kept: for two generations being written, the lease, and some searches."""


class _Json(JsonSerializer):
    """Encodes requests and decodes responses with msgspec; bytes are sent unchanged."""

    def dumps(self, data: Any) -> bytes:
        return data if isinstance(data, bytes) else msgspec.json.encode(data)

    def json_loads(self, data: bytes) -> Any:
        """Decode a response, except for the thousands of items in a bulk response without failures."""
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
    """Sends bytes unchanged."""

    def dumps(self, data: Any) -> bytes:
        assert isinstance(data, bytes)
        return data


class Connection:
    """A client that retries temporary failures. It is thread-safe."""

    def __init__(
        self,
        server: IndexServer,
        patience: float,
        health: ConnectionHealth | None = None,
        certificates: ssl.SSLContext | None = None,
    ) -> None:
        """Create the client. Nothing is sent yet.

        ``patience`` is how many seconds a call may take, including all its retries. ``certificates`` is what
        :func:`certificates_of` returned for the server, if it has already been called.

        Raises:
            UsageError: a URL is invalid, or a certificate or key can't be read.
        """
        self.server = server
        self.patience = patience
        self._description = f"Elasticsearch at {server.url}"
        self._clients: dict[int, Elasticsearch] = {}
        self.health = health or ConnectionHealth()
        self.limits = Limits()
        """The limits of one request. The tuple is only ever replaced as a whole."""
        options: dict[str, Any] = {}
        if credentials := authorization(server):
            options["headers"] = {"authorization": credentials}
        if context := certificates or certificates_of(server):
            options["ssl_context"] = context
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

    def call(
        self, request: Callable[[Elasticsearch], Any], expected: tuple[type[ApiError], ...] = ()
    ) -> dict[str, Any]:
        """Send a request, which must be harmless when sent twice, and return the body of the response.

        The request is retried until the patience, or the time that the thread's context allows, is used up. The caller
        handles errors that are ``expected``.

        Raises:
            IndexUnavailableError: the server can't be reached or rejects the request, and retries are exhausted.
            IndexUnusableError: an index that the request needs doesn't exist.
            StoppedError: the request would have to be retried, but the thread's context was stopped.
        """
        context = current()
        retries = Retries(time.monotonic() + min(self.patience, context.left))
        with self.health.trying(self.server.url) as tries, context.awaiting(self._description):
            while True:
                try:
                    body = _json(request(self._bounded(retries.left)))
                except expected:
                    tries.answered()
                    raise
                except (ApiError, TransportError) as error:
                    pause = retries.next_pause() if self.is_temporary(error) else None
                    if pause is None:
                        raise self.given_up(tries, error) from error
                    tries.failed(failure_of(error), reason_of(error))
                    context.wait(pause)
                else:
                    tries.answered()
                    return body

    def _bounded(self, left: float) -> Elasticsearch:
        """Return a client whose timeout fits into the time left.

        Clients are cached, because creating one costs more than a request. With several nodes and enough time, the
        timeout leaves time for a request to another node.
        """
        for_another = _ANOTHER_SECONDS if len(self.server.urls) > 1 and left > 2 * _ANOTHER_SECONDS else 0.0
        seconds = min(left - for_another, REQUEST_SECONDS)
        steps = max(1, int(seconds / _LEAST_SECONDS))
        client = self._clients.get(steps)
        if client is None:
            client = self._clients[steps] = self._client.options(request_timeout=steps * _LEAST_SECONDS)
        return client

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def is_temporary(self, error: Exception) -> bool:
        """Whether the same request may succeed a moment later.

        With several nodes, a bad certificate is as temporary as an unavailable node: the retry goes to another node.
        """
        if isinstance(error, ApiError):
            return error.meta.status in BUSY or kind_of(error) == "cluster_block_exception"
        if isinstance(error, elastic_transport.TlsError):
            return len(self.server.urls) > 1
        return isinstance(error, _LOST)

    def attempt(self, request: Callable[[Elasticsearch], Any]) -> None:
        """Send a cleanup request without retries, ignoring failures: what isn't cleaned up expires automatically."""
        with contextlib.suppress(ApiError, TransportError):
            request(self._bounded(_CLEANUP_SECONDS))

    def bulk(self, alias: str, body: bytes, seconds: float) -> dict[str, Any]:
        """Send encoded operations to an alias, without retries, and return the parts of the response that matter.

        If no operation failed, ``items`` is raw JSON. The request's timeout is at most ``seconds``.

        Raises:
            ApiError: the request was rejected as a whole.
            TransportError: there was no response.
        """
        return _json(
            self._bounded(seconds).bulk(
                operations=cast("Any", body),  # already encoded, as our serializer expects
                index=alias,
                require_alias=True,
                filter_path="took,errors,items.*.status,items.*.error",
            )
        )

    def given_up(self, tries: Tries, error: Exception) -> CachesyncError:
        """Record a failure that isn't retried, and return an error that explains the failure."""
        explained = self.explained(error)
        if isinstance(explained, IndexUnusableError) or not isinstance(explained, IndexUnavailableError):
            tries.answered()  # the server works; the request was for something that doesn't exist
        else:
            tries.gave_up(failure_of(error), str(explained).partition("\n")[0])
        return explained

    def explained(self, error: Exception) -> CachesyncError:
        """Return an error that explains what happened and what to do."""
        url = self.server.url
        reason = reason_of(error)
        if isinstance(error, elasticsearch.UnsupportedProductError):
            return IndexUnavailableError(f"what answers at {url} is not an Elasticsearch server: check index.url")
        if isinstance(error, ApiError):
            return self._kind_explained(error, reason) or self._status_explained(error, reason)
        if isinstance(error, elastic_transport.TlsError):
            return IndexUnavailableError(f"no trusted connection to {url}: {tls.explained(reason, _NAMES)}")
        return IndexUnavailableError(f"cannot reach Elasticsearch at {url}: {reason}{self._address_hint(reason)}")

    def _kind_explained(self, error: ApiError, reason: str) -> CachesyncError | None:
        """Explain an error by its type. Return None if the type isn't specific enough."""
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

    def _address_hint(self, reason: str) -> str:
        """Return a hint about what may be wrong with an unreachable address."""
        if "RemoteDisconnected" in reason and self.server.url.startswith("http:"):
            return "; does it want https://?"
        if self.server.urls != self.server.nodes:
            return "; without a port in index.url it is 443, or 80 for http://: Elasticsearch's own is 9200"
        return ""


def certificates_of(server: IndexServer) -> ssl.SSLContext | None:
    """Return a context with the trusted authorities and our client certificate, or None for a server without TLS.

    Raises:
        UsageError: a certificate or key can't be read, is invalid, or is given for a server without TLS.
    """
    if not any(url.startswith("https:") for url in server.urls):
        if any((server.ca_certs, server.client_cert, server.client_key)):
            raise UsageError(
                "index.ca_certs, index.client_cert and index.client_key are for https://, "
                f"and index.url is {server.url}: nothing would be encrypted"
            )
        return None
    made = tls.trusting(server.ca_certs, _NAMES)
    tls.present(made, server.client_cert, server.client_key, _NAMES)
    return made


_NAMES: Final = tls.Names("index.url", "index.ca_certs", "index.client_cert", "index.client_key")


def authorization(server: IndexServer) -> str | None:
    """Return our authorization header, if we have credentials. The client's own options support only ASCII."""
    if server.api_key:
        return f"ApiKey {server.api_key}"
    if server.username:
        return "Basic " + base64.b64encode(f"{server.username}:{server.password or ''}".encode()).decode()
    return None


def failure_of(error: Exception) -> str:
    """Return a failure's kind as in :attr:`cachesync.index.connection_health.ConnectionHealth.retries`."""
    if isinstance(error, ApiError):
        return failure(error.meta.status, kind_of(error))
    if isinstance(error, elastic_transport.TlsError):
        return "other"
    if isinstance(error, elastic_transport.ConnectionTimeout):
        return "timeout"
    return "connection" if isinstance(error, elastic_transport.ConnectionError) else "other"


def failure(status: int, kind: str) -> str:
    """Return a failure's kind, given the server's status and error type."""
    if status in BUSY:
        return str(status)
    if kind == "cluster_block_exception":
        return "blocked"
    return "credentials" if status == HTTPStatus.UNAUTHORIZED or kind == "security_exception" else "other"


def _json(answer: ObjectApiResponse[Any]) -> dict[str, Any]:
    """Return a response's body. Raise an error if the body isn't JSON, such as a proxy's page with status 200."""
    body: Any = answer.body
    if not isinstance(body, dict):
        raise elastic_transport.SerializationError(f"a response that is not JSON: {body!r:.200}")
    return body


_UNKNOWN: Final = frozenset({400, 404, 405, 415, 501})
"""The statuses with which another kind of server may answer our requests."""


_LOST: Final = (
    elastic_transport.ConnectionError,
    elastic_transport.ConnectionTimeout,
    elastic_transport.SerializationError,  # the response may come from a proxy instead of Elasticsearch
)


def lacks_a_right(error: ApiError) -> bool:
    """Whether the server accepts the credentials, but they don't allow this request."""
    return error.meta.status == HTTPStatus.FORBIDDEN and kind_of(error) == "security_exception"


def kind_of(error: ApiError) -> str:
    """Return the type that the server gives for an error, such as ``index_closed_exception``."""
    return str(_details(error).get("type", ""))


def reason_of(error: Exception) -> str:
    """Return the reason that the server or the transport gives for an error."""
    if isinstance(error, ApiError):
        return str(_cause(error).get("reason") or error.message)
    text = error.message if isinstance(error, TransportError) else str(error)
    return library_reason(text)


def _details(error: ApiError) -> dict[str, Any]:
    body = error.body
    details = body.get("error") if isinstance(body, dict) else None
    return details if isinstance(details, dict) else {"reason": _plain(str(details or error.message))}


def _cause(error: ApiError) -> dict[str, Any]:
    """Return the root cause of an error, as the server describes it."""
    details = _details(error)
    causes = [*details.get("root_cause", []), details, details.get("caused_by") or {}]
    return next((cause for cause in causes if cause.get("reason")), details)


def _plain(text: str) -> str:
    """Return the title of a proxy's HTML page, or any other text unchanged."""
    title = re.search(r"<title>\s*(.*?)\s*</title>", text, re.DOTALL | re.IGNORECASE)
    return title[1] if title else text


def _location(error: ApiError) -> str:
    """Return the target of a redirect, without the path and query of our own request."""
    parts = urlsplit(error.meta.headers.get("location") or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else parts.path or "an unknown address"


def closed(cause: dict[str, Any], url: str) -> IndexUnavailableError:
    """Return the error for a closed index. The message names the index, which the server's reason doesn't."""
    index = cause.get("index", "")
    return IndexUnavailableError(f"the index {index} at {url} is closed: open it, by POST {url}/{index}/_open")


def unreadable(index: str, error: dict[str, Any], url: str) -> IndexUnavailableError:
    """Return the error for unreadable documents, given the error that the server returned in their place."""
    cause = next(iter(error.get("root_cause", [])), error)
    if cause.get("type") == CLOSED:
        return closed(cause, url)
    return IndexUnusableError(f"cannot read {index}: {cause.get('reason', '')}")


def _advice(error: ApiError) -> str:
    """Return advice about a rejected request, where the server's reason doesn't include any."""
    if lacks_a_right(error):
        return "\ndocs/elasticsearch.md lists the rights that are needed"
    if "maximum normal shards open" in str(error.body):
        return "\nRaise cluster.max_shards_per_node, or delete indices that are not needed"
    return ""

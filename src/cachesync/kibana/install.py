"""Installs saved objects in Kibana with a single import, and explains failures.

``POST /api/saved_objects/_import`` takes a file of saved objects. Its response, whose status is 200 even if nothing was
imported, is defined in Kibana's sources under ``import-export-server-internal/src/import``.
"""

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec
import urllib3
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError, LocationValueError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as NoAnswerError

from cachesync import tls
from cachesync.context import current
from cachesync.errors import CachesyncError, KibanaError, UsageError, library_reason
from cachesync.kibana.objects import DATA_VIEW
from cachesync.kibana.server import NAMES, Kibana
from cachesync.log import get_logger
from cachesync.retry import BUSY, Retries

_log = get_logger()

_CONNECT_SECONDS: Final = 10.0
_LEAST_SECONDS: Final = 1.0
"""The shortest timeout of an attempt, even near the deadline: a timeout would hide the reason in the last response."""

_PATHS: Final = {
    "dashboard": "/app/dashboards#/view/{id}",
    "search": "/app/discover#/view/{id}",
    DATA_VIEW: "/app/management/kibana/dataViews/dataView/{id}",
}
"""The paths that show an object of each type in Kibana, within its space."""

_KINDS: Final = {DATA_VIEW: "data view"}


class Installed(NamedTuple):
    """An object that was installed in Kibana."""

    kind: str
    """``data view``, ``search`` or ``dashboard``."""
    id: str
    """The object's id in Kibana, which differs from the one that was sent if another space already has that id."""
    title: str
    outcome: str
    """``created`` or ``overwritten``."""
    link: str


class _Meta(msgspec.Struct):
    title: str = ""


class _Object(msgspec.Struct):
    type: str
    id: str


class _Result(_Object, rename="camel"):
    meta: _Meta = msgspec.field(default_factory=_Meta)
    overwrite: bool = False
    destination_id: str | None = None


class _Reason(msgspec.Struct):
    type: str
    message: str = ""
    references: list[_Object] = []


class _Failure(_Object):
    error: _Reason
    meta: _Meta = msgspec.field(default_factory=_Meta)


class _Imported(msgspec.Struct, rename="camel"):
    success: bool
    success_results: list[_Result] = []
    errors: list[_Failure] = []


def install(kibana: Kibana, file: bytes, patience: float) -> list[Installed]:
    """Import a file of saved objects, replacing those of an earlier import. The import is idempotent.

    ``patience`` is how many seconds in total Kibana may be starting, busy or silent.

    Raises:
        UsageError: Kibana or the space isn't where the configuration says, or the certificate file can't be read.
        KibanaError: Kibana can't be reached, rejected the credentials or the objects, or stayed busy.
    """
    # Without retries, no redirects are followed either, so the key isn't sent to any other server.
    with PoolManager(retries=False, ssl_context=tls.trusting(kibana.ca_certs, NAMES)) as pool:
        caller = _Caller(kibana, pool, patience, time.monotonic() + patience)
        # An import into a space that doesn't exist would succeed, but nobody could ever see its objects.
        caller.call("GET", f"{kibana.url}/api/spaces/space/{kibana.space}")
        answer = caller.call(
            "POST",
            f"{kibana.space_url}/api/saved_objects/_import?overwrite=true",
            {"file": ("cachesync.ndjson", file, "application/ndjson")},
        )
    try:
        imported = msgspec.json.decode(answer, type=_Imported)
    except msgspec.MsgspecError:
        raise _not_kibana(kibana, answer) from None
    if not imported.success:
        raise KibanaError(_failures(kibana, imported))
    return [_installed(kibana, each) for each in imported.success_results]


class _Caller(NamedTuple):
    """Sends the requests of one command, which share a deadline."""

    kibana: Kibana
    pool: PoolManager
    patience: float
    deadline: float

    def call(self, method: str, url: str, fields: Mapping[str, Any] | None = None) -> bytes:
        """Send a request, retry it while Kibana is busy, and return the body of a successful response."""
        headers = {"kbn-xsrf": "cachesync"}
        if self.kibana.api_key:
            headers["Authorization"] = f"ApiKey {self.kibana.api_key}"
        retries = Retries(self.deadline)
        logged = False
        while True:
            left = max(retries.left, _LEAST_SECONDS)
            timeout = urllib3.Timeout(connect=min(left, _CONNECT_SECONDS), read=left)
            try:
                answer = self.pool.request(method, url, fields=fields, headers=headers, timeout=timeout)
            except HTTPError as error:
                raise self._unreachable(error) from None
            pause = retries.next_pause() if answer.status in BUSY else None
            if pause is None:
                break
            if not logged:
                _log.warning(
                    "Kibana isn't ready; trying again",
                    action="kibana.unavailable",
                    url=self.kibana.url,
                    status=answer.status,
                )
                logged = True
            current().wait(pause)
        if answer.status != HTTPStatus.OK:
            raise self._error_from(answer.status, answer.headers.get("Location", ""), answer.data)
        if not answer.data.lstrip().startswith(b"{"):
            raise _not_kibana(self.kibana, answer.data)
        return answer.data

    def _unreachable(self, error: HTTPError) -> CachesyncError:
        url = self.kibana.url
        reason = library_reason(str(error))
        if isinstance(error, LocationValueError):
            return UsageError(f"kibana.url: {reason}: expected http(s)://HOST:PORT")
        if isinstance(error, SSLError):
            return KibanaError(f"no trusted connection to {url}: {tls.explained(reason, NAMES)}")
        if isinstance(error, NoAnswerError) and not isinstance(error, NewConnectionError):
            return KibanaError(f"{url} didn't answer in time: {reason}\nTry again; installing twice does no harm")
        return KibanaError(f"cannot reach Kibana at {url}: {reason}")

    def _error_from(self, status: int, location: str, body: bytes) -> CachesyncError:
        """Return the error for an unsuccessful response, with advice on what to do."""
        url, space = self.kibana.url, self.kibana.space
        reason = _reason(body)
        match status:
            case HTTPStatus.UNAUTHORIZED if not self.kibana.api_key:
                return KibanaError(f"{url} requires credentials: set kibana.api_key")
            case HTTPStatus.UNAUTHORIZED:
                return KibanaError(f"{url} refuses the credentials: check kibana.api_key")
            case HTTPStatus.FORBIDDEN:
                return KibanaError(
                    f"{url} doesn't allow kibana.api_key to do this in the space {space}: {reason}\n"
                    "There may be no such space, or the key is for another; docs/kibana.md lists the rights it needs"
                )
            case HTTPStatus.NOT_FOUND:
                return UsageError(
                    f"at {url} there is no Kibana, or it has no space {space}: check kibana.space and kibana.url, "
                    "which must include the base path, as in https://host/kibana"
                )
            case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                return KibanaError(
                    f"{url} refused the file as too large: raise savedObjects.maxImportPayloadBytes in Kibana, or "
                    "the limit of the proxy in front of it"
                )
            case HTTPStatus.UNPROCESSABLE_ENTITY:
                return KibanaError(
                    f"{url} can't read the objects: {reason}\n"
                    "It is older than they are; docs/kibana.md lists the supported versions"
                )
            case _ if status in BUSY:
                return KibanaError(f"{url} wasn't ready within {self.patience:g} s ({status}): {reason}")
            case _ if 300 <= status < 400:
                return UsageError(
                    f"{url} redirects ({status}) to {location or 'nowhere'}: expected Kibana itself. Check kibana.url; "
                    "a proxy with a login page has to let API keys through"
                )
            case _:
                return KibanaError(f"{url} refuses the import ({status}): {reason}")


def _not_kibana(kibana: Kibana, body: bytes) -> KibanaError:
    return KibanaError(f"{kibana.url} is not Kibana: it answered {_reason(body)}. Check kibana.url")


def _reason(body: bytes) -> str:
    """Return Kibana's message from a response or, if there is none, the start of the body."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        found = None
    if isinstance(found, dict) and found.get("message"):
        return str(found["message"])
    text = " ".join(body[:2000].decode(errors="replace").split())
    return repr(f"{text[:100]}…" if len(text) > 100 else text)


def _failures(kibana: Kibana, imported: _Imported) -> str:
    """Return a message that lists the objects which Kibana didn't import, and the reasons."""
    done = len(imported.success_results)
    lines = [f"{kibana.url} refused these objects; {f'{done} others are' if done else 'nothing is'} installed:"]
    lines += [f"  {_named(each.type, each.meta.title or each.id)}: {_why(each.error)}" for each in imported.errors]
    return "\n".join(lines)


def _why(error: _Reason) -> str:
    """Return why an object wasn't imported. The types of errors are those of ``SavedObjectsImportFailure``."""
    match error.type:
        case "missing_references":
            return f"it refers to missing objects: {', '.join(_named(each.type, each.id) for each in error.references)}"
        case "conflict" | "ambiguous_conflict":
            return "it conflicts with another object: search for its title under Saved Objects and delete that"
        case "unsupported_type":
            return "this Kibana doesn't know its type"
        case kind:
            return error.message or kind


def _installed(kibana: Kibana, result: _Result) -> Installed:
    id = result.destination_id or result.id
    return Installed(
        kind=_KINDS.get(result.type, result.type),
        id=id,
        title=result.meta.title,
        outcome="overwritten" if result.overwrite else "created",
        link=kibana.public_space_url + _PATHS.get(result.type, "").format(id=id),
    )


def _named(type: str, title: str) -> str:
    return f"{_KINDS.get(type, type)} {title}"

"""A Kibana that knows of nothing but importing saved objects, and is as strict there as the real one.

What it checks, in which order, and what it answers, is from Kibana's sources: ``saved-objects/server-internal/src/
routes/import.ts``, ``import-export-server-internal/src/import``, ``document_migrator``, the xsrf check of
``core-http-server-internal``, and the types' own schemas.
"""

import contextlib
import json
import ssl
import uuid
from collections.abc import Callable, Iterator
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.support.serving import serving

LATEST: Final = {"index-pattern": (8, 0, 0), "search": (10, 5, 0), "dashboard": (10, 2, 0)}
"""The newest form of each type that an early Kibana 9 knows."""

_REQUIRED: Final = {
    "index-pattern": frozenset[str](),
    "search": frozenset({"title", "kibanaSavedObjectMeta"}),
    "dashboard": frozenset({"title"}),
}
_KNOWN_OF_SEARCH: Final = frozenset(
    {
        "title", "description", "hits", "columns", "sort", "grid", "hideChart", "isTextBasedQuery",
        "usesAdHocDataView", "version", "rowHeight", "hideAggregatedPreview", "viewMode", "timeRestore", "timeRange",
        "refreshInterval", "rowsPerPage", "breakdownField", "visContext", "sampleSize", "density", "headerRowHeight",
        "kibanaSavedObjectMeta",
    }
)  # fmt: skip
_NEEDED: Final = ("index-pattern", "search")
"""The types whose absence is noticed where something refers to them."""


class Answer(NamedTuple):
    status: int
    body: Any
    """JSON, or bytes as they are."""
    headers: tuple[tuple[str, str], ...] = ()


def failure(status: int, message: str) -> Answer:
    """What Kibana says when a request fails as a whole."""
    return Answer(status, {"statusCode": status, "error": "as it is called", "message": message})


class _FailureError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = failure(status, message)


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    """Names in small letters."""
    body: bytes


Deed = Callable[[Request], Answer | None]
"""Is shown every request. It may answer it in Kibana's place."""


class Kibana:
    """Spaces, and the saved objects in them."""

    def __init__(
        self,
        *,
        base_path: str = "",
        api_key: str | None = None,
        spaces: tuple[str, ...] = ("default",),
        allowed: tuple[str, ...] | None = None,
        deed: Deed = lambda _request: None,
        latest: dict[str, tuple[int, int, int]] = LATEST,
        required: dict[str, frozenset[str]] = _REQUIRED,
        certificate: Path | None = None,
    ) -> None:
        """``allowed``: the spaces that the key is for, where it isn't for all. ``certificate``: a file with a certificate and its key, to be reached by TLS."""
        self.base_path, self.api_key, self.deed = base_path, api_key, deed
        self.latest, self.required, self.allowed = latest, required, allowed
        self.spaces: dict[str, dict[tuple[str, str], Any]] = {each: {} for each in spaces}
        self.requests: list[Request] = []
        kibana = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, body)
                kibana.requests.append(request)
                answer = kibana.deed(request) or kibana.answer(request)
                data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # who asked has gone
                    self.send_response(answer.status)
                    for name, value in (*answer.headers, ("Content-Length", str(len(data)))):
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data)

            do_GET = do_POST = handle_any  # noqa: N815  as http.server calls them

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """Say nothing of clients that break a handshake off."""

        self._server = Server(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}{base_path}"

    @contextlib.contextmanager
    def running(self) -> Iterator["Kibana"]:
        with serving(self._server):
            yield self

    def answer(self, request: Request) -> Answer:
        try:
            return self._answer(request)
        except _FailureError as error:
            return error.answer

    def _answer(self, request: Request) -> Answer:
        if request.method != "GET" and "kbn-xsrf" not in request.headers:
            return failure(400, "Request must contain a kbn-xsrf header.")
        if self.api_key and request.headers.get("authorization") != f"ApiKey {self.api_key}":
            return failure(401, "missing authentication credentials for REST request")
        url = urlsplit(request.path)
        if not url.path.startswith(f"{self.base_path}/"):
            return failure(404, "Not Found")
        path = url.path.removeprefix(self.base_path)
        if request.method == "GET" and path.startswith("/api/spaces/space/"):
            space = path.rpartition("/")[2]
            if self.allowed is not None and space not in self.allowed:  # before it is looked for
                return failure(403, f"Unauthorized to get {space} space")
            return Answer(200, {"id": space, "name": space}) if space in self.spaces else failure(404, "Not Found")
        space = "default"
        if path.startswith("/s/"):
            _, _, space, path = path.split("/", 3)
            path = f"/{path}"
        if request.method != "POST" or path != "/api/saved_objects/_import":
            return failure(404, "Not Found")
        options = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        if not set(options) <= {"overwrite", "createNewCopies", "compatibilityMode"}:
            return failure(400, f"[request query]: definition for this key is missing: {options}")
        if not set(options.values()) <= {"true", "false"}:
            return failure(400, "[request query]: expected value of type [boolean]")
        return self._import(space, _file(request), overwrite=options.get("overwrite") == "true")

    def _import(self, space: str, objects: list[Any], *, overwrite: bool) -> Answer:
        """A space that isn't there is made by it, as the real one does."""
        there = self.spaces.setdefault(space, {})
        supported = [each for each in objects if each["type"] in self.latest]
        unsupported = [_error(each, {"type": "unsupported_type"}) for each in objects if each not in supported]
        errors = list(_obstacles(supported, set(there), overwrite=overwrite))
        results = []
        if not errors:
            for each in supported:
                self._migrate(each)
            for each in supported:
                if told := self._refusal(each):
                    errors.append(_error(each, {"type": "unknown", "statusCode": 400, "message": told}))
                else:
                    results.append(self._put(space, each))
        found: dict[str, Any] = {"success": not (unsupported or errors), "successCount": len(results), "warnings": []}
        if results:
            found["successResults"] = results
        if unsupported or errors:
            found["errors"] = unsupported + errors
        return Answer(200, found)

    def _migrate(self, each: Any) -> None:
        core, own = each.get("coreMigrationVersion", ""), each.get("typeMigrationVersion", "")
        if _version(core) != (8, 8, 0):
            raise _FailureError(400, f"Document {each['id']} has an invalid [coreMigrationVersion] [{core}]")
        if not own:
            raise _FailureError(500, "every migration since Kibana 6 is run, and one of them fails")
        if _version(own) > self.latest[each["type"]]:
            newest = ".".join(map(str, self.latest[each["type"]]))
            raise _FailureError(
                422,
                f'Document "{each["id"]}" belongs to a more recent version of Kibana [{own}] when the last known version '
                f"is [{newest}].",
            )

    def _refusal(self, each: Any) -> str | None:
        names = set(each["attributes"])
        for name in sorted(self.required[each["type"]] - names):
            return f"[attributes.{name}]: expected value of type [string] but got [undefined]"
        for name in sorted(names - _KNOWN_OF_SEARCH) if each["type"] == "search" else []:
            return f"[attributes.{name}]: definition for this key is missing"
        return None

    def _put(self, space: str, each: Any) -> dict[str, Any]:
        """An id is unique across spaces, so an object that is in another one gets a new id here."""
        there, key = self.spaces[space], (each["type"], each["id"])
        result = {"type": each["type"], "id": each["id"], "managed": each.get("managed", False)}
        title = each["attributes"].get("name") or each["attributes"]["title"]  # data views are called by their name
        result["meta"] = {"title": title, "icon": "app"}
        copies = [
            (type, id) for (type, id), kept in there.items() if kept.get("originId") == each["id"] and type == key[0]
        ]
        elsewhere = any(key in kept for name, kept in self.spaces.items() if name != space)
        if copies:
            (target,) = copies
        else:
            target = (each["type"], str(uuid.uuid4())) if elsewhere and key not in there else key
        if target != key:
            result["destinationId"] = target[1]
        if target in there:
            result["overwrite"] = True
        there[target] = {**each, "id": target[1], "originId": each["id"]} if target != key else each
        return result


def _obstacles(objects: list[Any], there: set[tuple[str, str]], *, overwrite: bool) -> Iterator[dict[str, Any]]:
    """Why nothing is created at all."""
    keys = [(each["type"], each["id"]) for each in objects]
    if twice := sorted({f"{type}:{id}" for type, id in keys if keys.count((type, id)) > 1}):
        raise _FailureError(400, f"Non-unique import objects detected: [{','.join(twice)}]")
    for each in objects:
        needed = [{"type": one["type"], "id": one["id"]} for one in each["references"] if one["type"] in _NEEDED]
        missing = [one for one in needed if not {(one["type"], one["id"])} & {*keys, *there}]
        if missing:
            yield _error(each, {"type": "missing_references", "references": missing})
        if (each["type"], each["id"]) in there and not overwrite:
            yield _error(each, {"type": "conflict"})


def _error(each: Any, error: dict[str, Any]) -> dict[str, Any]:
    return {"type": each["type"], "id": each["id"], "meta": {"title": each["attributes"].get("title")}, "error": error}


def _version(text: str) -> tuple[int, int, int]:
    try:
        one, two, three = map(int, text.split("."))
    except ValueError:
        raise _FailureError(400, f"{text!r} is no version") from None
    return one, two, three


def _file(request: Request) -> list[Any]:
    """The objects in the file that a form has in its field ``file``."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise _FailureError(415, "Unsupported Media Type")
    form = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + request.body)
    parts = {part.get_param("name", header="content-disposition"): part for part in form.get_payload()}  # type: ignore[union-attr]
    if set(parts) != {"file"}:
        raise _FailureError(400, "[request body.file]: expected value of type [Stream] but got [undefined]")
    name = parts["file"].get_filename() or ""  # type: ignore[union-attr]
    if not name.lower().endswith(".ndjson"):
        raise _FailureError(400, f"Invalid file extension {Path(name).suffix}")
    try:
        lines = parts["file"].get_payload(decode=True).splitlines()  # type: ignore[union-attr]
        objects = [json.loads(line) for line in lines if line.strip()]
    except ValueError as error:
        raise _FailureError(400, str(error)) from None
    objects = [each for each in objects if "exportedCount" not in each]
    for each in objects:
        id = each.get("id")
        if not id or not isinstance(id, str) or "/" in id or not isinstance(each.get("attributes"), dict):
            raise _FailureError(400, f"Document has no valid id or attributes: {id!r}")
        if any(set(reference) != {"name", "type", "id"} for reference in each["references"]):
            raise _FailureError(400, f"references of {id} are broken")
    return objects

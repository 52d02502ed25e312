"""What ``deploy/compose/accounts.py`` needs of Elasticsearch's ``_security`` API.

The server that tests start has no native users and no API keys. Shapes are those of Elasticsearch's documentation of
each endpoint.
"""

import base64
import http.server
import json
import ssl
import threading
import urllib.parse
from pathlib import Path
from typing import Any, Self


class Security:
    """A server on loopback with users and API keys, and a list of all that changed anything."""

    def __init__(self, certificate: Path | None = None, key: Path | None = None) -> None:
        self.users = {"elastic": "of-elastic", "kibana_system": "made-up-at-the-start"}
        self.keys: dict[str, dict[str, Any]] = {}
        self.changes: list[str] = []
        self.busy = 0
        """How many requests are answered with 503 first."""
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        host = "localhost" if certificate else "127.0.0.1"
        self.url = f"{'https' if certificate else 'http'}://{host}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def active(self) -> dict[str, dict[str, Any]]:
        """API keys that work, by the key."""
        return {encoded: key for encoded, key in self.keys.items() if not key["invalidated"]}

    def _who(self, authorization: str) -> dict[str, Any] | None:
        kind, _, value = authorization.partition(" ")
        if kind == "ApiKey" and value in self.active:
            key = self.keys[value]
            return {"username": key["owner"], "api_key": {"id": key["id"], "name": key["name"]}}
        if kind == "Basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
            if self.users.get(user) == password:
                return {"username": user}
        return None

    def _answer(self, method: str, path: str, authorization: str, body: Any) -> tuple[int, Any]:
        if self.busy:
            self.busy -= 1
            return 503, _error("the cluster is not ready")
        who = self._who(authorization)
        if who is None:
            return 401, _error("unable to authenticate")
        url = urllib.parse.urlsplit(path)
        if (method, url.path) == ("GET", "/_security/_authenticate"):
            return 200, who
        if who["username"] != "elastic" or "api_key" in who:
            return 403, _error("action is unauthorized")
        return self._administered(method, url.path, dict(urllib.parse.parse_qsl(url.query)), body)

    def _administered(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        match method, path.removeprefix("/_security/").split("/"):
            case "POST", ["user", user, "_password"]:
                if len(body["password"]) < 6:
                    return 400, _error("Validation Failed: 1: passwords must be at least [6] characters long;")
                self.changes.append(f"password of {user}")
                self.users[user] = body["password"]
                return 200, {}
            case "POST", ["api_key"]:
                return 200, self._made(body)
            case "GET", ["api_key"]:
                found = [key for key in self.active.values() if key["name"] == query["name"]]
                return 200, {"api_keys": [{"id": key["id"]} for key in found if key["owner"] == "elastic"]}
            case "PUT", ["api_key", id]:
                return self._updated(id, body)
            case "DELETE", ["api_key"]:
                return 200, self._invalidated(body["ids"])
        return 405, _error(f"no handler found for {method} {path}")

    def _made(self, body: dict[str, Any]) -> Any:
        id = f"id{len(self.keys)}"
        encoded = base64.b64encode(f"{id}:secret-{id}".encode()).decode()
        self.keys[encoded] = {"id": id, "owner": "elastic", "invalidated": False, **body}
        self.changes.append(f"made {id}")
        return {"id": id, "name": body["name"], "api_key": f"secret-{id}", "encoded": encoded}

    def _updated(self, id: str, body: dict[str, Any]) -> tuple[int, Any]:
        key = next((key for key in self.active.values() if key["id"] == id and key["owner"] == "elastic"), None)
        if key is None:
            return 404, _error(f"no API key owned by requesting user found for ID [{id}]")
        updated = any(key[name] != value for name, value in body.items())
        key.update(body)
        self.changes += [f"updated {id}"] if updated else []
        return 200, {"updated": updated}

    def _invalidated(self, ids: list[str]) -> Any:
        for key in self.keys.values():
            if key["id"] in ids:
                key["invalidated"] = True
                self.changes.append(f"invalidated {key['id']}")
        return {"invalidated_api_keys": ids, "error_count": 0}

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                status, said = outer._answer(self.command, self.path, self.headers.get("Authorization", ""), body)
                data = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  as the library wants them

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


def _error(reason: str) -> Any:
    return {"error": {"type": "security_exception", "reason": reason}}

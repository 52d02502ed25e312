"""Sets up the accounts of the services in docker-compose.yml: Kibana's password and cachesync's API keys.

It runs at each ``docker compose up``, as soon as Elasticsearch answers, in cachesync's image and with only Python's
standard library. Whatever works is kept: a valid password isn't changed, and a valid key is only updated to the
privileges in its file in ``deploy/elasticsearch/``. An invalid key is replaced, and earlier keys of that name are
invalidated.

Environment variables: ``ELASTICSEARCH_URL``, ``ELASTICSEARCH_CA`` (a file), ``ELASTIC_PASSWORD``, ``KIBANA_PASSWORD``,
``INDEX_NAME``, ``REQUESTS_FOLDER`` (the folder ``deploy/elasticsearch``), ``KEYS_FOLDER``.
"""

import base64
import http.client
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

DEFAULT_NAME: Final = "spack-specs"
"""The index's name in the request files."""

KEYS: Final = {"cachesync": "cachesync-key.json", "kibana": "kibana-key.json"}
"""The files in the folder of keys, each with the file that contains the request for its key."""

_BUSY: Final = frozenset({429, 502, 503, 504})
_PATIENCE_SECONDS: Final = 120.0
_REQUEST_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 1.0


class RefusedError(Exception):
    """The setup can't continue until a person does what the message says."""


class Cluster:
    """Elasticsearch, accessed as its user ``elastic`` unless other credentials are given."""

    def __init__(self, url: str, ca: str | None, password: str, patience: float = _PATIENCE_SECONDS) -> None:
        """``patience`` is the number of seconds for which requests are retried if the server doesn't answer."""
        self._url = url
        self._admin = basic("elastic", password)
        self._deadline = time.monotonic() + patience
        try:
            context = ssl.create_default_context(cafile=ca)
        except OSError as error:
            raise RefusedError(f"cannot read the authority's certificate {ca}: {error}") from None
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
        self._opener = urllib.request.build_opener(*handlers)

    def ask(self, method: str, path: str, body: Any = None, credentials: str | None = None) -> tuple[int, Any]:
        """Send a request, retrying it until there is a response, and return the response's status and body.

        Raises:
            RefusedError: there is no response in time, or the server's certificate isn't trusted.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": credentials or self._admin}
        while True:
            request = urllib.request.Request(f"{self._url}{path}", data, headers, method=method)  # noqa: S310  ours
            try:
                with self._opener.open(request, timeout=_REQUEST_SECONDS) as answer:
                    return answer.status, _json(answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in _BUSY:
                        return error.code, _json(error.read())
                    reason = f"{error.code} {error.reason}"
            except (OSError, http.client.HTTPException) as error:
                reason = str(getattr(error, "reason", error))
                if "CERTIFICATE_VERIFY_FAILED" in reason:
                    raise RefusedError(f"no trusted connection to {self._url}: {reason}") from None
            if time.monotonic() >= self._deadline:
                raise RefusedError(f"Elasticsearch at {self._url} doesn't answer: {reason}")
            time.sleep(_PAUSE_SECONDS)

    def do(self, what: str, method: str, path: str, body: Any = None) -> Any:
        """Send a request that must succeed, and return the response's body.

        Raises:
            RefusedError: the request failed.
        """
        status, answer = self.ask(method, path, body)
        if status != HTTPStatus.OK:
            raise RefusedError(f"{what}: Elasticsearch says {status}, {_reason(answer)}")
        return answer

    def knows(self, credentials: str) -> Any:
        """Return the user of these credentials; None if they are invalid.

        Raises:
            RefusedError: the server can't check them.
        """
        status, answer = self.ask("GET", "/_security/_authenticate", credentials=credentials)
        if status not in {HTTPStatus.OK, HTTPStatus.UNAUTHORIZED}:
            raise RefusedError(f"cannot check credentials: Elasticsearch says {status}, {_reason(answer)}")
        return answer if status == HTTPStatus.OK else None


def basic(user: str, password: str) -> str:
    """Return the header for a user and a password."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def require_elastic(cluster: Cluster, password: str) -> None:
    """Check the administrator's password.

    Raises:
        RefusedError: Elasticsearch rejects the password.
    """
    if not cluster.knows(basic("elastic", password)):
        raise RefusedError(
            "Elasticsearch refuses the password of its user elastic. ELASTIC_PASSWORD in .env is what a new data "
            "volume starts with; later it must be what was set since. To set it to that of .env:\n"
            "    docker compose exec elasticsearch \\\n"
            "      elasticsearch-reset-password --url https://localhost:9200 -u elastic -i"
        )


def keep_password(cluster: Cluster, user: str, password: str) -> None:
    """Set the password of a built-in user unless it is already valid."""
    if cluster.knows(basic(user, password)):
        _say(f"the password of {user} is kept")
        return
    what = f"cannot set the password of {user}, KIBANA_PASSWORD in .env"
    cluster.do(what, "POST", f"/_security/user/{user}/_password", {"password": password})
    _say(f"set the password of {user}")


def keep_key(cluster: Cluster, file: Path, request: Mapping[str, Any]) -> None:
    """Ensure that a file contains a valid API key with the privileges in the request."""
    name, before = request["name"], _read(file)
    known = cluster.knows(f"ApiKey {before}") if before else None
    if known:
        wanted = {key: request[key] for key in ("role_descriptors", "metadata")}
        what = f"cannot give the API key in {file} its rights (to have another made, remove that file)"
        answer = cluster.do(what, "PUT", f"/_security/api_key/{known['api_key']['id']}", wanted)
        _say(f"the API key {name} is kept" + (", with other rights than before" if answer["updated"] else ""))
        return
    made = cluster.do(f"cannot make the API key {name}", "POST", "/_security/api_key", dict(request))
    _write(file, made["encoded"])
    path = f"/_security/api_key?name={name}&owner=true&active_only=true"
    found = cluster.do("cannot list API keys", "GET", path)["api_keys"]
    earlier = [each["id"] for each in found if each["id"] != made["id"]]
    if earlier:
        what = f"cannot invalidate earlier API keys {name}"
        cluster.do(what, "DELETE", "/_security/api_key", {"ids": earlier, "owner": True})
    _say(f"made the API key {name}" + (": if cachesync runs, docker compose restart cachesync" if earlier else ""))


def read_request(file: Path, index_name: str) -> dict[str, Any]:
    """Return the request for a key, with the name of the index put in."""
    return dict(json.loads(file.read_text("utf-8").replace(DEFAULT_NAME, index_name)))


def main() -> int:
    """Set up all accounts and return the exit code."""
    given = os.environ
    try:
        cluster = Cluster(given["ELASTICSEARCH_URL"], given.get("ELASTICSEARCH_CA"), given["ELASTIC_PASSWORD"])
        require_elastic(cluster, given["ELASTIC_PASSWORD"])
        keep_password(cluster, "kibana_system", given["KIBANA_PASSWORD"])
        for file, request in KEYS.items():
            wanted = read_request(Path(given["REQUESTS_FOLDER"]) / request, given["INDEX_NAME"])
            keep_key(cluster, Path(given["KEYS_FOLDER"]) / file, wanted)
    except KeyError as error:
        print(f"accounts: {error.args[0]} is not set", file=sys.stderr)
        return 1
    except (RefusedError, OSError) as error:
        print(f"accounts: {error}", file=sys.stderr)
        return 1
    return 0


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def _write(file: Path, text: str) -> None:
    """Write a secret atomically into a file that only its owner can read."""
    temporary = file.with_name(f".{file.name}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as out:
        out.write(text)
    temporary.replace(file)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return {}


def _reason(answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    return str(error.get("reason") if isinstance(error, dict) else error or "without a reason")


def _say(text: str) -> None:
    print(f"accounts: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

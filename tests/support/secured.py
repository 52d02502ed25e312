"""What makes a test server one that lets nobody in without a certificate, a name and a password.

The minimal server has no native users and no API keys, but users and roles in files. So each role that a test needs is
there from the beginning, and a user for each.
"""

import base64
import hashlib
import json
import os
import ssl
from pathlib import Path
from typing import Any, Final, NamedTuple

import trustme

from cachesync.index.server import IndexServer

DOCUMENT: Final = Path(__file__).parents[2] / "docs/elasticsearch.md"
SERVE_KEY: Final = Path(__file__).parents[2] / "deploy/elasticsearch/serve-key.json"
HOST: Final = "127.0.0.1"
ADMIN: Final = "admin"
"""May do anything, for what tests do behind the back of the program."""

WRITER: Final = "cachesync"
READER: Final = "cachesync-reader"
SERVER: Final = "cachesync-serve"
"""May do what the key of ``cachesync serve`` may."""

NOBODY: Final = "nobody"
"""Known, and allowed nothing."""

PASSWORD: Final = "canary-8f2d6e0b91"
"""Of every user. It must never be seen anywhere."""

NAMES: Final = ("test-*",)
"""All that any index of a test is called, aliases and states included."""


class Security:
    """The certificates and users of one server, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "ca.pem"
        self.cert = folder / "client.pem"
        self.key = folder / "client-key.pem"

    def make(self, roles: dict[str, dict[str, Any]]) -> None:
        """Make certificates, and a user of each role, called like it."""
        self.folder.mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca)
        server, client = authority.issue_cert(HOST, "localhost"), authority.issue_cert("cachesync.test")
        server.private_key_pem.write_to_path(self.folder / "server-key.pem")
        server.cert_chain_pems[0].write_to_path(self.folder / "server.pem")
        client.private_key_pem.write_to_path(self.key)
        client.cert_chain_pems[0].write_to_path(self.cert)
        users = [ADMIN, *roles]
        lines = (f"{role}: {json.dumps(rights)}\n" for role, rights in roles.items())  # the server reads line by line
        (self.folder / "roles.yml").write_text("".join(lines))
        (self.folder / "users").write_text("".join(f"{user}:{_hashed(PASSWORD)}\n" for user in users))
        (self.folder / "users_roles").write_text("".join(f"{role}:{role}\n" for role in roles) + f"superuser:{ADMIN}\n")

    def install(self, config: Path) -> dict[str, str]:
        """Put everything where a server reads it, and return the settings that it needs besides."""
        for name in ("roles.yml", "users", "users_roles", "ca.pem", "server.pem", "server-key.pem"):
            (config / name).write_bytes((self.folder / name).read_bytes())
        ssl_settings = {
            "enabled": "true",
            "key": "server-key.pem",
            "certificate": "server.pem",
            "certificate_authorities": "ca.pem",
            "client_authentication": "required",
        }
        return {
            "xpack.security.enabled": "true",
            "xpack.security.autoconfiguration.enabled": "false",
            **{f"xpack.security.http.ssl.{key}": value for key, value in ssl_settings.items()},
        }

    def keys(self, user: str) -> dict[str, str]:
        """Return the same as keys of the configuration."""
        files = {"ca_certs": self.ca, "client_cert": self.cert, "client_key": self.key}
        return {"username": user, "password": PASSWORD, **{key: str(file) for key, file in files.items()}}

    def context(self) -> ssl.SSLContext:
        """Return the client's side of the connection."""
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(self.cert, self.key)
        return context


class Secured(NamedTuple):
    """A server that runs, and what lets one in."""

    url: str
    security: Security

    def server(self, user: str) -> IndexServer:
        """Return how a user is let in."""
        return IndexServer((self.url,), None, user, PASSWORD, self.security.ca, self.security.cert, self.security.key)


def documented(user: str) -> dict[str, Any]:
    """Return the rights of a role as ``docs/elasticsearch.md`` says them, for the indices of tests."""
    body = DOCUMENT.read_text().split(f"PUT /_security/role/{user}\n")[1].partition("\n```")[0]
    rights: dict[str, Any] = json.loads(body)
    for each in rights["indices"]:
        assert each["names"] == ["spack-specs", "spack-specs-*"]
        each["names"] = list(NAMES)
    return rights


def of_serve_key() -> dict[str, Any]:
    """Return the rights of the key of ``cachesync serve``, for the indices of tests."""
    (rights,) = json.loads(SERVE_KEY.read_text())["role_descriptors"].values()
    return {**rights, "indices": [{**each, "names": list(NAMES)} for each in rights["indices"]]}


def roles() -> dict[str, dict[str, Any]]:
    """Return a role for each user: the documented ones, and those that lack one thing of what a writer or server needs."""
    full = documented(WRITER)
    (indices,) = full["indices"]
    found = {user: documented(user) for user in (WRITER, READER)} | {SERVER: of_serve_key()}
    (served,) = found[SERVER]["indices"]
    for right in served["privileges"]:
        fewer = [each for each in served["privileges"] if each != right]
        found[without(right, SERVER)] = {"cluster": [], "indices": [{**served, "privileges": fewer}]}
    for right in full["cluster"]:
        found[without(right)] = {**full, "cluster": [each for each in full["cluster"] if each != right]}
    for right in indices["privileges"]:
        fewer = [each for each in indices["privileges"] if each != right]
        found[without(right)] = {**full, "indices": [{**indices, "privileges": fewer}]}
    for what, pattern in {"NAME": "test-*-*", "NAME-*": "/test-[^-]*/"}.items():
        found[without(what)] = {**full, "indices": [{**indices, "names": [pattern]}]}
    return found | {NOBODY: {"cluster": []}}


def without(right: str, user: str = WRITER) -> str:
    """Return the user who has all rights but one; ``NAME`` and ``NAME-*`` stand for all of them on some indices."""
    name = f"without-{right}".replace("NAME-*", "indices").replace("NAME", "alias")
    return name if user == WRITER else f"{user}-{name}"


def basic(user: str, password: str = PASSWORD) -> str:
    """Return the header that names a user."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _hashed(password: str) -> str:
    """Return a password as the server's own program would store it, had it no second to start in."""
    salt, cost = os.urandom(32), 10_000
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, cost, 32)
    return f"{{PBKDF2}}{cost}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"

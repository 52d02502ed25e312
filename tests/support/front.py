"""The reverse proxies of ``deploy/`` as they really run: with these very files, on addresses of this machine."""

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from functools import cached_property
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Final

import pytest
import trustme

from tests.support.checkout import PROJECT
from tests.support.elasticsearch import free_port
from tests.support.guardian import PID, guarded
from tests.support.service import until
from tests.support.web import Web

BASE_PATH: Final = "/cachesync"
"""That of the files."""

PROXIES: Final = ("nginx", "caddy")

CLIENT: Final = "X-Test-Client"
"""To nginx, a request is from the address that this header names, as if another proxy had said so."""

_NEEDED: Final = "CACHESYNC_TEST_NEEDS_PROXIES"
_NAME: Final = "cache.example.org"
_UPSTREAMS: Final = "127.0.0.1:8081", "127.0.0.1:8082"

_AROUND_NGINX: Final = """\
{user}
daemon off;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    set_real_ip_from 127.0.0.1;
    real_ip_header {client};
    include {folder}/cachesync.conf;
}}
"""
"""What Debian's own file does, as far as anything needs it, for whoever runs the tests."""


class Front(Web):
    """A proxy that runs, asked over TLS, whose certificate is checked."""

    def __init__(self, port: int, http_port: int, authority: Path) -> None:
        """Ask at ``port``, and at ``http_port`` without TLS; ``authority``: the certificate that it is checked by."""
        super().__init__("localhost", port, BASE_PATH)
        self.http_port = http_port
        self.authority = authority

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"https://{self.host}:{self.port}{self.base_path}/"

    def connection(self) -> HTTPConnection:
        """Return a connection of its own."""
        return HTTPSConnection(self.host, self.port, timeout=60, context=self._context)

    @contextlib.contextmanager
    def socket(self) -> Iterator[ssl.SSLSocket]:
        """Lend a bare connection, for what no client would send."""
        with (
            socket.create_connection((self.host, self.port), timeout=60) as bare,
            self._context.wrap_socket(bare, server_hostname=self.host) as secured,
        ):
            yield secured


@contextlib.contextmanager
def front(proxy: str, upstreams: Sequence[str]) -> Iterator[Front]:
    """Run a proxy before servers (``HOST:PORT``); where it isn't installed, a test is skipped, or fails if it must not.

    Debian has both in packages of their names.
    """
    program = shutil.which(proxy)
    if not program:
        (pytest.fail if os.environ.get(_NEEDED) else pytest.skip)(f"there is no {proxy} (Debian has it in {proxy})")
    with guarded() as guardian:
        folder = guardian / proxy
        folder.mkdir()
        made = Front(free_port(), free_port(), folder / "ca.pem")
        authority = trustme.CA()
        authority.cert_pem.write_to_path(made.authority)
        certificate = authority.issue_cert(made.host)
        certificate.cert_chain_pems[0].write_to_path(folder / "cachesync.crt")
        certificate.private_key_pem.write_to_path(folder / "cachesync.key")
        arguments = {"nginx": _set_up_nginx, "caddy": _set_up_caddy}[proxy](folder, made, upstreams)
        # Its own shell notes it, so that it is never running unknown to the guardian.
        script = f'echo $$ > {PID} && exec "$@"'
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                ["sh", "-c", script, "sh", program, *arguments],
                cwd=folder,
                env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            ) as process,
        ):
            try:
                until(lambda: _listens(made, process, folder / "log"), f"{proxy} to listen")
                yield made
            finally:
                process.terminate()
                process.wait(60)


def version(proxy: str) -> tuple[int, ...]:
    """Return the version of a proxy that is installed."""
    said = subprocess.run(
        [proxy, {"nginx": "-v", "caddy": "version"}[proxy]], check=True, capture_output=True, text=True
    )
    number = re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)
    assert number, said
    return tuple(map(int, number[0].split(".")))


def _listens(front: Front, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        socket.create_connection((front.host, front.port)).close()
    except ConnectionRefusedError:
        return False
    return True


def _set_up_nginx(folder: Path, front: Front, upstreams: Sequence[str]) -> list[str]:
    text = (PROJECT / "deploy/nginx/cachesync.conf").read_text()
    lines = [f"    server {address} max_fails=1 fail_timeout=5s;\n" for address in _UPSTREAMS]
    text = _replaced(
        text,
        {
            lines[0]: "".join(lines[0].replace(_UPSTREAMS[0], address) for address in upstreams),
            lines[1]: "",
            "    listen 80;\n": f"    listen 127.0.0.1:{front.http_port};\n",
            "    listen [::]:80;\n": "",
            "    listen 443 ssl http2;\n": f"    listen 127.0.0.1:{front.port} ssl http2;\n",
            "    listen [::]:443 ssl http2;\n": "",
            "/etc/nginx/tls": str(folder),
            _NAME: front.host,
        },
    )
    (folder / "cachesync.conf").write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_AROUND_NGINX.format(folder=folder, user=user, client=CLIENT))
    return ["-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def _set_up_caddy(folder: Path, front: Front, upstreams: Sequence[str]) -> list[str]:
    text = (PROJECT / "deploy/caddy/Caddyfile").read_text()
    own = f"\n{{\n\tadmin off\n\tdefault_bind 127.0.0.1\n\thttp_port {front.http_port}\n\thttps_port {front.port}\n"
    text = _replaced(
        text,
        {"\n{\n": own, " ".join(_UPSTREAMS): " ".join(upstreams), "/etc/caddy/tls": str(folder), _NAME: front.host},
    )
    (folder / "Caddyfile").write_text(text)
    return ["run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def _replaced(text: str, changes: dict[str, str]) -> str:
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    return text

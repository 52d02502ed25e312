"""Certificates: mistakes in ours are reported before anything is sent, and those of the server are explained."""

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from cachesync.errors import CachesyncError, IndexUnavailableError, UsageError
from cachesync.index.elastic.connection import Connection
from cachesync.index.server import IndexServer
from cachesync.tls import Names, trusting
from tests.support.secured import Secured


class Files:
    """Certificates of an authority that no server trusts, and files that aren't certificates."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.ca, self.cert, self.key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        self.junk, self.none, self.locked = folder / "junk.pem", folder / "none.pem", folder / "locked.pem"
        self.authority.cert_pem.write_to_path(self.ca)
        ours = self.authority.issue_cert("cachesync.test")
        ours.cert_chain_pems[0].write_to_path(self.cert)
        ours.private_key_pem.write_to_path(self.key)
        self.junk.write_text("no certificate")
        key = serialization.load_pem_private_key(self.key.read_bytes(), None)
        lock = serialization.BestAvailableEncryption(b"secret")
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        self.locked.write_bytes(key.private_bytes(*form, lock))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("certificates"))


def refusal(server: IndexServer, patience: float = 0.2) -> CachesyncError:
    """The error that a request to a server raises."""
    with pytest.raises(CachesyncError) as caught:
        Connection(server, patience).call(lambda client: client.cluster.health())
    assert "\n" not in str(caught.value)
    return caught.value


URL = ("https://127.0.0.1:9",)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"ca_certs": "none"}, "index.ca_certs: cannot read {none}: No such file or directory"),
        ({"ca_certs": "junk"}, "index.ca_certs: expected certificates in PEM form in {junk}"),
        ({"client_key": "key"}, "index.client_key is the key of index.client_cert, which is missing"),
        ({"client_cert": "none"}, "index.client_cert: cannot read {none}: No such file or directory"),
        (
            {"client_cert": "cert", "client_key": "none"},
            "index.client_key: cannot read {none}: No such file or directory",
        ),
        (
            {"client_cert": "junk", "client_key": "key"},
            "index.client_cert: expected a certificate in PEM form in {junk}, and its key in {key}",
        ),
        (
            {"client_cert": "cert"},
            "index.client_cert: expected a certificate in PEM form in {cert}, with its key (or index.client_key)",
        ),
        (
            {"client_cert": "cert", "client_key": "locked"},
            "index.client_key: {locked} is protected by a password: expected one that isn't",
        ),
    ],
)
def test_mistakes_in_our_own_certificates_are_reported_at_once(files: Files, names: dict[str, str], says: str) -> None:
    server = IndexServer(URL, **{key: getattr(files, name) for key, name in names.items()})
    error = refusal(server)
    assert isinstance(error, UsageError)
    assert str(error) == says.format(**vars(files))


def test_a_key_of_another_certificate_is_reported(files: Files, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    files.authority.issue_cert("other.test").private_key_pem.write_to_path(other)
    error = refusal(IndexServer(URL, client_cert=files.cert, client_key=other))
    assert str(error) == f"index.client_key: {other} is not the key of {files.cert}"


def test_a_key_of_another_type_is_reported(files: Files, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    files.authority.issue_cert("other.test", key_type=trustme.KeyType.RSA).private_key_pem.write_to_path(other)
    error = refusal(IndexServer(URL, client_cert=files.cert, client_key=other))
    assert str(error) == f"index.client_key: {other} is not the key of {files.cert}"


def test_an_authority_without_a_key_usage_is_trusted(files: Files) -> None:
    """Python 3.13 refuses authorities without a key usage, as Elasticsearch's own tool made them until 2025."""
    assert not trusting(files.ca, Names("index.url", "index.ca_certs")).verify_flags & ssl.VERIFY_X509_STRICT


def test_certificates_for_a_server_without_tls_are_refused(files: Files) -> None:
    error = refusal(IndexServer(("http://127.0.0.1:9",), ca_certs=files.ca))
    assert isinstance(error, UsageError)
    assert "nothing would be encrypted" in str(error)


@pytest.fixture
def serving(files: Files) -> Iterator["Serving"]:
    serving = Serving(files.authority)
    yield serving
    serving.close()


class Serving:
    """A TLS server that closes each connection after the handshake."""

    def __init__(self, authority: trustme.CA) -> None:
        self._authority = authority
        self._sockets: list[socket.socket] = []

    def url(self, name: str = "127.0.0.1", not_after: dt.datetime | None = None) -> str:
        """Serve with a certificate for ``name``."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        long_ago = dt.datetime(2020, 1, 1, tzinfo=dt.UTC) if not_after else None
        self._authority.issue_cert(name, not_before=long_ago, not_after=not_after).configure_cert(context)
        listening = socket.create_server(("127.0.0.1", 0))
        self._sockets.append(listening)
        threading.Thread(target=self._serve, args=(listening, context), daemon=True).start()
        return f"https://127.0.0.1:{listening.getsockname()[1]}"

    def _serve(self, listening: socket.socket, context: ssl.SSLContext) -> None:
        while True:
            try:
                accepted = listening.accept()[0]
            except OSError:  # closed
                return
            with accepted:
                try:
                    context.wrap_socket(accepted, server_side=True).close()
                except OSError:
                    continue  # the client has hung up, as the tests expect

    def close(self) -> None:
        for each in self._sockets:
            each.shutdown(socket.SHUT_RDWR)
            each.close()


def test_an_expired_certificate_is_reported(serving: Serving, files: Files) -> None:
    url = serving.url(not_after=dt.datetime(2020, 2, 1, tzinfo=dt.UTC))
    error = refusal(IndexServer((url,), ca_certs=files.ca))
    assert isinstance(error, IndexUnavailableError)
    assert f"no trusted connection to {url}: its certificate has expired: it must be renewed there" in str(error)


def test_a_certificate_for_another_name_is_reported(serving: Serving, files: Files) -> None:
    error = refusal(IndexServer((serving.url("elasticsearch.test"),), ca_certs=files.ca))
    assert "its certificate is for another name: index.url must have a name that is in it" in str(error)


def test_a_server_without_tls_is_reported(elasticsearch_url: str) -> None:
    error = refusal(IndexServer((elasticsearch_url.replace("http:", "https:"),)))
    assert "it answers without TLS: expected http:// in index.url" in str(error)


def test_a_server_with_tls_at_an_http_url_is_reported(secured: Secured) -> None:
    assert "does it want https://?" in str(refusal(IndexServer((secured.url.replace("https:", "http:"),)), patience=3))


def test_one_node_with_a_bad_certificate_counts_as_unavailable(secured: Secured, serving: Serving) -> None:
    good = secured.server("cachesync")
    connection = Connection(good._replace(urls=(serving.url("elsewhere.test"), secured.url)), patience=10)
    for _ in range(4):
        assert connection.call(lambda client: client.cluster.health())["status"]
    connection.close()
    only_bad = good._replace(urls=(serving.url("elsewhere.test"), serving.url("nowhere.test")))
    assert "no trusted connection" in str(refusal(only_bad))


def test_each_mistake_with_a_real_server_is_reported(secured: Secured, files: Files) -> None:
    good = secured.server("cachesync")
    assert Connection(good, patience=1).call(lambda client: client.cluster.health())["status"]
    untrusted = "its certificate is by an authority that isn't trusted: index.ca_certs must be the certificate of that"
    for changed, says in {
        good._replace(ca_certs=files.ca): untrusted,
        good._replace(ca_certs=None): untrusted,
        good._replace(client_cert=None, client_key=None): "it asks for a client certificate: give one as index.client_",
        good._replace(client_cert=files.cert, client_key=files.key): "it refuses the client certificate: index.client_",
        good._replace(password="wrong"): "refuses the credentials: check index.api_key, or index.username",
        good._replace(username=None): "refuses the credentials",
    }.items():
        # Checking a password takes the server a while, and its refusal isn't retried.
        error = refusal(changed, patience=20 if "credentials" in says else 0.2)
        assert isinstance(error, IndexUnavailableError)
        assert says in str(error)


def test_what_openssl_finds_in_the_environment_is_no_mistake_in_the_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "none/keys"))
    with pytest.raises(IndexUnavailableError, match=r"^can't set up TLS: .*No such file or directory"):
        trusting(None, Names("--server"))

"""The certificates of a connection: ours are read before anything is sent; what is wrong with the server's is told."""

import ssl
from pathlib import Path
from typing import Final, NoReturn

from cachesync.errors import UsageError
from cachesync.index.server import IndexServer


def context(server: IndexServer) -> ssl.SSLContext | None:
    """Return whom to trust and who we are; None for a server without TLS.

    Without ``ca_certs`` the authorities that the system trusts are trusted.

    Raises:
        UsageError: a certificate or key can't be used.
    """
    if not any(url.startswith("https:") for url in server.urls):
        if any((server.ca_certs, server.client_cert, server.client_key)):
            raise UsageError(
                "index.ca_certs, index.client_cert and index.client_key are for https://, "
                f"and index.url is {server.url}: nothing would be encrypted"
            )
        return None
    made = trusting(server.ca_certs, "index.ca_certs")
    _introduce(made, server.client_cert, server.client_key)
    return made


def trusting(authorities: Path | None, key: str) -> ssl.SSLContext:
    """Trust the authorities in a file, which the configuration names under a key, or else those of the system.

    Raises:
        UsageError: there are none in it.
    """
    if authorities is not None:
        _look_at(key, authorities)
    try:
        made = ssl.create_default_context(cafile=authorities)
    except (OSError, ValueError):
        raise UsageError(f"{key}: expected certificates in PEM form in {authorities}") from None
    # Python 3.13 sets it, and then refuses the authorities that Elasticsearch's own tool made until 2025.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return made


def _introduce(made: ssl.SSLContext, certificate: Path | None, key: Path | None) -> None:
    if certificate is None:
        if key is not None:
            raise UsageError("index.client_key is the key of index.client_cert, which is missing")
        return
    _look_at("index.client_cert", certificate)
    if key is not None:
        _look_at("index.client_key", key)

    def no_password() -> NoReturn:  # else OpenSSL asks for one on the terminal, and waits
        raise UsageError(f"index.client_key: {key or certificate} is protected by a password: expected one that isn't")

    try:
        made.load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        if error.reason in _OF_ANOTHER:
            raise UsageError(f"index.client_key: {key} is not the key of {certificate}") from None
        where = f"{certificate}, and its key in {key}" if key else f"{certificate}, with its key (or index.client_key)"
        raise UsageError(f"index.client_cert: expected a certificate in PEM form in {where}") from None


_OF_ANOTHER: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""How OpenSSL says that a key doesn't belong to a certificate; the last, where it is of another kind."""


def _look_at(name: str, file: Path) -> None:
    try:
        file.open("rb").close()
    except OSError as error:
        raise UsageError(f"{name}: cannot read {file}: {error.strerror}") from None


_MEANINGS: Final = {
    "certificate has expired": "its certificate has expired: it must be renewed there, or is this clock wrong?",
    "certificate is not yet valid": "its certificate isn't valid yet: is this machine's clock right?",
    "mismatch": "its certificate is for another name: index.url must be a name that stands in it",
    "CERTIFICATE_REQUIRED": "it asks for a client certificate: give one as index.client_cert, with index.client_key",
    "WRONG_VERSION_NUMBER": "it answers without TLS: expected http:// in index.url",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is by an authority that isn't trusted: "
    "index.ca_certs must be the certificate of that authority",
    "_ALERT_": "it refuses the client certificate: index.client_cert must be by an authority that it trusts",
}
"""What OpenSSL says, in part, and what that means to a person. The first one that fits counts."""


def meaning(said: str) -> str:
    """Say what the failure of a handshake means, with what to do, and what OpenSSL said of it."""
    found = next((told for part, told in _MEANINGS.items() if part in said), None)
    return f"{found} ({said})" if found else f"{said}: look at index.ca_certs, index.client_cert and index.client_key"

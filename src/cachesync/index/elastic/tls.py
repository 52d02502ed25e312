"""Loads the certificates of a connection before anything is sent, and explains what is wrong with the server's."""

import ssl
from pathlib import Path
from typing import Final, NoReturn

from cachesync.errors import UsageError
from cachesync.index.server import IndexServer


def context(server: IndexServer) -> ssl.SSLContext | None:
    """Return the trusted authorities and our client certificate; None for a server without TLS.

    Without ``ca_certs``, the system's authorities are trusted.

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
    _load_client_certificate(made, server.client_cert, server.client_key)
    return made


def trusting(authorities: Path | None, key: str) -> ssl.SSLContext:
    """Return a context that trusts the authorities in a file, given by the configuration's ``key``, or the system's.

    Raises:
        UsageError: the file has none.
    """
    if authorities is not None:
        _require_readable(key, authorities)
    try:
        made = ssl.create_default_context(cafile=authorities)
    except (OSError, ValueError):
        raise UsageError(f"{key}: expected certificates in PEM form in {authorities}") from None
    # Python 3.13 sets this flag, and then refuses the authorities that Elasticsearch's own tool made until 2025.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return made


def _load_client_certificate(made: ssl.SSLContext, certificate: Path | None, key: Path | None) -> None:
    if certificate is None:
        if key is not None:
            raise UsageError("index.client_key is the key of index.client_cert, which is missing")
        return
    _require_readable("index.client_cert", certificate)
    if key is not None:
        _require_readable("index.client_key", key)

    def no_password() -> NoReturn:  # otherwise OpenSSL prompts for one on the terminal, and waits
        raise UsageError(f"index.client_key: {key or certificate} is protected by a password: expected one that isn't")

    try:
        made.load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        if error.reason in _KEY_MISMATCH:
            raise UsageError(f"index.client_key: {key} is not the key of {certificate}") from None
        where = f"{certificate}, and its key in {key}" if key else f"{certificate}, with its key (or index.client_key)"
        raise UsageError(f"index.client_cert: expected a certificate in PEM form in {where}") from None


_KEY_MISMATCH: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""OpenSSL's reasons for a key that doesn't belong to a certificate; the last is for one of another type."""


def _require_readable(name: str, file: Path) -> None:
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
"""A part of OpenSSL's message, and its meaning for users. The first match counts."""


def meaning(text: str) -> str:
    """Explain OpenSSL's message for a failed handshake: what it means, what to do, and the message itself."""
    found = next((meaning for part, meaning in _MEANINGS.items() if part in text), None)
    return f"{found} ({text})" if found else f"{text}: check index.ca_certs, index.client_cert and index.client_key"

"""TLS for every connection that cachesync opens: trusted authorities, client certificates, and failed handshakes."""

import ssl
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from cachesync.errors import IndexUnavailableError, UsageError


class Names(NamedTuple):
    """The names of a connection's settings, for messages. A setting that doesn't exist has an empty name."""

    url: str
    ca_certs: str = ""
    client_cert: str = ""
    client_key: str = ""

    @property
    def advice(self) -> str:
        """The advice for a certificate whose authority isn't trusted."""
        if self.ca_certs:
            return f"{self.ca_certs} must be the certificate of that authority"
        return "let the system trust it, or name a file with its certificate in SSL_CERT_FILE"


def trusting(authorities: Path | None, names: Names) -> ssl.SSLContext:
    """Return a context that trusts the authorities in a file or, without a file, the system's authorities.

    Raises:
        UsageError: the file can't be read, or it doesn't contain authorities.
        IndexUnavailableError: the system's TLS can't be set up.
    """
    if authorities is not None:
        _require_readable(names.ca_certs, authorities)
    try:
        made = ssl.create_default_context(cafile=authorities)
    except (OSError, ValueError) as error:
        if authorities is None:  # OpenSSL's own files, which its environment variables name
            raise IndexUnavailableError(f"can't set up TLS: {error}") from error
        raise UsageError(f"{names.ca_certs}: expected certificates in PEM form in {authorities}") from None
    # Python 3.13 sets this flag. The flag makes OpenSSL reject many private authorities of computing centres, and the
    # authorities that Elasticsearch's own tool made until 2025.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return made


def present(made: ssl.SSLContext, certificate: Path | None, key: Path | None, names: Names) -> None:
    """Add the client certificate, if there is one, to a context. Without ``key``, its file also contains the key.

    Raises:
        UsageError: the certificate or key can't be read or is invalid, or a key is given without its certificate.
    """
    if certificate is None:
        if key is not None:
            raise UsageError(f"{names.client_key} is the key of {names.client_cert}, which is missing")
        return
    _require_readable(names.client_cert, certificate)
    if key is not None:
        _require_readable(names.client_key, key)

    def no_password() -> NoReturn:  # without this function, OpenSSL prompts on the terminal and waits
        locked = key or certificate
        raise UsageError(f"{names.client_key}: {locked} is protected by a password: expected one that isn't")

    try:
        made.load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        if error.reason in _KEY_MISMATCH:
            raise UsageError(f"{names.client_key}: {key} is not the key of {certificate}") from None
        where = f"and its key in {key}" if key else f"with its key (or {names.client_key})"
        expected = f"expected a certificate in PEM form in {certificate}, {where}"
        raise UsageError(f"{names.client_cert}: {expected}") from None


_KEY_MISMATCH: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""OpenSSL's reasons for rejecting a key that doesn't belong to a certificate. The last is for a key of another type."""


def _require_readable(name: str, file: Path) -> None:
    try:
        file.open("rb").close()
    except OSError as error:
        raise UsageError(f"{name}: cannot read {file}: {error.strerror}") from None


_MEANINGS: Final = {
    "certificate has expired": "its certificate has expired: it must be renewed there, or is this clock wrong?",
    "certificate is not yet valid": "its certificate isn't valid yet: is this machine's clock right?",
    "mismatch": "its certificate is for another name: {0.url} must have a name that is in it",
    "WRONG_VERSION_NUMBER": "it answers without TLS: expected http:// in {0.url}",
    "record layer failure": "it answers without TLS: expected http:// in {0.url}",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is by an authority that isn't trusted: {0.advice}",
}
"""Parts of OpenSSL's messages, and what they mean for users. The first part that matches counts."""

_OF_CLIENT_CERTIFICATE: Final = {
    "CERTIFICATE_REQUIRED": "it asks for a client certificate: give one as {0.client_cert}, with {0.client_key}",
    "_ALERT_": "it refuses the client certificate: {0.client_cert} must be by an authority that it trusts",
}


def explained(reason: str, names: Names) -> str:
    """Return what OpenSSL's message for a failed handshake means and what to do about it, with the message itself."""
    meanings = _MEANINGS | (_OF_CLIENT_CERTIFICATE if names.client_cert else {})
    meaning = next((each for part, each in meanings.items() if part in reason), None)
    return f"{meaning.format(names)} ({reason})" if meaning else f"{reason}: check {', '.join(filter(None, names))}"

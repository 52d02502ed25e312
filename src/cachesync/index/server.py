"""The location of an index, the credentials for it, and the settings with which it is created."""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit


class IndexServer(NamedTuple):
    """The URLs of an index, and our credentials there."""

    urls: tuple[str, ...]
    api_key: str | None = None
    username: str | None = None
    password: str | None = None
    ca_certs: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None

    @property
    def url(self) -> str:
        """All URLs as one string, for messages."""
        return ",".join(self.urls)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The URLs, each with a port. A URL without one (common in managed clusters) gets the protocol's default."""
        return tuple(map(with_port, self.urls))


def with_port(url: str) -> str:
    """Return a web server's URL with an explicit port.

    Raises:
        ValueError: the URL's port is invalid.
    """
    parts = urlsplit(url)
    if parts.port is not None:
        return url
    port = 443 if parts.scheme == "https" else 80
    return parts._replace(netloc=f"{parts.netloc.removesuffix(':')}:{port}").geturl()


class Layout(NamedTuple):
    """The settings with which an index is created."""

    shards: int = 1
    replicas: int = 1
    """The number of replicas of each shard; on a single node, there are none."""
    refresh_interval: float = 1.0
    """Seconds until searches find what was written."""
    keep_generations: int = 1
    """How many generations are kept that a rollback can go back to."""

"""What is to be known of where an index is, and how it is made there."""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit


class IndexServer(NamedTuple):
    """Where an index is, and who we are there."""

    urls: tuple[str, ...]
    api_key: str | None = None
    username: str | None = None
    password: str | None = None
    ca_certs: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None

    @property
    def url(self) -> str:
        """How it is named to a person."""
        return ",".join(self.urls)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The URLs, each with a port: managed clusters are given without one, and mean that of their protocol."""
        return tuple(map(with_port, self.urls))


def with_port(url: str) -> str:
    """Return a URL of a web server with its port.

    Raises:
        ValueError: its port isn't one.
    """
    parts = urlsplit(url)
    if parts.port is not None:
        return url
    port = 443 if parts.scheme == "https" else 80
    return parts._replace(netloc=f"{parts.netloc.removesuffix(':')}:{port}").geturl()


class Layout(NamedTuple):
    """How an index is made."""

    shards: int = 1
    replicas: int = 1
    """Of each shard; on a single node there are none."""
    refresh_interval: float = 1.0
    """Seconds until what was written is found."""
    keep_generations: int = 1
    """How many generations a rollback can go back."""

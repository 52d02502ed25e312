"""The URLs and credentials of a Kibana server."""

from pathlib import Path
from typing import Final, NamedTuple

from cachesync.tls import Names

DEFAULT_SPACE: Final = "default"
"""The space that doesn't appear in URLs."""

NAMES: Final = Names("kibana.url", "kibana.ca_certs")


class Kibana(NamedTuple):
    """A Kibana server with a space and our credentials."""

    url: str
    """The URL, including the base path if there is one, without a trailing ``/``."""
    space: str = DEFAULT_SPACE
    api_key: str | None = None
    ca_certs: Path | None = None
    public_url: str | None = None
    """The URL for browsers if it differs from ``url``."""

    @property
    def space_url(self) -> str:
        """The base URL of the space's APIs."""
        return self.url + self._space

    @property
    def public_space_url(self) -> str:
        """The URL of the space for browsers."""
        return (self.public_url or self.url) + self._space

    @property
    def _space(self) -> str:
        return "" if self.space == DEFAULT_SPACE else f"/s/{self.space}"

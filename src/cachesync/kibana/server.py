"""What is to be known of where Kibana is."""

from pathlib import Path
from typing import Final, NamedTuple

DEFAULT_SPACE: Final = "default"
"""The space without a name in addresses."""


class Kibana(NamedTuple):
    """Where Kibana is, and who we are there."""

    url: str
    """With the base path, if it has one, and no ``/`` at its end."""
    space: str = DEFAULT_SPACE
    api_key: str | None = None
    ca_certs: Path | None = None
    public_url: str | None = None
    """Where browsers find it, if not there."""

    @property
    def space_url(self) -> str:
        """Where the APIs of the space are."""
        return self.url + self._space

    @property
    def public_space_url(self) -> str:
        """Where people find the space."""
        return (self.public_url or self.url) + self._space

    @property
    def _space(self) -> str:
        return "" if self.space == DEFAULT_SPACE else f"/s/{self.space}"

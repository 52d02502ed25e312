"""Detects that something else has changed or deleted the index."""

import time
from typing import Final

from cachesync.index.lifecycle import Writer
from cachesync.log import get_logger
from cachesync.service.scheduler import NEVER

_log = get_logger()

CHECK_SECONDS: Final = 5.0
"""How often to check that the index is intact."""


class IndexCheck:
    """Checks that the index is still as this service left it."""

    def __init__(self, writer: Writer) -> None:
        self.due = NEVER
        """When to check next; before the first full pass there is nothing to check."""
        self.damage: str | None = None
        """What has happened to the index, until a full pass has repaired it."""
        self._writer = writer

    def finds_damage(self) -> bool:
        """Return whether the index is damaged, unless that was found before and is being repaired."""
        is_intact = self._writer.intact()
        self.due = time.monotonic() + CHECK_SECONDS
        if is_intact or self.damage:
            return False
        _log.warning("the index isn't as it was left: starting a full pass", action="index.damaged")
        self.damage = "it isn't as it was left, and is being repaired"
        return True

    def repaired(self) -> None:
        """Withdraw the damage."""
        self.damage = None
        self.due = time.monotonic() + CHECK_SECONDS

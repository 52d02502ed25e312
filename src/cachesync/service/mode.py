"""What the service is doing: one value, which the sync jobs own, and which is published for HTTP to show."""

from enum import Enum


class Mode(Enum):
    """What the service is doing."""

    CATCHING_UP = "catching up"
    """No full pass has succeeded since this process became the writer."""
    FOLLOWING = "following"
    """The index equals the pages but for dirty paths, which partial passes handle."""
    REPAIRING = "repairing"
    """Partial passes wait for a full pass: the index was damaged or replaced, or a pass failed halfway."""
    PINNED = "pinned"
    """A rollback has pinned the index, so that nothing is synced until a reindex."""

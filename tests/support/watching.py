"""What a watcher says of itself that has nothing to complain of."""

from typing import Any

import msgspec

from cachesync.watch.watcher import WatcherState


def watching(**changes: Any) -> WatcherState:
    """Three folders, watched natively, but for the changes."""
    return msgspec.structs.replace(WatcherState(mode="native", watching=True, folders=3), **changes)

"""What a watcher says of itself that has nothing to complain of."""

from typing import Any

import msgspec

from cachesync.watch.watcher import Watching


def watching(**changes: Any) -> Watching:
    """Three folders, watched natively, but for the changes."""
    return msgspec.structs.replace(Watching(mode="native", watching=True, folders=3), **changes)

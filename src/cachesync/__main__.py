"""The ``cachesync`` command, also as ``python -m cachesync``."""

import sys

from cachesync.errors import INTERRUPTED


def main() -> None:
    """Run the command line and exit, quietly also when interrupted while it is being loaded."""
    try:
        from cachesync.cli import run  # noqa: PLC0415  loading it takes long enough to be interrupted
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(run())


if __name__ == "__main__":
    main()

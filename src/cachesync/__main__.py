"""The entry point of ``cachesync`` and of ``python -m cachesync``."""

import sys

from cachesync.errors import INTERRUPTED


def main() -> None:
    """Run the command line and exit. An interrupt during the import of the command line exits without a message."""
    try:
        from cachesync.cli import run  # noqa: PLC0415  importing it takes long enough to be interrupted
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(run())


if __name__ == "__main__":
    main()

"""``python -m cachesync`` is the ``cachesync`` command."""

from cachesync.cli import main

if __name__ == "__main__":
    main()

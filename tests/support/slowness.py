"""A file system that answers slowly, or not at all, and a server that does neither."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

_HOOK = """
import os, pathlib, time

control = pathlib.Path(os.environ["CACHESYNC_TEST_SLOWNESS"])
root = os.environ["CACHESYNC_TEST_SLOW_ROOT"]
pages = ("specs.md",)
lstat = os.lstat

def slow_lstat(path, *arguments, **options):
    if str(path).startswith(root) and str(path).endswith(pages):
        (control / "asked").touch()
        while (control / "hangs").exists():
            (control / "hanging").touch()
            time.sleep(0.01)
        if (control / "slow").exists():
            time.sleep(0.02)
    return lstat(path, *arguments, **options)

os.lstat = slow_lstat
"""


class SlowFileSystem:
    """Looking at a page takes a while, or does not return, as on a network file system. It concerns the service alone.

    Python's own start-up hook (``sitecustomize``) stands for the file system, which no user could slow down so.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self._control = folder / "slowness"
        self._control.mkdir()
        hook = folder / "hook"
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(_HOOK)
        self.environment = {
            "PYTHONPATH": os.pathsep.join([str(hook), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "CACHESYNC_TEST_SLOWNESS": str(self._control),
            "CACHESYNC_TEST_SLOW_ROOT": str(root),
        }

    def slow_down(self) -> None:
        """From now on looking at a page takes 20 ms."""
        (self._control / "slow").touch()

    def speed_up(self) -> None:
        (self._control / "slow").unlink()

    def hang(self) -> None:
        """From now on looking at a page doesn't return."""
        (self._control / "hangs").touch()

    def answer(self) -> None:
        (self._control / "hangs").unlink()

    @property
    def was_asked(self) -> bool:
        """Somebody has looked at a page."""
        return (self._control / "asked").exists()

    @property
    def is_hanging(self) -> bool:
        """Somebody waits for it."""
        return (self._control / "hanging").exists()


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """Lend the URL of a server that accepts every connection, reads what is sent, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connections.append(server.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for each in connections:
                each.close()

"""Notify systemd (``sd_notify``). If systemd didn't start the service, the functions do nothing. They never raise."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

_SOCKET: Final = "NOTIFY_SOCKET"

_START_SECONDS: Final = 10.0
"""How often a long start asks for more time, if no watchdog sets another interval."""

_EXTENSION_USEC: Final = 60_000_000
"""How much more time each such request asks for, in microseconds."""

_TIMEOUT: Final = 0.5
"""Seconds after which a message that can't be sent is dropped."""


def ready() -> None:
    """Report that the service has started, or has reloaded."""
    _notify("READY=1")


def status(text: str) -> None:
    """Report in one line what the service is doing."""
    _notify(f"STATUS={' '.join(text.split())}")


def reloading() -> None:
    """Report that the configuration is being reloaded. A call of :func:`ready` completes the reload."""
    _notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    """Report that the service is shutting down."""
    _notify("STOPPING=1")


class Heartbeat:
    """Heartbeats for systemd's watchdog, if there is one, and requests for more time while the service starts.

    Attributes:
        every: the seconds between two heartbeats, a third of the watchdog's timeout; None without a watchdog.
        starting: whether the service isn't ready yet. Until it is, each heartbeat also asks for more time, because a
            start on a cold file system may take longer than ``TimeoutStartSec``.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.every = _every(environment)
        self.starting = bool(environment.get(_SOCKET))
        self._clock = clock
        self._last: float | None = None

    def started(self) -> None:
        """Report that the service has started, and stop asking for more time."""
        self.starting = False
        ready()

    def beat(self) -> None:
        """Send a heartbeat if one is due. Frequent calls are cheap."""
        every = _START_SECONDS if self.every is None else self.every
        if self.every is None and not self.starting:
            return
        now = self._clock()
        if self._last is not None and now - self._last < every:
            return
        self._last = now
        if self.every:
            _notify("WATCHDOG=1")
        if self.starting:
            _notify(f"EXTEND_TIMEOUT_USEC={_EXTENSION_USEC}")


def _every(environment: Mapping[str, str]) -> float | None:
    watched = environment.get("WATCHDOG_PID") or str(os.getpid())
    text = environment.get("WATCHDOG_USEC", "")
    if watched != str(os.getpid()) or not (text.isascii() and text.isdecimal()):
        return None
    return int(text) / 3_000_000 or None


def _notify(state: str) -> None:
    address = os.environ.get(_SOCKET, "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.settimeout(_TIMEOUT)
        out.sendto(os.fsencode(state), os.fsencode(address))

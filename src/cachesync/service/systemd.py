"""What is told to systemd (``sd_notify``): nothing at all where it didn't start us, and never an error."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

_SOCKET: Final = "NOTIFY_SOCKET"
_WATCHDOG: Final = "WATCHDOG_USEC"
_WATCHED: Final = "WATCHDOG_PID"

_START_SECONDS: Final = 10.0
"""How often a start that takes long asks for time where no watchdog wants to hear more often."""

_EXTENSION_USEC: Final = 60_000_000
"""For how much it asks, from then on."""

_PATIENCE: Final = 0.5
"""Seconds after which a message is dropped that nobody takes."""


def ready() -> None:
    """Tell that the service has started, or that it has reloaded."""
    _notify("READY=1")


def status(text: str) -> None:
    """Tell in a line for people what the service is doing."""
    _notify(f"STATUS={' '.join(text.split())}")


def reloading() -> None:
    """Tell that the configuration is being read again; :func:`ready` ends it."""
    _notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    """Tell that the service is about to end."""
    _notify("STOPPING=1")


class Heartbeat:
    """Tells systemd that the service goes on: its watchdog, if there is one, and during a start, that it needs time.

    Attributes:
        every: seconds after which the watchdog wants the next beat, a third of those after which it strikes; None where
            nobody watches.
        starting: the service isn't ready yet, so each beat asks for time: a start on a cold file system may take longer
            than ``TimeoutStartSec``.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.every = _every(environment)
        self.starting = bool(environment.get(_SOCKET))
        self._clock = clock
        self._last: float | None = None

    def beat(self) -> None:
        """Tell it that the service goes on. More calls than are wanted cost next to nothing."""
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
    watched = environment.get(_WATCHED) or str(os.getpid())
    text = environment.get(_WATCHDOG, "")
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
        out.settimeout(_PATIENCE)
        out.sendto(os.fsencode(state), os.fsencode(address))

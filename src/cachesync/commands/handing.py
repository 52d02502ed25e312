"""Work for the one writer: it is handed to the running service, or done here where there is none."""

from collections.abc import Callable
from typing import Final

from cachesync.commands.wiring import Wiring
from cachesync.errors import IndexUnavailableError
from cachesync.index.base import Writer
from cachesync.service.handover import Errand, Reply, hand_over
from cachesync.sync.passes import Progress
from cachesync.sync.report import Report
from cachesync.sync.scan import require_root

WRITER_WAIT: Final = 60.0
"""Seconds that a writing command waits for another to end."""


def by_the_writer(wiring: Wiring, errand: Errand, progress: Progress, here: Callable[[Writer], Reply]) -> Reply:
    """Let the running service carry out an errand, or do it ``here``: the outcome is the same.

    Raises:
        CachesyncError: it couldn't be done.
    """
    wiring.index.require_rights()
    reply = hand_over(wiring.index, errand, progress)
    if reply is None:
        if errand.command != "rollback":
            require_root(wiring.source.root)  # before the index leaves anything on disk
        try:
            with wiring.index.writer(WRITER_WAIT) as writer:
                return here(writer)
        except IndexUnavailableError:
            reply = hand_over(wiring.index, errand, progress)  # perhaps a service has been started meanwhile
            if reply is None:
                raise
    return reply


def carried_out(wiring: Wiring, errand: Errand, progress: Progress, here: Callable[[Writer], Report]) -> Report:
    """Bring the index into line with all pages, as :func:`by_the_writer`, and return what came of it."""
    reply = by_the_writer(wiring, errand, progress, lambda writer: Reply(report=here(writer)))
    assert reply.report
    return reply.report

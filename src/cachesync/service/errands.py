"""What commands have handed to the service: the other side of :mod:`.handover`."""

import time
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from cachesync.errors import UsageError
from cachesync.index.base import Notes, Writer
from cachesync.service.handover import Errand, Reply, errand_key, reply_key

_KEPT_SECONDS: Final = 600.0
_TELL_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 60.0


class Asked(NamedTuple):
    """An errand, and the id that its reply goes by."""

    id: str
    errand: Errand


class Errands:
    """Reads errands and writes replies. What has come of an errand is kept until its reply is written."""

    def __init__(self, writer: Writer, notes: Notes) -> None:
        self._writer = writer
        self._notes = notes
        self._told = 0.0
        self._first_tried: dict[str, float] = {}
        self._settled: dict[str, Reply] = {}
        self._replied: list[tuple[float, str]] = []

    def asked(self) -> Iterator[Asked]:
        """Yield what is asked for and not settled yet. What can't be understood is settled here.

        Raises:
            IndexUnavailableError: the index doesn't answer.
        """
        self._forget()
        self.reply()
        for id in self._writer.knocks():
            text = self._notes.get(errand_key(id))
            if text is None:  # who asked has gone
                self._writer.answered(id)
                continue
            try:
                errand = msgspec.json.decode(text, type=Errand)
            except msgspec.MsgspecError as error:
                unknown = UsageError(f"the service is of another version, and doesn't know this: {error}")
                self.settle(id, Reply.failed(unknown))
            else:
                yield Asked(id, errand)

    def settle(self, id: str | None, reply: Reply) -> None:
        """Remember what has come of an errand, if it was one; what comes after that counts no more."""
        if id is not None:
            self._settled.setdefault(id, reply)

    def reply(self) -> None:
        """Tell those who asked what has come of it.

        Raises:
            IndexUnavailableError: the index doesn't answer; those that are left are told the next time.
        """
        while self._settled:
            id, reply = next(iter(self._settled.items()))
            self._notes.put(reply_key(id), msgspec.json.encode(reply))
            self._writer.answered(id)
            self._notes.remove(errand_key(id))
            self._first_tried.pop(id, None)
            self._replied.append((time.monotonic(), id))
            del self._settled[id]

    def is_new(self, id: str) -> bool:
        """Tell whether an errand is tried for the first time, which is remembered."""
        return self._first_tried.setdefault(id, now := time.monotonic()) == now

    def is_out_of_patience(self, id: str) -> bool:
        """Tell whether an errand was tried for as long as a command alone would try it."""
        return time.monotonic() - self._first_tried[id] >= PATIENCE_SECONDS

    def progress(self, id: str | None, done: int, pages: int) -> None:
        """Tell who asked how far it is, every now and then."""
        if id is not None and pages and time.monotonic() - self._told >= _TELL_SECONDS:
            self._told = time.monotonic()
            self._notes.put(reply_key(id), msgspec.json.encode(Reply(done, pages)))

    def _forget(self) -> None:
        """Remove replies that nobody has come for; who gets his removes it himself."""
        while self._replied and time.monotonic() - self._replied[0][0] > _KEPT_SECONDS:
            self._notes.remove(reply_key(self._replied.pop(0)[1]))

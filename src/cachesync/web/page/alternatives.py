"""What to search for instead where nothing is found: the same without one condition, or of another package."""

from collections.abc import Iterator
from typing import NamedTuple

from cachesync.search.answer import Answer
from cachesync.search.near import Near
from cachesync.web.page.address import PageUrl


class Instead(NamedTuple):
    """A search that finds something."""

    url: str
    total: int
    without: str | None
    """The condition that is left out."""
    package: str | None
    """The package that is asked for instead."""


def instead(said: PageUrl, answer: Answer) -> Iterator[Instead]:
    """Yield a link for all that is near."""
    for near in answer.near:
        yield Instead(_without(said, answer, near).url, near.total, near.without, near.package)


def _without(said: PageUrl, answer: Answer, near: Near) -> PageUrl:
    reading = answer.reading
    if near.package:
        name = reading.name.text if reading.name else None
        return said.replacing("q", _joined(near.package if text == name else text for text in _pieces(answer)))
    texts = list(_pieces(answer))
    if near.without in texts:
        texts.remove(near.without)
        return said.replacing("q", _joined(texts))
    field = str(near.without).partition("=")[0]
    if said.all(field):
        return said.without(field)
    machine = answer.question.machine  # what is left of what it asked for: its platform
    return said.without("arch").replacing("platform", machine.platform if machine and field == "target" else "")


def _pieces(answer: Answer) -> Iterator[str]:
    """Yield what the text asks for, as Spack writes it."""
    return (piece.text for piece in answer.reading.pieces)


def _joined(texts: Iterator[str] | list[str]) -> str:
    """Write conditions one behind the other, a version right behind the name that it is of."""
    return " ".join(texts).replace(" @", "@")

"""Alternatives to a search without hits: the same search without one condition, or for another package."""

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


def instead(here: PageUrl, answer: Answer) -> Iterator[Instead]:
    """Yield a link for each alternative of an answer."""
    for near in answer.near:
        yield Instead(_without(here, answer, near).url, near.total, near.without, near.package)


def _without(here: PageUrl, answer: Answer, near: Near) -> PageUrl:
    reading = answer.reading
    if near.package:
        name = reading.name.text if reading.name else None
        return here.replacing("q", _joined(near.package if text == name else text for text in _pieces(answer)))
    texts = list(_pieces(answer))
    if near.without in texts:
        texts.remove(near.without)
        return here.replacing("q", _joined(texts))
    field = str(near.without).partition("=")[0]
    if here.all(field):
        return here.without(field)
    machine = answer.question.machine  # without the machine, keep its platform
    return here.without("arch").replacing("platform", machine.platform if machine and field == "target" else "")


def _pieces(answer: Answer) -> Iterator[str]:
    """Yield the conditions of the query's text in Spack's syntax."""
    return (piece.text for piece in answer.reading.pieces)


def _joined(texts: Iterator[str] | list[str]) -> str:
    """Join conditions with spaces, but a version directly to its name."""
    return " ".join(texts).replace(" @", "@")

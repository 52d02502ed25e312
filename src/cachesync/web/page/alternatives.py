"""Alternatives to a search without hits: the same search without one condition, or for another package."""

from collections.abc import Iterable

from cachesync.search.answer import Answer
from cachesync.search.near import Near
from cachesync.web.page.address import PageUrl


def alternatives(here: PageUrl, answer: Answer) -> list[tuple[Near, str]]:
    """Return the alternatives to an answer, each with its URL."""
    return [(each, _instead(here, answer, each).url) for each in answer.near]


def _instead(here: PageUrl, answer: Answer, near: Near) -> PageUrl:
    reading = answer.reading
    texts = [piece.text for piece in reading.pieces]
    if near.package:
        name = reading.name.text if reading.name else None
        return here.replacing("q", _joined(near.package if text == name else text for text in texts))
    if near.without in texts:
        texts.remove(near.without)
        return here.replacing("q", _joined(texts))
    field = str(near.without).partition("=")[0]
    if here.all(field):
        return here.without(field)
    machine = answer.question.machine  # without the architecture, keep its platform
    return here.without("arch").replacing("platform", machine.platform if machine and field == "target" else "")


def _joined(texts: Iterable[str]) -> str:
    """Join conditions with spaces, but attach a version directly to its name."""
    return " ".join(texts).replace(" @", "@")

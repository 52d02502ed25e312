"""Values as HTML. A page of a thousand hits has tens of thousands, of which few differ: these are remembered."""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Final

from markupsafe import Markup, escape

from cachesync.log import printable

_REMEMBERED: Final = 4_096
_LONGEST_REMEMBERED: Final = 100
"""Characters: whoever asks for long values takes no memory by it."""

_VARIANTS: Final = re.compile("(?=[+~][A-Za-z])")
"""Where one begins in a spec."""

_OFF: Final = ("~", "-")
"""What variants begin with that are off."""


def visible(value: object) -> str:
    """Return a value as text that hides nothing. It isn't HTML yet."""
    return printable(str(value))


def v(value: object) -> Markup:
    """Return a value from pages, or from whoever asks: it stays in its own direction, and hides nothing."""
    text = str(value)
    return _remembered(text) if len(text) <= _LONGEST_REMEMBERED else _marked(text)


def _marked(text: str) -> Markup:
    shown = escape(printable(text))
    return shown if text.isascii() else Markup("<bdi>{}</bdi>").format(shown)  # ASCII has but one direction


_remembered: Final = lru_cache(_REMEMBERED)(_marked)


def variant(value: str, is_telling: bool = False) -> Markup:
    """Return a variant; ``is_telling``: others are told apart by it."""
    return (_remembered_variant if len(value) <= _LONGEST_REMEMBERED else _marked_variant)(value, is_telling)


def _marked_variant(value: str, is_telling: bool) -> Markup:
    kind = (" off" if value.startswith(_OFF) else "") + (" telling" if is_telling else "")
    return Markup('<code class="variant{}">{}</code>').format(kind, v(value))


_remembered_variant: Final = lru_cache(_REMEMBERED)(_marked_variant)


def variants(values: Iterable[str], telling: Collection[str] = ()) -> Markup:
    """Return variants, one behind the other."""
    return Markup(" ").join(variant(each, each in telling) for each in values)


def count(number: int) -> str:
    """Return a number as people read it."""
    return f"{number:,}"


def spec(text: str) -> Markup:
    """Return a spec that is broken before a variant rather than in it, where it doesn't fit in a line."""
    if not text.isascii():  # <bdi> holds it together
        return v(text)
    return Markup("<wbr>").join(filter(None, _VARIANTS.split(printable(text))))


def command(text: str) -> Markup:
    """Return a command of which no word is broken in two as long as there is room for it."""
    return Markup(" ").join(Markup("<span>{}</span>").format(word) if "-" in word else word for word in text.split(" "))

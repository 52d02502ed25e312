"""Values as HTML, cached: a page of a thousand hits has tens of thousands of values, but few distinct ones."""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Final

from markupsafe import Markup, escape

from cachesync.log import printable

_REMEMBERED: Final = 4_096
_LONGEST_REMEMBERED: Final = 100
"""In characters. Longer values aren't cached, so that nobody can fill the memory with them."""

_VARIANTS: Final = re.compile("(?=[+~][A-Za-z])")
"""The position before a variant in a spec."""

_OFF: Final = ("~", "-")
"""The prefixes of variants that are off."""


def visible(value: object) -> str:
    """Return a value as text with invisible characters escaped. The text isn't HTML yet."""
    return printable(str(value))


def v(value: object) -> Markup:
    """Return an untrusted value as HTML, with invisible characters escaped and its text direction isolated."""
    text = str(value)
    return _remembered(text) if len(text) <= _LONGEST_REMEMBERED else _marked(text)


def _marked(text: str) -> Markup:
    shown = escape(printable(text))
    return shown if text.isascii() else Markup("<bdi>{}</bdi>").format(shown)  # ASCII is always left to right


_remembered: Final = lru_cache(_REMEMBERED)(_marked)


def variant(value: str, is_differing: bool = False) -> Markup:
    """Return a variant as HTML. ``is_differing``: other rows of the package have another setting."""
    return (_remembered_variant if len(value) <= _LONGEST_REMEMBERED else _marked_variant)(value, is_differing)


def _marked_variant(value: str, is_differing: bool) -> Markup:
    kind = (" off" if value.startswith(_OFF) else "") + (" differing" if is_differing else "")
    return Markup('<code class="variant{}">{}</code>').format(kind, v(value))


_remembered_variant: Final = lru_cache(_REMEMBERED)(_marked_variant)


def variants(values: Iterable[str], differing: Collection[str] = ()) -> Markup:
    """Return variants as HTML, separated by spaces."""
    return Markup(" ").join(variant(each, each in differing) for each in values)


def spec(text: str) -> Markup:
    """Return a spec as HTML with a line-break opportunity before each variant."""
    if not text.isascii():  # <bdi> must not be split
        return v(text)
    return Markup("<wbr>").join(filter(None, _VARIANTS.split(printable(text))))


def command(text: str) -> Markup:
    """Return a command as HTML, in which words with hyphens are broken only if they are too long for a line."""
    return Markup(" ").join(Markup("<span>{}</span>").format(word) if "-" in word else word for word in text.split(" "))

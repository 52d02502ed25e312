"""Checks that values contain nothing invisible.

Two values that look the same on a screen are still different in IDs, facets and filters. Therefore, a value must not
contain invisible characters or any whitespace other than the ordinary space, and must be in Unicode's normal form NFC.
"""

import re
import unicodedata
from typing import Final

_IGNORABLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that are invisible though ``str.isprintable`` is true: the letters and marks among Unicode's
Default_Ignorable_Code_Point (DerivedCoreProperties.txt), and the Braille pattern without a dot."""


def untidy(text: str) -> str | None:
    """Describe a leading or trailing space, or what :func:`hidden` finds; return None if there is neither."""
    if text[:1] == " " or text[-1:] == " ":
        return f"expected no space at either end, found {_found(text, 0 if text[0] == ' ' else len(text) - 1)}"
    return hidden(text)


def hidden(text: str) -> str | None:
    """Describe the first character that is invisible or not in NFC, and its position; return None if there is none."""
    if text.isascii() and text.isprintable():
        return None
    if not text.isprintable() or _IGNORABLE.search(text):
        position = next(at for at, each in enumerate(text) if not each.isprintable() or _IGNORABLE.match(each))
        return f"expected visible characters, found {_found(text, position)}"
    if unicodedata.is_normalized("NFC", text):
        return None
    normal = unicodedata.normalize("NFC", text)
    position = next(at for at, each in enumerate(text) if normal[at : at + 1] != each)
    return f"expected Unicode's normal form NFC, found another one from {_found(text, position)}"


def _found(text: str, position: int) -> str:
    """Return a character's name and position, counted from 1, and the text in ASCII."""
    character = text[position]
    name = unicodedata.name(character, "")
    shown = f"U+{ord(character):04X} {name}".strip()
    return f"{shown} at character {position + 1} of {text!a:.80}"

"""Values that look like what they are.

Two values that nobody can tell apart on a screen are still two in ids, facets and filters. So a value may hold no
character that can't be seen, no blank but the ordinary space, and no spelling that Unicode's normal form NFC replaces.
"""

import re
import unicodedata
from typing import Final

_IGNORABLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What leaves no mark though ``str.isprintable`` is true: the letters and marks among Unicode's
Default_Ignorable_Code_Point (DerivedCoreProperties.txt), and the Braille pattern without a dot."""


def untidy(text: str) -> str | None:
    """Say at which end of a text a space stands, or what :func:`hidden` says; None where the text is tidy."""
    if text[:1] == " " or text[-1:] == " ":
        return f"expected no blank at either end, found {_found(text, 0 if text[0] == ' ' else len(text) - 1)}"
    return hidden(text)


def hidden(text: str) -> str | None:
    """Say which character of a text doesn't show as what it is, and where it stands; None where all do."""
    if text.isascii() and text.isprintable():
        return None
    if not text.isprintable() or _IGNORABLE.search(text):
        position = next(at for at, each in enumerate(text) if not each.isprintable() or _IGNORABLE.match(each))
        return f"expected characters that can be seen, found {_found(text, position)}"
    if unicodedata.is_normalized("NFC", text):
        return None
    normal = unicodedata.normalize("NFC", text)
    position = next(at for at, each in enumerate(text) if normal[at : at + 1] != each)
    return f"expected Unicode's normal form NFC, found another one from {_found(text, position)}"


def _found(text: str, position: int) -> str:
    """Name a character and its place, counted from 1, and show the text without its tricks."""
    character = text[position]
    name = unicodedata.name(character, "")
    shown = f"U+{ord(character):04X} {name}".strip()
    return f"{shown} at character {position + 1} of {text!a:.80}"

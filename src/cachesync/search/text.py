"""How text fields are split into words."""

import re
from typing import Final

_BETWEEN: Final = (
    r"\x00-\xA8\xAB\xAC\xAF-\xB4\xB6-\xB9\xBB-\xBF\xD7\xF7"
    r"\u2000-\u200B\u2010-\u2029\u2030-\u203B\u203D\u203E\u2041-\u2048\u204A-\u2053\u2055-\u205F"
)
"""ASCII, and what typeset text has between words: quotes, dashes, blanks [as Elasticsearch 9.5 splits]."""

_IN_LETTERS: Final = r".:'\xB7\u2018\u2019\u2024\u2027"
_IN_DIGITS: Final = r".,;'\u2018\u2019\u2024"
_PART: Final = rf"[A-Za-z](?:[{_IN_LETTERS}][A-Za-z])*|[0-9](?:[{_IN_DIGITS}][0-9])*|[^{_BETWEEN}]"
WORD: Final = rf"_*(?:{_PART})(?:{_PART}|_)*"
"""A word of a text field, by the rules of Unicode annex 29 for ASCII: ``py-pip@24.3.1`` has py, pip and 24.3.1."""

_WORD: Final = re.compile(WORD)


def words(text: str) -> list[str]:
    """Split text as the text fields of an index are split."""
    return [word.lower() for word in _WORD.findall(text)]

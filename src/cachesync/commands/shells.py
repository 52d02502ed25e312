"""Passes completions to shells for which click's own method doesn't suffice."""

import os
from typing import Final

from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string

_BREAKS: Final = frozenset("=:@")


def register() -> None:
    """Make click use the classes of this module."""
    add_completion_class(_Bash)


class _Bash(BashComplete):
    """Bash splits words at ``=``, ``:`` and ``@``, and replaces only the last part by the completion."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor, joined again, and the one to complete."""
        words = split_arg_string(os.environ["COMP_WORDS"])
        number = int(os.environ["COMP_CWORD"])
        whole: list[str] = []
        for word in [*words, ""][1 : number + 1]:
            if whole and word and (set(word) <= _BREAKS or whole[-1][-1:] in _BREAKS):
                whole[-1] += word
            else:
                whole.append(word)
        last = whole.pop()
        end = max(last.rfind(each) for each in _BREAKS) + 1
        self._kept = last[:end]
        return whole, last

    def format_completion(self, item: CompletionItem) -> str:
        """Remove from a completion the parts that bash keeps, of which it may begin with only the last."""
        value: str = item.value
        starts = (self._kept[place:] for place in range(len(self._kept)))
        kept = next((start for start in starts if value.startswith(start)), "")
        return f"{item.type},{value.removeprefix(kept)}"

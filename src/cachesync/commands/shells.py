"""How shells are told what is offered, where click's own way doesn't do."""

import os
from typing import Final

from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string

_BREAKS: Final = frozenset("=:@")


def register() -> None:
    """Let shells be told by the classes here."""
    add_completion_class(_Bash)


class _Bash(BashComplete):
    """Bash takes a word apart at ``=``, ``:`` and ``@``, and puts what is offered in the place of the last part."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Put the words together again."""
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
        """Leave out what bash keeps, of which the item may have the end alone."""
        value: str = item.value
        starts = (self._kept[place:] for place in range(len(self._kept)))
        kept = next((start for start in starts if value.startswith(start)), "")
        return f"{item.type},{value.removeprefix(kept)}"

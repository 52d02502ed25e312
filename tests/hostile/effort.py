"""How hard the hostile tests try: a few minutes' cut in every run, all of it with ``make hostile``."""

import os
from typing import Final, TypeVar

VARIABLE: Final = "CACHESYNC_TEST_THOROUGH"
THOROUGH: Final = bool(os.environ.get(VARIABLE))

_Amount = TypeVar("_Amount")


def effort(short: _Amount, thorough: _Amount) -> _Amount:
    """Choose what is tried in every run, or what is tried when there is time for all."""
    return thorough if THOROUGH else short

"""How hard the hostile tests try: a few minutes' cut in every run, all of it with ``make hostile``."""

import os
import secrets
from typing import Final, TypeVar

VARIABLE: Final = "CACHESYNC_TEST_THOROUGH"
THOROUGH: Final = bool(os.environ.get(VARIABLE))

_Amount = TypeVar("_Amount")


def effort(short: _Amount, thorough: _Amount) -> _Amount:
    """Choose what is tried in every run, or what is tried when there is time for all."""
    return thorough if THOROUGH else short


SEED_VARIABLE: Final = "CACHESYNC_TEST_SEED"
SEED: Final = int(os.environ.get(SEED_VARIABLE) or effort(0, secrets.randbits(32)))
"""What is drawn by chance follows from it. The short cut is the same each time; the whole is new each time."""

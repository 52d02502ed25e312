"""How often each attack was tried."""

from collections import Counter
from typing import Final

TALLY: Final[Counter[str]] = Counter()
"""Attacks of this process by name; ``conftest.py`` sums them up over all processes of a test run."""

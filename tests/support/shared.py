"""Real pages and Spack's own answers, where the folder with them lies beside the checkout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"
REAL_PAGES = SHARED / "pages"
VERSION_ORDER = SHARED / "data" / "version_order.json"

_Test = TypeVar("_Test", bound=Callable[..., Any])


def needs_real_pages(test: _Test) -> _Test:
    """Skip a test where the real pages are not beside this checkout."""
    return _needs(REAL_PAGES, "the real pages are not beside this checkout")(test)


def needs_version_order(test: _Test) -> _Test:
    """Skip a test where Spack's own order of versions is not beside this checkout."""
    return _needs(VERSION_ORDER, "Spack's answers are not beside this checkout")(test)


def _needs(path: Path, reason: str) -> Callable[[_Test], _Test]:
    """Mark a test that depends on the surroundings, of which it wants a path."""
    skipped = pytest.mark.skipif(not path.exists(), reason=reason)
    return lambda test: pytest.mark.surroundings(skipped(test))

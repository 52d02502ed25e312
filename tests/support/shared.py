"""Real pages and Spack's own answers, where the folder with them lies beside the checkout."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"
REAL_PAGES = SHARED / "pages"
VERSION_ORDER = SHARED / "data" / "version_order.json"

needs_real_pages = pytest.mark.skipif(not REAL_PAGES.is_dir(), reason="the real pages are not beside this checkout")
needs_version_order = pytest.mark.skipif(
    not VERSION_ORDER.is_file(), reason="Spack's answers are not beside this checkout"
)

"""The web page, rendered on the server for browsers with and without JavaScript."""

from cachesync.web.page.address import asked_by_page
from cachesync.web.page.freshness import IndexState
from cachesync.web.page.renderer import PageRenderer

__all__ = ["IndexState", "PageRenderer", "asked_by_page"]

"""The page: what the server renders of an answer, for browsers with and without script."""

from cachesync.web.page.address import asked_by_page
from cachesync.web.page.freshness import IndexState
from cachesync.web.page.pages import Pages

__all__ = ["IndexState", "Pages", "asked_by_page"]

"""All that is served at one address: the page, the API, its description, and what whoever serves it tells of itself."""

from collections.abc import Sequence

from starlette.types import ASGIApp

from cachesync.web.api import Api
from cachesync.web.app import Answered, build_app
from cachesync.web.endpoint import Endpoint
from cachesync.web.health import with_description
from cachesync.web.html import HtmlEndpoints


def build_site(
    base_path: str, own: Sequence[Endpoint], api: Api, allow_origins: Sequence[str], answered: Answered
) -> ASGIApp:
    """Return the application.

    Args:
        base_path: what all paths start with: nothing, or like ``/cachesync``.
        own: what whoever serves it tells of itself.
        api: what answers searches.
        allow_origins: see :func:`cachesync.web.app.build_app`, as for the next.
        answered: is told of each answer.
    """
    browsing = HtmlEndpoints(base_path, api)
    endpoints = with_description(base_path, [*own, *api.endpoints(), *browsing.endpoints()])
    return build_app(base_path, endpoints, refused=browsing.refused, allow_origins=allow_origins, answered=answered)

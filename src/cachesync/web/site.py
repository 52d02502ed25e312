"""The whole site: the web page, the API, its description, and the endpoints of the command that serves it."""

from collections.abc import Sequence

from starlette.types import ASGIApp

from cachesync.web.api import Api
from cachesync.web.app import Observer, build_app
from cachesync.web.endpoint import Endpoint
from cachesync.web.health import with_description
from cachesync.web.html import HtmlEndpoints


def build_site(
    base_path: str, own: Sequence[Endpoint], api: Api, allow_origins: Sequence[str], observe: Observer
) -> ASGIApp:
    """Return the application.

    Args:
        base_path: the prefix of all paths: empty, or like ``/cachesync``.
        own: the endpoints of the command that serves, such as its status.
        api: answers searches.
        allow_origins: see :func:`cachesync.web.app.build_app`.
        observe: called after each response.
    """
    browsing = HtmlEndpoints(base_path, api)
    endpoints = with_description(base_path, [*own, *api.endpoints(), *browsing.endpoints()])
    return build_app(base_path, endpoints, on_error=browsing.refused, allow_origins=allow_origins, observe=observe)

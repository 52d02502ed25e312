"""The whole site: the web page, the API and its description, and the endpoints of the command that serves the site."""

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
    """Return the application. ``own`` are the endpoints of the command that serves the site, such as its status.

    The other parameters are as for :func:`cachesync.web.app.build_app`.
    """
    browsing = HtmlEndpoints(base_path, api)
    endpoints = with_description(base_path, [*own, *api.endpoints(), *browsing.endpoints()])
    return build_app(base_path, endpoints, on_error=browsing.refused, allow_origins=allow_origins, observe=observe)

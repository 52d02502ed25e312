"""``cachesync kibana``: what people look at in Kibana."""

import sys
from typing import Any

import click

from cachesync.commands.components import Components
from cachesync.commands.output import print_json
from cachesync.log import printable

_WAIT_SECONDS = 120.0


@click.group()
def kibana() -> None:
    """Data views, searches and dashboards for Kibana."""


@kibana.command()
@click.pass_obj
def export(components: Components) -> int:
    """Print the saved objects as NDJSON: the file that Kibana imports.

    They are for the index called index.name.
    """
    sys.stdout.buffer.write(_file(components))
    return 0


@kibana.command(short_help="Put the saved objects into Kibana.")
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    default=_WAIT_SECONDS,
    show_default=True,
    help="For how long Kibana may be starting, busy or silent.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def install(components: Components, wait: float, as_json: bool) -> int:
    """Put the saved objects into the Kibana at kibana.url, over those that were put there before.

    Exit codes: 0 all are there, 2 the configuration is wrong, 3 Kibana can't be reached, or refuses.
    """
    from cachesync.kibana.install import install  # noqa: PLC0415  HTTP and Elasticsearch's client take a while to load

    place = components.kibana
    installed = install(place, _file(components), wait)
    if as_json:
        found: dict[str, Any] = {"url": place.url, "space": place.space}
        print_json({**found, "objects": [each._asdict() for each in installed]})
        return 0
    width = max((len(each.title) for each in installed), default=0)
    for each in installed:
        click.echo(f"{each.outcome:12}{each.kind:11}{printable(each.title):{width}}  {printable(each.link)}")
    return 0


def _file(components: Components) -> bytes:
    from cachesync.kibana.content import ndjson, saved_objects  # noqa: PLC0415  as above

    return ndjson(saved_objects(components.config.index.name))

"""``cachesync kibana``: export or install the saved objects for Kibana."""

import sys

import click

from cachesync.commands.components import Components
from cachesync.commands.output import print_json
from cachesync.log import printable

_WAIT_SECONDS = 120.0


@click.group()
def kibana() -> None:
    """Export or install data views, searches and dashboards for Kibana."""


@kibana.command()
@click.pass_obj
def export(components: Components) -> int:
    """Print the saved objects as NDJSON, the file that Kibana imports.

    They are for the index named by index.name.
    """
    sys.stdout.buffer.write(_file(components))
    return 0


@kibana.command(short_help="Install the saved objects in Kibana.")
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    default=_WAIT_SECONDS,
    show_default=True,
    help="How long to wait while Kibana is starting, busy or silent.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def install(components: Components, wait: float, as_json: bool) -> int:
    """Install the saved objects in the Kibana at kibana.url, replacing those of an earlier installation.

    Exit codes: 0 installed, 2 wrong configuration, 3 Kibana can't be reached or refuses.
    """
    from cachesync.kibana.install import install  # noqa: PLC0415  HTTP and Elasticsearch's client are slow to import

    place = components.connections.kibana()
    installed = install(place, _file(components), wait)
    if as_json:
        objects = [each._asdict() for each in installed]
        print_json({"url": place.url, "space": place.space, "objects": objects})
        return 0
    width = max((len(each.title) for each in installed), default=0)
    for each in installed:
        click.echo(f"{each.outcome:12}{each.kind:11}{printable(each.title):{width}}  {printable(each.link)}")
    return 0


def _file(components: Components) -> bytes:
    from cachesync.kibana.content import ndjson, saved_objects  # noqa: PLC0415  as above

    return ndjson(saved_objects(components.config.index.name))

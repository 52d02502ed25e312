"""``cachesync example``: the files that an installation begins with."""

import sys
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, NamedTuple

import click


class _Example(NamedTuple):
    path: str
    """In a checkout, and below ``examples`` in an installed package."""
    about: str


_EXAMPLES: Final = {
    "configuration": _Example("config/cachesync.yml", "the configuration: every key, explained"),
    "constraints": _Example("constraints.txt", "for pip: the versions of libraries that are tested together"),
    "systemd-unit": _Example("deploy/systemd/cachesync.service", "the service as a unit of systemd, hardened"),
    "systemd-configuration": _Example("deploy/systemd/cachesync.yml", "the configuration that the unit uses"),
    "systemd-serve-unit": _Example(
        "deploy/systemd/cachesync-serve@.service", "`cachesync serve` as a unit of systemd, hardened"
    ),
    "systemd-serve-configuration": _Example("deploy/systemd/serve.yml", "the configuration that this unit uses"),
    "nginx": _Example("deploy/nginx/cachesync.conf", "for nginx: `cachesync serve` before the public"),
    "caddy": _Example("deploy/caddy/Caddyfile", "for Caddy: the same"),
    "elasticsearch-key": _Example(
        "deploy/elasticsearch/cachesync-key.json", "for Elasticsearch: the rights of cachesync's API key"
    ),
    "elasticsearch-serve-key": _Example(
        "deploy/elasticsearch/serve-key.json", "for Elasticsearch: the rights of the API key of `cachesync serve`"
    ),
    "kibana-key": _Example(
        "deploy/elasticsearch/kibana-key.json", "for Elasticsearch: the rights of the API key that fills Kibana"
    ),
    "prometheus-scrape": _Example("deploy/prometheus/scrape.yml", "for Prometheus: where metrics are"),
    "prometheus-alerts": _Example("deploy/prometheus/alerts.yml", "for Prometheus: rules for alerts"),
    "grafana-dashboard": _Example("deploy/grafana/cachesync.json", "for Grafana: a dashboard of the service"),
}


@click.command(short_help="Print an example file: configuration, systemd unit, roles, alerts.")
@click.argument("name", required=False, metavar="[NAME]", type=click.Choice(tuple(_EXAMPLES)))
def example(name: str | None) -> int:
    """Print the example file NAME, to be written where it is wanted. Without NAME, list all there are."""
    if name:
        sys.stdout.buffer.write((_folder() / _EXAMPLES[name].path).read_bytes())
        return 0
    width = max(map(len, _EXAMPLES))
    for each, (_, about) in _EXAMPLES.items():
        click.echo(f"{each:{width}}  {about}")
    return 0


def _folder() -> Traversable:
    """Return where the examples are: in the package, or around it where a checkout is used as it is."""
    installed = files("cachesync") / "examples"
    return installed if installed.is_dir() else Path(__file__).parents[3]

"""``cachesync example``: print the example files that an installation starts from."""

import sys
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, NamedTuple

import click


class _Example(NamedTuple):
    path: str
    """The path relative to the checkout, or to ``examples`` in an installed package."""
    about: str


_EXAMPLES: Final = {
    "configuration": _Example("config/cachesync.yml", "the configuration, with every key explained"),
    "constraints": _Example("constraints.txt", "pip constraints: library versions that are tested together"),
    "systemd-unit": _Example("deploy/systemd/cachesync.service", "hardened systemd unit of the service"),
    "systemd-configuration": _Example("deploy/systemd/cachesync.yml", "the configuration that this unit uses"),
    "systemd-serve-unit": _Example(
        "deploy/systemd/cachesync-serve@.service", "hardened systemd unit of `cachesync serve`"
    ),
    "systemd-serve-configuration": _Example("deploy/systemd/serve.yml", "the configuration that this unit uses"),
    "nginx": _Example("deploy/nginx/cachesync.conf", "nginx as the public proxy of `cachesync serve`"),
    "caddy": _Example("deploy/caddy/Caddyfile", "Caddy as the public proxy of `cachesync serve`"),
    "elasticsearch-key": _Example(
        "deploy/elasticsearch/cachesync-key.json", "Elasticsearch API key: the privileges that the service needs"
    ),
    "elasticsearch-serve-key": _Example(
        "deploy/elasticsearch/serve-key.json", "Elasticsearch API key: the privileges that `cachesync serve` needs"
    ),
    "kibana-key": _Example(
        "deploy/elasticsearch/kibana-key.json", "Elasticsearch API key: the privileges that `kibana install` needs"
    ),
    "prometheus-scrape": _Example("deploy/prometheus/scrape.yml", "Prometheus scrape configuration"),
    "prometheus-alerts": _Example("deploy/prometheus/alerts.yml", "Prometheus alerting rules"),
    "grafana-dashboard": _Example("deploy/grafana/cachesync.json", "Grafana dashboard of the service"),
}


@click.command(short_help="Print an example file: configuration, systemd unit, roles, alerts.")
@click.argument("name", required=False, metavar="[NAME]", type=click.Choice(tuple(_EXAMPLES)))
def example(name: str | None) -> int:
    """Print the example file NAME to stdout. Without NAME, list all examples."""
    if name:
        sys.stdout.buffer.write((_folder() / _EXAMPLES[name].path).read_bytes())
        return 0
    width = max(map(len, _EXAMPLES))
    for each, (_, about) in _EXAMPLES.items():
        click.echo(f"{each:{width}}  {about}")
    return 0


def _folder() -> Traversable:
    """Return the folder of the examples: inside an installed package, or the root of a checkout."""
    installed = files("cachesync") / "examples"
    return installed if installed.is_dir() else Path(__file__).parents[3]

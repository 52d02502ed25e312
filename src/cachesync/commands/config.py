"""``cachesync config``: print and check the effective configuration."""

import click
import yaml

from cachesync.commands.components import Components
from cachesync.errors import UsageError


@click.command(short_help="Print the effective configuration, without secrets.")
@click.pass_obj
def config(components: Components) -> int:
    """Print the effective configuration: file, environment and defaults combined. Secrets are redacted.

    Exit codes: 0 the configuration is valid, 2 it isn't: every mistake is listed, also in secrets and certificates.
    """
    loaded = components.loaded
    click.echo(f"# from {loaded.file or 'defaults'} and the environment")
    click.echo(yaml.safe_dump(loaded.config.shown(), sort_keys=False), nl=False)
    if mistakes := components.mistakes():
        raise UsageError("\n".join(mistakes))
    return 0

"""``cachesync show``: show one binary in full."""

import click

from cachesync.commands import completion, hits
from cachesync.commands.components import Components
from cachesync.commands.options import server_at, server_option
from cachesync.commands.output import print_json
from cachesync.search.answer import binary_as_object, show_binary


@click.command(short_help="Show one binary: its fields, tags, stacks and how to install it.")
@click.argument("name", metavar="ID|/HASH", shell_complete=completion.hashes)
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def show(components: Components, name: str, server: str | None, as_json: bool) -> int:
    """Show the binary with a document's ID, or the binary whose hash begins with HASH.

    Exit codes: 0 found, 2 there is no such binary, or HASH matches several, which are listed.
    """
    if server is None:
        binary = show_binary(name, components.reader(), components.config.search.mirror_url)
    else:
        binary = server_at(server).show(name)
    if as_json:
        print_json(binary_as_object(binary))
        return 0
    click.echo("\n".join(hits.block({**binary.newest, "tags": binary.tags, "stacks": binary.stacks})))
    return 0

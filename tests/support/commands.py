"""The commands of the command line."""

import click


def commands_of(command: click.Command) -> dict[str, click.Command]:
    """The commands of a group by their names; of another command there are none."""
    if not isinstance(command, click.Group):
        return {}
    context = click.Context(command)
    found = {name: command.get_command(context, name) for name in command.list_commands(context)}
    return {name: each for name, each in found.items() if each}

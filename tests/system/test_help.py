"""`--help` describes every command and option, and shells complete them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cachesync.cli import cachesync
from cachesync.errors import UsageError
from cachesync.search.request import parse_filters
from tests.support.commands import commands_of


def commands(command: click.Command = cachesync, name: str = "cachesync") -> Iterator[tuple[str, click.Command]]:
    """Every command and group with its full name."""
    yield name, command
    for each, below in commands_of(command).items():
        yield from commands(below, f"{name} {each}")


ALL = dict(commands())


def help_of(name: str) -> str:
    shown = CliRunner().invoke(cachesync, [*name.split()[1:], "--help"], prog_name="cachesync", terminal_width=80)
    assert shown.exit_code == 0
    return shown.output


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_has_help(name: str) -> None:
    assert ALL[name].help
    for parameter in ALL[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.opts
        else:
            assert (parameter.metavar or (parameter.name or "").upper()) in help_of(name), parameter.name


@pytest.mark.parametrize("name", [name for name, command in ALL.items() if isinstance(command, click.Group)])
def test_lists_of_commands_do_not_truncate_descriptions(name: str) -> None:
    assert "...\n" not in help_of(name).partition("\nCommands:")[2]


def test_all_fields_are_named() -> None:
    shown = help_of("cachesync search").partition("Fields: ")[2].partition(".")[0]
    with pytest.raises(UsageError) as refused:
        parse_filters(("nope=1",))
    assert " ".join(shown.split()) == str(refused.value).partition("expected one of ")[2]


def test_the_list_of_commands_has_the_short_help_of_each() -> None:
    """The list is a copy, so that it can be printed without importing the commands."""
    listed = help_of("cachesync").partition("Commands:")[2]
    for name, command in commands_of(cachesync).items():
        assert f"{name} {command.get_short_help_str(100)}" in " ".join(listed.split())


@pytest.fixture
def path() -> str:
    """A PATH that contains cachesync."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def completed(words: str, shell: str, path: str) -> list[str]:
    """The completions that a shell receives for the last word, as `TYPE,WORD` or the word."""
    environment = {"PATH": path, "_CACHESYNC_COMPLETE": f"{shell}_complete", "COMP_WORDS": words}
    environment["COMP_CWORD"] = words.rpartition(" ")[2] if shell == "fish" else str(words.count(" "))
    done = subprocess.run(["cachesync"], check=False, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_and_options_are_completed(shell: str, path: str) -> None:
    names = [name for name in commands_of(cachesync) if name.startswith("re")]
    offered = completed("cachesync re", shell, path)
    assert [line for line in offered if any(name in line for name in names)]
    assert "status" not in "".join(offered)
    assert "--filter" in "".join(completed("cachesync search --fi", shell, path))


def in_shell(shell: str, script: str, path: str) -> str:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    environment = {"PATH": path, "HOME": "/nonexistent", "TERM": "dumb"}
    command = [
        shell,
        *(["--no-config"] if shell == "fish" else ["--norc"] if shell == "bash" else ["-f"]),
        "-c",
        script,
    ]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bash_loads_the_completion(path: str) -> None:
    script = (
        'eval "$(_CACHESYNC_COMPLETE=bash_source cachesync)"; complete -p cachesync; '
        'COMP_WORDS=(cachesync rei); COMP_CWORD=1; _cachesync_completion cachesync rei; echo "${COMPREPLY[@]}"'
    )
    registered, offered = in_shell("bash", script, path).splitlines()
    assert registered.endswith("_cachesync_completion cachesync")
    assert offered == "reindex"


def test_zsh_loads_the_completion(path: str) -> None:
    script = (
        "autoload -Uz compinit; compinit -u -D; "
        'eval "$(_CACHESYNC_COMPLETE=zsh_source cachesync)"; echo "${_comps[cachesync]}"'
    )
    assert in_shell("zsh", script, path).strip() == "_cachesync_completion"


def test_fish_loads_the_completion(path: str) -> None:
    script = '_CACHESYNC_COMPLETE=fish_source cachesync | source; complete -C "cachesync rei"'
    assert in_shell("fish", script, path).split()[0] == "reindex"

"""docs/web.md says what is so: its commands print what it shows, and what it names is there."""

import re
import shutil
from pathlib import Path
from typing import Final

import pytest

from cachesync.commands.example import _EXAMPLES
from tests.support.checkout import PROJECT, Checkout
from tests.support.sandbox import Sandbox
from tests.support.service import Serve

DOC: Final = (PROJECT / "docs/web.md").read_text()
BLOCKS: Final = DOC.split("```")[1::2]
BASE_PATH: Final = "/cachesync"


def test_what_it_shows_of_answers_is_what_is_answered(tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("there is no curl")
    checkout = Checkout(tmp_path)
    checkout.fill("pages")
    sandbox = Sandbox(tmp_path)
    sandbox.root.rename(tmp_path / "none")
    (checkout.folder / "pages").rename(sandbox.root)
    sandbox.run("sync")
    shown = "\n".join(block for block in BLOCKS if "\n$ " in block)
    commands = re.findall(r"^\$ (.*)$", shown, re.MULTILINE)
    outputs = [same(text) for text in re.split(r"^\$ .*$", shown, flags=re.MULTILINE)[1:]]
    assert len(commands) > 6
    with Serve(sandbox, CACHESYNC_HTTP__BASE_PATH=BASE_PATH) as site:
        script = "\n".join(f"{command}\necho; echo ---" for command in commands)
        printed = checkout.run(script.replace(f"https://cache.example.org{BASE_PATH}", site.url)).stdout
    assert [same(text) for text in printed.split("---\n")][:-1] == outputs


def same(output: str) -> str:
    """What is printed, without what is another each time."""
    return re.sub(r'"took_ms":[\d.]+', '"took_ms":…', output.strip())


def test_what_it_names_is_there() -> None:
    used = set(re.findall(r"cachesync example ([a-z-]+)", DOC))
    assert used == {
        "nginx", "caddy", "elasticsearch-serve-key", "systemd-serve-unit", "systemd-serve-configuration"
    }  # fmt: skip
    assert used <= _EXAMPLES.keys()
    files = re.findall(r"\]\(([^)#]+)[^)]*\)", DOC)
    assert len(files) > 3
    assert [file for file in files if not (PROJECT / "docs" / file).exists()] == []


def test_files_are_put_where_they_say_that_they_are() -> None:
    put = dict(re.findall(r"cachesync example ([a-z-]+) \| sudo tee (\S+)", DOC))
    assert len(put) == 4
    for name, path in put.items():
        file = PROJECT / _EXAMPLES[name].path
        assert Path(path).name == file.name
        assert name == "systemd-serve-unit" or file.read_text().startswith(f"# {path}: ")
    assert (
        f"-c {put['systemd-serve-configuration']} serve" in (PROJECT / _EXAMPLES["systemd-serve-unit"].path).read_text()
    )


def test_its_limits_are_those_of_the_proxy() -> None:
    nginx = (PROJECT / "deploy/nginx/cachesync.conf").read_text()
    for directive in (
        "rate=20r/s;",
        "burst=60 nodelay;",
        "limit_conn cachesync_connections 50;",
        "limit_conn cachesync_exports 1;",
        "large_client_header_buffers 4 16k;",
        "client_max_body_size 1k;",
        "send_timeout 30s;",
    ):
        assert directive in nginx

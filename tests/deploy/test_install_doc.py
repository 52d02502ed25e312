"""docs/install.md says what is so."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest
import trustme
import yaml

from cachesync import config_loader
from cachesync.cli import cachesync
from cachesync.commands.example import _EXAMPLES
from tests.support.accounts import Security
from tests.support.checkout import PROJECT, Checkout
from tests.support.commands import commands_of
from tests.support.kibana import Kibana

DOC = (PROJECT / "docs/install.md").read_text()
BLOCKS = DOC.split("```")[1::2]
CODE = [*BLOCKS, *re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", DOC, flags=re.DOTALL))]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def section(title: str) -> str:
    return DOC.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_what_it_shows_of_the_first_commands_is_what_they_print(checkout: Checkout) -> None:
    checkout.fill("pages")
    shown = next(block for block in BLOCKS if "$ cachesync sync" in block)
    commands = re.findall(r"^\$ (.*)$", shown, re.MULTILINE)
    outputs = re.split(r"^\$ .*$", shown, flags=re.MULTILINE)[1:]
    printed = checkout.run("\necho ---\n".join(commands)).stdout.split("---\n")
    assert [same(output) for output in printed] == [same(output) for output in outputs]
    assert (checkout.folder / "var/index/spack-specs").is_dir()


def same(output: str) -> str:
    """What is printed, without what is another each time."""
    return re.sub(r"[\d.]+ s$", "… s", output.strip())


def test_a_cluster_is_asked_with_the_key_that_was_made_for_it(checkout: Checkout, tmp_path: Path) -> None:
    """By a stand-in that has API keys, and nothing that they give a right to."""
    if not shutil.which("curl"):
        pytest.skip("there is no curl")
    make, use = (next(block for block in BLOCKS if each in block) for each in ("> api_key", "cachesync status"))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(checkout.folder / "ca.crt")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    with Security(tmp_path / "server.pem") as server:
        make, use = (each.replace("https://elasticsearch.example.org:9200", server.url) for each in (make, use))
        checkout.run(make.replace("ADMIN", "elastic:of-elastic"))
        (key,) = server.active
        assert (checkout.folder / "api_key").read_text() == f"{key}\n"
        assert (checkout.folder / "api_key").stat().st_mode & 0o077 == 0
        for command in ("sync", "status"):
            asked = re.sub(r"^cachesync .*$", "", use, flags=re.MULTILINE) + f"cachesync {command}"
            assert "(403): action is unauthorized" in checkout.run(asked, expect=3).stderr  # else it would be a 401


def test_kibana_is_filled_with_the_key_that_was_made_for_it(checkout: Checkout) -> None:
    (checkout.folder / "kibana_key").write_text("its-key\n")
    command = next(block for block in BLOCKS if "cachesync kibana install" in block)
    with Kibana(api_key="its-key").running() as kibana:
        assert "dashboard" in checkout.run(command.replace("https://kibana.example.org", kibana.url)).stdout


def test_its_commands_are_there() -> None:
    used = {
        match
        for code in CODE
        for match in re.findall(r"(?:^|[\s/|])cachesync (?!cachesync)((?:-c \S+ )?[a-z]+(?: [a-z]+)?)", code)
    }
    names = {re.sub(r"^-c \S+ ", "", each) for each in used}
    for name in names:
        first, _, second = name.partition(" ")
        assert first in commands_of(cachesync), name
        group = commands_of(cachesync)[first]
        assert not isinstance(group, click.Group) or second in commands_of(group), name
    assert {"run", "reindex", "rollback", "status"} <= {name.partition(" ")[0] for name in names}


def test_its_files_are_there() -> None:
    files = {
        match for code in CODE for match in re.findall(r"(?:^|[\s@])(deploy/\S+|constraints\.txt|\.env\.example)", code)
    }
    files |= {f"docs/{link}" for link in re.findall(r"\]\(([^)#]+)[^)]*\)", DOC)}
    assert len(files) > 6
    assert [file for file in files if not (PROJECT / file).exists()] == []


def test_only_compose_needs_a_checkout() -> None:
    """All else that it names is printed by the program, under a name that there is."""
    compose = section("Compose")
    assert re.findall(r"deploy/\S+|\.env\.example", DOC.replace(compose, "")) == []
    used = {name for code in CODE for name in re.findall(r"cachesync example ([a-z-]+)", code)}
    assert used >= {"configuration", "constraints", "systemd-unit", "systemd-configuration", "elasticsearch-key"}
    assert used <= _EXAMPLES.keys()


def test_the_unit_and_its_configuration_are_put_where_it_says(checkout: Checkout) -> None:
    """The commands as they stand, without the rights that they need and below another root."""
    block = next(block for block in BLOCKS if "systemd-unit" in block)
    lines = [line for line in block.splitlines() if "cachesync example" in line]
    for folder in ("etc/cachesync", "etc/systemd/system"):
        (checkout.folder / folder).mkdir(parents=True)
    script = "\n".join(lines).replace("/opt/cachesync/bin/", "").replace("sudo ", "").replace("/etc/", "etc/")
    checkout.run(script)
    for name in ("cachesync/cachesync.yml", "systemd/system/cachesync.service"):
        written = (checkout.folder / "etc" / name).read_text()
        assert written == (PROJECT / "deploy/systemd" / Path(name).name).read_text()


def test_its_services_and_variables_are_those_of_compose() -> None:
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    order = re.findall(r"^\d\. `([a-z-]+)`", section("Compose"), re.MULTILINE)
    assert set(order) <= set(compose["services"])
    asked = {
        word for code in CODE for word in re.findall(r"docker compose (?:exec|restart|build --pull) ([a-z-]+)", code)
    }
    assert asked <= set(compose["services"])
    example = (PROJECT / ".env.example").read_text()
    script = next(block for block in BLOCKS if ".env.example .env" in block)
    assert set(re.findall(r"s[/|]\^([A-Z_]+)=", script)) == set(re.findall(r"^([A-Z_]+)=$", example, re.MULTILINE))


def test_filling_in_the_example_fills_in_all_of_it(tmp_path: Path) -> None:
    """The commands as they stand, without the last, which needs Docker."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl")
    (tmp_path / ".env.example").write_text((PROJECT / ".env.example").read_text())
    script = next(block for block in BLOCKS if ".env.example .env" in block).replace("docker compose up -d --build", "")
    subprocess.run(["sh", "-euc", script], check=True, cwd=tmp_path)
    values = dict(re.findall(r"^([A-Z_]+)=(.*)$", (tmp_path / ".env").read_text(), re.MULTILINE))
    assert values["PAGES"] == "/srv/cache"
    assert len({values["ELASTIC_PASSWORD"], values["KIBANA_PASSWORD"]}) == 2
    assert len(values["ELASTIC_PASSWORD"]) == len(values["KIBANA_PASSWORD"]) == 32
    assert len(values["KIBANA_ENCRYPTION_KEY"]) == 64
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0


def test_what_it_shows_of_the_one_shots_is_what_they_print() -> None:
    shown = [
        line for block in BLOCKS for line in block.splitlines() if line.startswith(("certificates: ", "accounts: "))
    ]
    assert len(shown) == 5
    script = (PROJECT / "deploy/compose/certificates.sh").read_text().replace("$authority_days", "3650")
    script = script.replace("$server_days", "1095")
    accounts = [line for line in shown if line.startswith("accounts: ")]
    assert accounts == [
        "accounts: set the password of kibana_system",
        "accounts: made the API key cachesync",
        "accounts: made the API key cachesync-kibana",
    ], "tests/deploy/test_accounts.py shows that it prints this"
    assert all(f'echo "{line}"' in script for line in shown if line.startswith("certificates: "))


def test_its_variables_are_keys_of_the_configuration() -> None:
    pairs = {match for code in CODE for match in re.findall(r"(CACHESYNC_[A-Z]+__[A-Z_]+)=('[^']*'|\S+)", code)}
    for name, value in pairs:
        config_loader.load(Path(os.devnull), {name: "".join(shlex.split(value))})
    assert len(pairs) > 6

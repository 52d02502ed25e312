"""docker-compose.yml, without an engine: by its schema, by Compose's own library, and by what neither sees."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cachesync import config_loader
from tests.support.compose import NoComposeError, loader, refusal

PROJECT = Path(__file__).parents[2]
FILE = PROJECT / "docker-compose.yml"
EXAMPLE = (PROJECT / ".env.example").read_text()
TEXT = FILE.read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("cachesync:")}
ONE_SHOTS = {"certificates", "accounts", "kibana-objects"}
MUST_HAVES = {
    "PAGES": "/srv/cache",
    "ELASTIC_PASSWORD": "of-elastic",
    "KIBANA_PASSWORD": "of-kibana",
    "KIBANA_ENCRYPTION_KEY": "0123456789abcdef0123456789abcdef",
}
SERVICE = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def environment(**variables: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **variables}


@pytest.fixture(scope="module")
def compose() -> Callable[[Path, dict[str, str]], str]:
    try:
        loader()
    except NoComposeError as reason:
        pytest.skip(f"no Compose: {reason}")
    return refusal


def changed(folder: Path, old: str, new: str) -> Path:
    """The compose file with something else in it."""
    assert old in TEXT
    file = folder / "docker-compose.yml"
    file.write_text(TEXT.replace(old, new, 1))
    return file


def schema(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_its_schema_accepts_it(tmp_path: Path) -> None:
    done = schema(FILE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert schema(changed(tmp_path, "stop_grace_period", "stop_grace_perriod")).returncode == 1


def test_compose_accepts_it_with_the_must_haves(compose: Callable[..., str], tmp_path: Path) -> None:
    assert compose(FILE, environment(**MUST_HAVES)) == ""
    undefined = changed(tmp_path, "accounts: { condition", "acounts: { condition")
    assert 'depends on undefined service "acounts"' in compose(undefined, environment(**MUST_HAVES))


def test_compose_accepts_the_example_once_it_is_filled_in(compose: Callable[..., str], tmp_path: Path) -> None:
    """Also with each line that is commented out."""
    for text in (EXAMPLE, re.sub(r"^#([A-Z_]+=)", r"\1", EXAMPLE, flags=re.MULTILINE)):
        filled = re.sub(
            r"^([A-Z_]+)=$", lambda match: match[0] + MUST_HAVES.get(match[1], ""), text, flags=re.MULTILINE
        )
        (tmp_path / ".env").write_text(filled)
        file = changed(tmp_path, "name: cachesync", "name: cachesync-test")
        assert compose(file, environment()) == ""


@pytest.mark.parametrize("name", MUST_HAVES)
@pytest.mark.parametrize("value", [None, ""], ids=["missing", "empty"])
def test_compose_refuses_a_must_have_that_is_missing(name: str, value: str | None, compose: Callable[..., str]) -> None:
    others = {key: text for key, text in MUST_HAVES.items() if key != name}
    refused = compose(FILE, environment(**others, **({} if value is None else {name: value})))
    assert f"required variable {name} is missing a value: set it in .env" in refused


def test_the_example_has_every_variable_with_its_default_and_says_what_it_is() -> None:
    used = dict(re.findall(r"\$\{([A-Z_]+)(?::-([^}]*))?(?::\?[^}]*)?\}", TEXT))
    lines = EXAMPLE.splitlines()
    documented = {}
    for number, line in enumerate(lines):
        if match := re.fullmatch(r"#?([A-Z_]+)=(.*)", line):
            documented[match[1]] = match[2]
            before = lines[number - 1]
            assert before.startswith("#"), f"{match[1]} isn't explained"
    assert documented == used
    assert {name for name, default in documented.items() if not default} == {*MUST_HAVES, "REINDEX"}
    assert set(re.findall(r"\$\{([A-Z_]+):\?", TEXT)) == set(MUST_HAVES)


def test_no_dollar_is_left_to_chance() -> None:
    """Each is a variable with a default or a must-have, or one for the shell, which is written twice."""
    assert not re.findall(r"\$(?!\{[A-Z_]+:[-?]|\$)", TEXT)


@SERVICE
def test_images_are_pinned(service: dict[str, Any]) -> None:
    assert re.search(r":\$\{(ELASTIC|CACHESYNC)_VERSION:-\d+\.\d+\.\d+(\.dev\d+)?\}$", service["image"])


def test_the_images_version_is_that_of_the_package() -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    assert {service["image"] for service in OURS.values()} == {f"cachesync:${{CACHESYNC_VERSION:-{version}}}"}
    assert [service.get("pull_policy") for service in OURS.values()] == ["never"] * len(OURS)
    assert [name for name, service in SERVICES.items() if "build" in service] == ["cachesync"]


@SERVICE
def test_nobody_has_more_rights_than_needed(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert "docker.sock" not in json.dumps(service)


def test_only_who_gives_a_key_away_may_and_only_it_is_root() -> None:
    assert {name: service["cap_add"] for name, service in SERVICES.items() if "cap_add" in service} == {
        "certificates": ["CHOWN"]
    }
    assert [name for name, service in SERVICES.items() if service.get("user", "").startswith("0")] == ["certificates"]
    assert SERVICES["certificates"]["network_mode"] == "none"
    assert {service["user"] for service in OURS.values()} == {"10001:10001"}


def test_roots_are_read_only_but_those_of_elastics_servers() -> None:
    """They write their keystore and settings beside their programs."""
    assert {name for name, service in SERVICES.items() if not service.get("read_only")} == {"elasticsearch", "kibana"}
    assert {name for name, service in SERVICES.items() if not service.get("init")} == {"elasticsearch", "kibana"}


@SERVICE
def test_each_is_bounded(service: dict[str, Any]) -> None:
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}


def test_one_shots_end_and_the_rest_goes_on() -> None:
    restarts = {name: service["restart"] for name, service in SERVICES.items()}
    assert restarts == {name: "no" if name in ONE_SHOTS else "unless-stopped" for name in SERVICES}


def test_the_service_has_time_to_end() -> None:
    """It takes up to 15 s."""
    assert SERVICES["cachesync"]["stop_grace_period"] == "30s"


def dockerfile_has_a_healthcheck() -> bool:
    return "\nHEALTHCHECK" in (PROJECT / "Dockerfile").read_text()


def test_each_waits_for_what_can_come() -> None:
    for name, service in SERVICES.items():
        for other, dependency in service.get("depends_on", {}).items():
            one_shot = other in ONE_SHOTS
            wanted = "service_completed_successfully" if one_shot else "service_healthy"
            assert dependency["condition"] == wanted, f"{name} on {other}"
            if not one_shot:
                assert "test" in SERVICES[other]["healthcheck"], f"{name} on {other}"
    assert "healthcheck" not in SERVICES["cachesync"], "the image's is used"
    assert dockerfile_has_a_healthcheck()


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z]+_PORT:-(\d+)\}:\1", port) for port in ports)


def test_what_is_mounted_is_there_and_no_folder_is_made_by_mistake() -> None:
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    binds = [volume for volume in volumes if volume["type"] == "bind"]
    assert all(bind["read_only"] and bind["bind"] == {"create_host_path": False} for bind in binds)
    assert {bind["source"] for bind in binds if (PROJECT / bind["source"]).is_dir()} == {
        "./deploy/compose",
        "./deploy/elasticsearch",
    }
    assert {bind["target"] for bind in binds if bind["source"].startswith("${PAGES")} == {"/pages"}
    named = {volume["source"] for volume in volumes if volume["type"] == "volume"}
    assert named == set(COMPOSE["volumes"])


def test_secrets_reach_only_who_needs_them() -> None:
    def mounts(source: str) -> dict[str, bool]:
        return {
            name: bool(volume.get("read_only"))
            for name, service in SERVICES.items()
            for volume in service.get("volumes", [])
            if volume["source"] == source
        }

    assert mounts("tls") == {"certificates": False, "elasticsearch": True}
    assert mounts("keys") == {"accounts": False, "kibana-objects": True, "cachesync": True}
    assert {name for name, service in SERVICES.items() if "ELASTIC_PASSWORD" in service.get("environment", {})} == {
        "elasticsearch",
        "accounts",
    }
    commands = [
        str(service.get(key)) for service in SERVICES.values() for key in ("command", "entrypoint", "healthcheck")
    ]
    assert not [command for command in commands if "PASSWORD" in command or "KEY" in command]


@pytest.mark.parametrize("name", ["cachesync", "kibana-objects"])
def test_our_variables_are_keys_of_the_configuration(name: str) -> None:
    image = dict(re.findall(r"(CACHESYNC_\w+)=(\S+)", (PROJECT / "Dockerfile").read_text()))
    ours = {
        key: re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", value)
        for key, value in SERVICES[name]["environment"].items()
        if key.startswith("CACHESYNC_")
    }
    loaded = config_loader.load(Path(os.devnull), image | ours).config
    assert loaded.pages.root == Path("/pages")
    assert loaded.http.host == "0.0.0.0"
    assert loaded.index.name == "spack-specs"
    targets = {volume["target"] for volume in SERVICES[name]["volumes"]}
    for file in (loaded.index.ca_certs, loaded.index.api_key_file, loaded.kibana.api_key_file):
        assert file is None or str(file.parent) in targets
    if name == "cachesync":
        assert loaded.index.replicas == 0
        assert loaded.schedule.reindex is None

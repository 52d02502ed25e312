"""deploy/compose/accounts.py, as a program, against users and API keys as Elasticsearch has them."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cachesync.config import Config
from cachesync.index.elastic.rights import CLUSTER, WRITING
from deploy.compose.accounts import DEFAULT_NAME, Cluster, RefusedError
from tests.support.accounts import Security
from tests.support.elasticsearch import free_port

PROJECT = Path(__file__).parents[2]
REQUESTS = PROJECT / "deploy/elasticsearch"


@pytest.fixture
def security() -> Iterator[Security]:
    with Security() as server:
        yield server


def variables(url: str, keys: Path) -> dict[str, str]:
    return {
        "ELASTICSEARCH_URL": url,
        "ELASTIC_PASSWORD": "of-elastic",
        "KIBANA_PASSWORD": "of-kibana",
        "INDEX_NAME": "spack-specs",
        "REQUESTS_FOLDER": str(REQUESTS),
        "KEYS_FOLDER": str(keys),
    }


def run(server: Security, keys: Path, expect: int = 0, **others: str) -> str:
    command = [sys.executable, str(PROJECT / "deploy/compose/accounts.py")]
    environment = {"http_proxy": "http://127.0.0.1:9", **variables(server.url, keys), **others}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == expect, said
    assert "Traceback" not in said
    for secret in ("of-elastic", "of-kibana", *server.keys):
        assert secret not in said
    return said


def test_it_makes_what_is_needed(security: Security, tmp_path: Path) -> None:
    said = run(security, tmp_path)
    assert security.users["kibana_system"] == "of-kibana"
    for file, request in (("cachesync", "cachesync-key.json"), ("kibana", "kibana-key.json")):
        key = security.active[(tmp_path / file).read_text()]
        wanted = json.loads((REQUESTS / request).read_text())
        assert {name: key[name] for name in wanted} == wanted
        assert stat.S_IMODE((tmp_path / file).stat().st_mode) == 0o400
    assert sorted(os.listdir(tmp_path)) == ["cachesync", "kibana"]
    assert said.splitlines() == [
        "accounts: set the password of kibana_system",
        "accounts: made the API key cachesync",
        "accounts: made the API key cachesync-kibana",
    ]


def test_the_key_has_the_rights_that_cachesync_asks_for_and_no_others() -> None:
    role = json.loads((REQUESTS / "cachesync-key.json").read_text())["role_descriptors"]["cachesync"]
    assert role == {
        "cluster": list(CLUSTER),
        "indices": [{"names": [DEFAULT_NAME, f"{DEFAULT_NAME}-*"], "privileges": list(WRITING)}],
    }
    assert Config().index.name == DEFAULT_NAME


def test_a_second_time_it_changes_nothing(security: Security, tmp_path: Path) -> None:
    run(security, tmp_path)
    before = {file.name: (file.read_text(), file.stat().st_ino) for file in tmp_path.iterdir()}
    security.changes.clear()
    said = run(security, tmp_path)
    assert security.changes == []
    assert {file.name: (file.read_text(), file.stat().st_ino) for file in tmp_path.iterdir()} == before
    assert said.count(" is kept\n") == 3


def test_a_key_that_is_refused_is_made_anew(security: Security, tmp_path: Path) -> None:
    run(security, tmp_path)
    security.keys[(tmp_path / "cachesync").read_text()]["invalidated"] = True
    kibana = (tmp_path / "kibana").read_text()
    run(security, tmp_path)
    assert security.active[(tmp_path / "cachesync").read_text()]["name"] == "cachesync"
    assert (tmp_path / "kibana").read_text() == kibana


def test_a_key_whose_file_is_lost_is_replaced_and_works_no_more(security: Security, tmp_path: Path) -> None:
    run(security, tmp_path)
    lost = (tmp_path / "cachesync").read_text()
    (tmp_path / "cachesync").unlink()
    assert "docker compose restart cachesync" in run(security, tmp_path)
    assert lost not in security.active
    assert len(security.active) == 2


def test_other_rights_reach_a_key_that_is_there(security: Security, tmp_path: Path) -> None:
    """As after an upgrade that needs others."""
    run(security, tmp_path)
    key = security.active[(tmp_path / "cachesync").read_text()]
    wanted, key["role_descriptors"] = key["role_descriptors"], {}
    assert "cachesync is kept, with other rights than before" in run(security, tmp_path)
    assert key["role_descriptors"] == wanted


def test_rights_are_those_on_the_index_of_this_name(security: Security, tmp_path: Path) -> None:
    run(security, tmp_path, INDEX_NAME="other")
    key: Any = security.active[(tmp_path / "cachesync").read_text()]
    assert key["role_descriptors"]["cachesync"]["indices"][0]["names"] == ["other", "other-*"]


def test_it_waits_for_a_server_that_is_starting(security: Security, tmp_path: Path) -> None:
    security.busy = 1
    run(security, tmp_path)
    assert len(security.active) == 2


def test_a_wrong_password_of_elastic_is_told_with_what_to_do(security: Security, tmp_path: Path) -> None:
    said = run(security, tmp_path, expect=1, ELASTIC_PASSWORD="another")
    assert "refuses the password of its user elastic" in said
    assert "elasticsearch-reset-password --url https://localhost:9200 -u elastic -i" in said
    assert security.changes == []


def test_a_password_that_the_server_refuses_is_told_with_its_words(security: Security, tmp_path: Path) -> None:
    said = run(security, tmp_path, expect=1, KIBANA_PASSWORD="short")
    assert "KIBANA_PASSWORD in .env: Elasticsearch says 400, Validation Failed" in said


def test_a_key_of_somebody_else_is_left_alone(security: Security, tmp_path: Path) -> None:
    run(security, tmp_path)
    security.active[(tmp_path / "cachesync").read_text()]["owner"] = "somebody"
    security.changes.clear()
    said = run(security, tmp_path, expect=1)
    assert "to have another made, remove that file): Elasticsearch says 404" in said
    assert security.changes == []


def test_a_variable_that_is_missing_is_named() -> None:
    command = [sys.executable, str(PROJECT / "deploy/compose/accounts.py")]
    done = subprocess.run(command, check=False, env={}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "accounts: ELASTICSEARCH_URL is not set\n")


def test_a_folder_that_cannot_be_written_is_named(security: Security, tmp_path: Path) -> None:
    said = run(security, tmp_path / "missing", expect=1)
    assert said.endswith(f"No such file or directory: '{tmp_path}/missing/.cachesync'\n")


def test_a_server_that_never_answers_is_given_up() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(RefusedError, match=f"Elasticsearch at {url} doesn't answer: .*refused"):
        Cluster(url, None, "", patience=0).ask("GET", "/")


def test_no_authority_to_trust_is_told(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"cannot read the authority's certificate .*/ca\.crt"):
        Cluster("https://localhost:1", str(tmp_path / "ca.crt"), "", patience=0)

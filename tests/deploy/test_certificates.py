"""deploy/compose/certificates.sh, with Elastic's own elasticsearch-certutil."""

import datetime as dt
import os
import shutil
import ssl
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.deploy.test_accounts import run as run_accounts
from tests.support import elasticsearch
from tests.support.accounts import Security
from tests.support.elasticsearch import NoServerError

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "deploy/compose/certificates.sh"
DAY = 86_400


class Folders:
    """Two volumes, and the script."""

    def __init__(self, folder: Path, tools: Path, java: Path) -> None:
        self.tls, self.ca = folder / "tls", folder / "ca"
        self.tls.mkdir(exist_ok=True)
        self.ca.mkdir(exist_ok=True)
        self.owner = f"{os.getuid()}:{os.getgid()}"
        self._environment = {"PATH": f"{tools}:{os.environ['PATH']}", "ES_JAVA_HOME": str(java)}

    def run(self, expect: int = 0, **others: str) -> str:
        environment = {
            **self._environment,
            "CLI_JAVA_OPTS": "-XX:TieredStopAtLevel=1",
            "TLS_FOLDER": str(self.tls),
            "CA_FOLDER": str(self.ca),
            "ELASTICSEARCH_OWNER": self.owner,
            **others,
        }
        done = subprocess.run([SCRIPT], check=False, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    def files(self) -> dict[str, tuple[bytes, int]]:
        return {path.name: (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) for path in self.tls.iterdir()}

    @property
    def is_trusted(self) -> bool:
        """Whoever trusts the public authority trusts Elasticsearch's certificate."""
        command = ["openssl", "verify", "-CAfile", str(self.ca / "ca.crt"), str(self.tls / "elasticsearch.crt")]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def age(self, name: str, days: int) -> None:
        then = time.time() - days * DAY
        os.utime(self.tls / name, (then, then))


@pytest.fixture(scope="module")
def tools() -> tuple[Path, Path]:
    """The folder of elasticsearch-certutil, and the JDK that it needs."""
    for program in ("unzip", "openssl"):
        if not shutil.which(program):
            pytest.skip(f"there is no {program}")
    try:
        return elasticsearch._distribution() / "bin", elasticsearch._java_home()
    except NoServerError as reason:
        pytest.skip(f"no elasticsearch-certutil: {reason}")


@pytest.fixture(scope="module")
def first(tools: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what a first run makes."""
    folder = tmp_path_factory.mktemp("first")
    said = Folders(folder, *tools).run()
    assert "made an authority that lasts 3650 days" in said
    return folder


@pytest.fixture
def folders(first: Path, tools: tuple[Path, Path], tmp_path: Path) -> Folders:
    """What a first run has made, for one test."""
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    return Folders(tmp_path, *tools)


@pytest.fixture
def empty(tools: tuple[Path, Path], tmp_path: Path) -> Folders:
    """Two new volumes."""
    return Folders(tmp_path, *tools)


def lifetime(file: Path) -> dt.timedelta:
    names = subprocess.run(
        ["openssl", "x509", "-in", file, "-noout", "-dates"], check=True, capture_output=True, text=True
    ).stdout
    start, end = (ssl.cert_time_to_seconds(line.partition("=")[2]) for line in names.splitlines())
    return dt.timedelta(seconds=end - start)


def test_it_makes_what_elasticsearch_serves_and_clients_trust(folders: Folders, tmp_path: Path) -> None:
    """Told by a server that has the certificate, and by the very client that comes next in Compose."""
    modes = {name: mode for name, (_, mode) in folders.files().items()}
    assert modes == {"ca.crt": 0o444, "ca.key": 0o400, "elasticsearch.crt": 0o444, "elasticsearch.key": 0o400}
    assert os.listdir(folders.ca) == ["ca.crt"]
    assert stat.S_IMODE((folders.ca / "ca.crt").stat().st_mode) == 0o444
    keys = tmp_path / "keys"
    keys.mkdir()
    with Security(folders.tls / "elasticsearch.crt", folders.tls / "elasticsearch.key") as server:
        run_accounts(server, keys, ELASTICSEARCH_CA=str(folders.ca / "ca.crt"))
        by_address = server.url.replace("localhost", "127.0.0.1")
        run_accounts(server, keys, ELASTICSEARCH_CA=str(folders.ca / "ca.crt"), ELASTICSEARCH_URL=by_address)
        assert "no trusted connection" in run_accounts(server, keys, expect=1)
    for name in ("localhost", "elasticsearch"):
        shown = subprocess.run(
            ["openssl", "x509", "-in", folders.tls / "elasticsearch.crt", "-noout", "-checkhost", name],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert "does match" in shown
    assert lifetime(folders.tls / "ca.crt").days in (3649, 3650, 3651)
    assert lifetime(folders.tls / "elasticsearch.crt").days in (1094, 1095, 1096)


def test_a_second_time_it_changes_nothing(folders: Folders) -> None:
    folders.age("elasticsearch.crt", 700)
    before = folders.files()
    said = folders.run()
    assert folders.files() == before
    assert said.splitlines() == [
        "certificates: the authority is kept",
        "certificates: Elasticsearch's certificate is kept",
    ]


def test_a_certificate_that_is_about_to_end_is_made_anew_by_the_same_authority(folders: Folders) -> None:
    before = folders.files()
    folders.age("elasticsearch.crt", 1095 - 350)
    folders.age("ca.crt", 1095)
    folders.run()
    after = folders.files()
    assert {name for name in after if after[name] != before[name]} == {"elasticsearch.crt", "elasticsearch.key"}


def test_an_authority_that_is_about_to_end_takes_its_certificates_with_it(folders: Folders) -> None:
    public = (folders.ca / "ca.crt").read_bytes()
    folders.age("ca.crt", 3650 - 350)
    folders.run()
    assert (folders.ca / "ca.crt").read_bytes() == (folders.tls / "ca.crt").read_bytes() != public
    assert folders.is_trusted


@pytest.mark.parametrize("lost", ["ca.key", "elasticsearch.key"])
def test_what_is_lost_is_made_anew(lost: str, folders: Folders) -> None:
    (folders.tls / lost).unlink()
    (folders.tls / "making.leftover").mkdir()
    folders.run()
    assert len(folders.files()) == 4
    assert folders.is_trusted
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folders.tls / "elasticsearch.crt", folders.tls / "elasticsearch.key")


def test_the_key_is_given_to_elasticsearchs_user(folders: Folders) -> None:
    if os.getuid():
        pytest.skip("only root gives files away")
    folders.owner = "1000:0"
    (folders.tls / "elasticsearch.crt").unlink()
    folders.run()
    assert (folders.tls / "elasticsearch.key").stat().st_uid == 1000
    assert (folders.tls / "ca.key").stat().st_uid == 0


def test_a_tool_that_fails_is_told(empty: Folders, tmp_path: Path) -> None:
    said = empty.run(expect=1, ES_JAVA_HOME=str(tmp_path))
    assert said.rstrip().endswith("certificates: elasticsearch-certutil could not make an authority")
    assert empty.files() == {}


def test_a_folder_that_is_not_there_is_told(folders: Folders, tmp_path: Path) -> None:
    assert f"cannot write to {tmp_path}/missing" in folders.run(expect=1, CA_FOLDER=str(tmp_path / "missing"))

"""The units, as systemd's own tools see it where they are there, and what they don't know of us."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cachesync import config_loader

PROJECT = Path(__file__).parents[2]
UNIT = PROJECT / "deploy/systemd/cachesync.service"
SERVE_UNIT = PROJECT / "deploy/systemd/cachesync-serve@.service"
UNITS = {"run": UNIT, "serve": SERVE_UNIT}
CONFIGS = {"run": PROJECT / "deploy/systemd/cachesync.yml", "serve": PROJECT / "deploy/systemd/serve.yml"}
MOST_EXPOSED = 2.0

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")


def service(unit: Path = UNIT) -> dict[str, str]:
    """The keys of the section; of one that stands several times the last."""
    section = unit.read_text().partition("[Service]\n")[2].partition("\n[")[0]
    return dict(re.findall(r"^(\w+)=(.*)$", section, re.MULTILINE))


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], check=False, capture_output=True, text=True, timeout=60)


def with_a_program(folder: Path, unit: Path, text: str) -> Path:
    """The unit, of a program that is there."""
    changed = folder / unit.name
    assert "ExecStart=/opt/cachesync/bin/cachesync " in text
    changed.write_text(text.replace("/opt/cachesync/bin/cachesync", shutil.which("true") or ""))
    return changed


@needs_systemd
@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_systemd_finds_nothing_wrong(tmp_path: Path, unit: Path) -> None:
    """It exits with 0 on unknown keys, and says so on stderr."""
    done = analyze("verify", with_a_program(tmp_path, unit, unit.read_text()))
    assert (done.returncode, done.stderr) == (0, "")
    wrong = unit.read_text().replace("ProtectClock=", "ProtectClocks=")
    assert "ProtectClocks" in analyze("verify", with_a_program(tmp_path, unit, wrong)).stderr


@needs_systemd
@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_it_is_hardly_exposed(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--no-pager", unit)
    level = re.search(r"Overall exposure level for cachesync\S*\.service: ([\d.]+)", done.stdout)
    assert level, done.stdout + done.stderr
    assert float(level[1]) < MOST_EXPOSED


def test_what_serves_is_no_less_confined() -> None:
    run, serve = service(UNIT), service(SERVE_UNIT)
    of_running = {"ExecStart", "LoadCredential", "TimeoutStartSec", "TimeoutStopSec", "WatchdogSec"}
    of_writing = {"StateDirectory", "StateDirectoryMode", "WorkingDirectory"}
    differing = {key for key in run if serve.get(key) != run[key]}
    assert differing == of_running | of_writing | {"ProtectHome"}
    assert (run["ProtectHome"], serve["ProtectHome"]) == ("read-only", "yes")
    assert serve.keys() - run.keys() == {"Environment"}


def test_one_serves_on_the_port_that_it_is_called_by() -> None:
    name, _, value = service(SERVE_UNIT)["Environment"].partition("=")
    assert value == "%i"
    assert config_loader.load(CONFIGS["serve"], {name: "8082"}).config.http.port == 8082


def test_it_is_started_watched_reloaded_and_ended_as_the_service_wants_it() -> None:
    unit = service()
    assert unit["Type"] == "notify"
    assert unit["NotifyAccess"] == "main"
    assert unit["WatchdogSec"] == "60s"
    assert unit["ExecReload"].startswith("/bin/kill -HUP ")
    assert int(unit["TimeoutStopSec"].removesuffix("s")) > 15, "the service may take 15 s to finish what is in flight"
    assert unit["RestartPreventExitStatus"] == "2"


def test_it_may_do_what_the_service_does() -> None:
    unit = service()
    assert "ProcSubset" not in unit, "/proc/sys and /proc/locks are read"
    assert {"AF_UNIX", "AF_INET", "AF_INET6"} == set(unit["RestrictAddressFamilies"].split())
    assert unit["WorkingDirectory"] == f"%S/{unit['StateDirectory']}"


@pytest.mark.parametrize("command", UNITS)
def test_it_is_handed_the_key_that_its_configuration_names(tmp_path: Path, command: str) -> None:
    unit, file = service(UNITS[command]), CONFIGS[command]
    name, _, path = unit["LoadCredential"].partition(":")
    for environment, folder in (({}, Path(path).parent), ({"CREDENTIALS_DIRECTORY": str(tmp_path)}, tmp_path)):
        loaded = config_loader.load(file, environment).config
        assert loaded.index.api_key_file == folder / name
    assert f"-c {Path(path).parent / file.name} {command}" in unit["ExecStart"]

"""Builds the wheel and the sdist, installs each where nothing else is, and tries it: ``make package``.

A line for each step. It ends with 1 at the first that fails, and says why.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any, Final

from packaging.metadata import Metadata

from examples.pages import write_tree

PROJECT: Final = Path(__file__).parents[1]
CONSTRAINTS: Final = PROJECT / "constraints.txt"
VERSION: Final = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
PICTURES: Final = "docs/pictures/"
LEFT_OUT: Final = (".ci/", ".gitignore", PICTURES)
"""What is in the repository and of no use to who has the sdist."""

EXAMPLES: Final = "cachesync/examples/"
"""Where the wheel has files of the repository that `cachesync example` prints."""

_SECONDS: Final = 60.0


class FailedError(Exception):
    """A step that isn't as it should be; the text says why."""


def check(right: object, why: object) -> None:
    """Fail where something isn't right."""
    if not right:
        raise FailedError(str(why))


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Print what was done, and how long it took."""
    start = time.monotonic()
    yield
    print(f"{time.monotonic() - start:5.1f} s  {what}", flush=True)


class Clean:
    """A place with a Python of its own, an empty home, and no variables."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self._run([sys.executable, "-m", "venv", str(folder / "venv")])

    @property
    def environment(self) -> dict[str, str]:
        """All the variables there are."""
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or "proxy" in name.lower()}
        return {"PATH": f"{self._folder / 'venv/bin'}:/usr/bin:/bin", "HOME": str(self.home), **kept}

    def install(self, package: Path) -> None:
        """Install a wheel or an sdist, with the versions that are tested together."""
        pip = ["python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
        variables = {"PIP_CONSTRAINT": str(CONSTRAINTS), "PIP_CACHE_DIR": str(self._folder.parent / "cache")}
        self._run([*pip, "-c", str(CONSTRAINTS), str(package)], **variables)

    def run(self, *arguments: str | Path, **variables: str) -> str:
        """Run cachesync and return what it prints."""
        return self._run(["cachesync", *map(str, arguments)], **variables)

    def shown(self) -> str:
        """Return what pip tells of cachesync."""
        return self._run(["python", "-m", "pip", "show", "--disable-pip-version-check", "cachesync"])

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start cachesync."""
        program = str(self._folder / "venv/bin/cachesync")
        environment = {**self.environment, **variables}
        return subprocess.Popen([program, *arguments], env=environment, cwd=self.home, stderr=subprocess.DEVNULL)

    def _run(self, command: list[str], **variables: str) -> str:
        environment = {**self.environment, **variables}
        done = subprocess.run(
            command, check=False, env=environment, cwd=self.home, capture_output=True, text=True, timeout=10 * _SECONDS
        )
        check(done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from what is in the sdist."""
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(PROJECT)]
    environment = {**os.environ, "PIP_CONSTRAINT": str(CONSTRAINTS)}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    check(done.returncode == 0, done.stdout + done.stderr)
    return folder / f"cachesync-{VERSION}-py3-none-any.whl", folder / f"cachesync-{VERSION}.tar.gz"


def check_sdist(sdist: Path) -> None:
    """Check that it is the repository: all that is needed to test, build, deploy and read."""
    with tarfile.open(sdist) as archive:
        found = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    tracked = subprocess.run(["git", "ls-files"], check=False, cwd=PROJECT, capture_output=True, text=True)
    if tracked.returncode == 0:
        wanted = {name for name in tracked.stdout.split() if not name.startswith(LEFT_OUT)}
        check(not wanted - found, f"the sdist lacks {sorted(wanted - found)}")
        check(not any(name.startswith(PICTURES) for name in found), "the sdist has pictures")
        more = {name for name in found - wanted if not (PROJECT / name).is_file()} - {"PKG-INFO"}
        check(not more, f"the sdist has {sorted(more)}")
    some = {"LICENSE", "tests/package.py", "docker-compose.yml", "docs/service.md", "examples/packages.txt"}
    check(some <= found, sorted(found))


def check_wheel(wheel: Path) -> None:
    """Check that it is the package and nothing else, and that it says of itself what is so."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        about = f"cachesync-{VERSION}.dist-info"
        metadata = Metadata.from_email(archive.read(f"{about}/METADATA"))
        tags = message_from_bytes(archive.read(f"{about}/WHEEL")).get_all("Tag")
        entry_points = archive.read(f"{about}/entry_points.txt").decode()
    sources = {str(path.relative_to(PROJECT / "src")) for path in (PROJECT / "src").rglob("*") if path.is_file()}
    sources = {name for name in sources if "__pycache__" not in name and ".egg-info" not in name}
    package = {name for name in names if not name.startswith((about, EXAMPLES))}
    check(package == sources, f"the wheel and src differ in {sorted(package ^ sources)}")
    examples = {name.removeprefix(EXAMPLES) for name in names if name.startswith(EXAMPLES)}
    check(all((PROJECT / name).is_file() for name in examples), f"the wheel has examples {sorted(examples)}")
    check("cachesync/py.typed" in names, "the wheel says nothing of its types")
    check(f"{about}/licenses/LICENSE" in names, "the wheel has no licence")
    check(tags == ["py3-none-any"], tags)
    check("cachesync = cachesync.__main__:main" in entry_points, entry_points)
    check((metadata.license, metadata.description_content_type) == ("MIT", "text/markdown"), metadata)
    check(str(metadata.requires_python) == ">=3.11", metadata.requires_python)


def try_commands(place: Clean, root: Path) -> None:
    """Try what a first user tries."""
    check(place.run("--version") == f"cachesync, version {VERSION}\n", "another version")
    place.run("check", root)
    place.run("sync", CACHESYNC_PAGES__ROOT=str(root))
    check("found" in place.run("search", "hdf5"), "nothing was found")
    check("_cachesync_completion" in place.run(_CACHESYNC_COMPLETE="bash_source"), "no completion for bash")
    if "kibana" in place.run("--help"):
        lines = place.run("kibana", "export").splitlines()
        check(len([json.loads(line) for line in lines]) > 1, "no saved objects")


def try_examples(place: Clean, root: Path) -> None:
    """Print each example, and use the configuration among them."""
    names = [line.split()[0] for line in place.run("example").splitlines()]
    check(len(names) > 8, names)
    printed = {place.run("example", name) for name in names}
    files = (*PROJECT.glob("deploy/*/*.*"), PROJECT / "deploy/caddy/Caddyfile", *PROJECT.glob("co*/*.yml"), CONSTRAINTS)
    there = {file.read_text() for file in files}
    check(printed <= there, "an example is no file of the repository")
    configuration = place.home / "cachesync.yml"
    configuration.write_text(place.run("example", "configuration"))
    place.run("-c", configuration, "config", CACHESYNC_PAGES__ROOT=str(root))


def check_shown(place: Clean) -> None:
    """Check what pip tells of the package, and that no version is called released that isn't."""
    shown = place.shown()
    check({"Name: cachesync", f"Version: {VERSION}", "License: MIT"} <= set(shown.splitlines()), shown)
    released = re.findall(r"^## (\d\S*)", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    check(".dev" in VERSION or VERSION in released, f"{VERSION} is in no heading of the changelog")


def try_service(place: Clean, root: Path) -> None:
    """Let the service serve, until it is told to end."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    service = place.start("run", CACHESYNC_PAGES__ROOT=str(root), CACHESYNC_HTTP__PORT=str(port))
    try:
        for path in ("/healthz", "/readyz"):
            _answered(port, path, service)
        service.send_signal(signal.SIGTERM)
        code = service.wait(_SECONDS)
        check(code == 0, f"exit code {code} after SIGTERM")
    finally:
        service.kill()
        service.wait()


def _answered(port: int, path: str, service: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + _SECONDS
    status = None
    while status != 200:
        check(time.monotonic() < deadline, f"{path} says {status}")
        check(service.poll() is None, f"the service ended with {service.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()


def main() -> int:
    """Do all steps and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="cachesync-package-") as name:
        folder = Path(name)
        root = folder / "pages"
        write_tree(root, tag_count=2, package_count=10)
        try:
            with step("built the sdist, and the wheel from it"):
                wheel, sdist = build(folder / "dist")
            with step("the sdist has all of the repository, the wheel all of the package, and its metadata is right"):
                check_sdist(sdist)
                check_wheel(wheel)
            for package in (wheel, sdist):
                kind = "wheel" if package is wheel else "sdist"
                with step(f"installed the {kind} beside nothing"):
                    place = Clean(folder / kind)
                    place.install(package)
                with step(f"{kind}: --version, check, sync, search, completion"):
                    try_commands(place, root)
                with step(f"{kind}: pip show, and every example"):
                    check_shown(place)
                    try_examples(place, root)
                with step(f"{kind}: run serves /healthz and /readyz until SIGTERM"):
                    try_service(place, root)
        except FailedError as error:
            print(f"failed: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

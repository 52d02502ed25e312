"""Who harms an index behind the service's back, on either engine."""

import contextlib
import http.client
import os
import shutil
import subprocess
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from cachesync.errors import CachesyncError
from cachesync.search.request import Request
from tests.hostile import judge
from tests.hostile.judge import Held
from tests.support import elasticsearch
from tests.support.sandbox import Sandbox
from tests.support.service import index_of


class Vandal(Protocol):
    """Does harm to an index, and can look into it."""

    def harm(self, what: str) -> None:
        """Do what nobody takes back, one of ``HARMS``."""

    def hinder(self, what: str) -> bool:
        """Keep everybody from writing, until :meth:`restore`; tell whether that can be done here."""

    def restore(self) -> None:
        """Take hindrances away."""

    def held(self) -> Held | None:
        """What the index holds; None: there is no index."""

    def total(self) -> int | None:
        """How many documents a reader sees; None: he can't read."""

    def leftovers(self) -> list[str]:
        """Name what is in the index's place but shouldn't be."""

    def close(self) -> None:
        """Remove everything."""


HARMLESS: Final = frozenset({"state deleted", "alias moved", "alias removed", "link deleted"})
"""What takes no document away, not of pages either that can't be used now and couldn't give theirs again."""

ALTERED: Final = "documents altered"
"""The one harm that leaves counts as they are, so that only ``verify`` finds it."""


class InElasticsearch:
    """Someone with all rights on the server."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name

    HARMS: Final = (
        "specs deleted",
        "ledger deleted",
        "state deleted",
        "all deleted",
        "alias moved",
        "alias removed",
        "documents deleted",
        "records deleted",
        ALTERED,
    )
    HINDRANCES: Final = ("write", "read_only", "read_only_allow_delete")
    """The blocks that an index can have; the last one is that of a full disk."""

    def harm(self, what: str) -> None:
        match what:
            case "specs deleted":
                self._delete(lambda index: index[len(self._name) + 1 :].isdigit())
            case "ledger deleted":
                self._delete(lambda index: index.startswith(f"{self._name}-pages-"))
            case "state deleted":
                self._delete(lambda index: index == f"{self._name}-state")
            case "all deleted":
                self._delete(lambda _index: True)
            case "alias moved":
                self._move_alias()
            case "alias removed":
                self._remove_alias()
            case "documents deleted":
                self._delete_some(self._name)
            case "records deleted":
                self._delete_some(f"{self._name}-pages")
            case _:
                self._alter_documents()

    def hinder(self, what: str) -> bool:
        self._block({what: True})
        return True

    def restore(self) -> None:
        self._block(dict.fromkeys(self.HINDRANCES))  # at once: while one is there, the others can't be taken away

    def held(self) -> Held | None:
        return judge.in_elasticsearch(self._url, self._name)

    def total(self) -> int | None:
        found = self._ask(f"/{self._name}/_count")
        return found and int(found["count"])

    def leftovers(self) -> list[str]:
        found = self._aliases()
        building = [alias for each in found.values() for alias in each["aliases"] if alias.endswith("-building")]
        generations = {index.rpartition("-")[2] for index in found} - {"state"}
        kept = len(generations) - 1
        return [*building, *([f"{sorted(generations)}"] if kept > 1 else [])]

    def close(self) -> None:
        self.restore()
        elasticsearch.remove(self._url, self._name)

    def _aliases(self) -> dict[str, Any]:
        found: dict[str, Any] = self._ask(f"/{self._name},{self._name}-*/_alias?expand_wildcards=all") or {}
        return found

    def _ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """Ask the server; None: it won't, since what is asked for is gone or blocked, or since it is down."""
        try:
            return elasticsearch.request(f"{self._url}{path}", method, body)
        except urllib.error.HTTPError as error:
            error.close()
        except (OSError, http.client.HTTPException):
            pass
        return None

    def _delete(self, which: Callable[[str], bool]) -> None:
        for index in self._aliases():
            if which(index):
                self._ask(f"/{index}?ignore_unavailable=true", "DELETE")

    def _block(self, blocks: dict[str, bool | None]) -> None:
        path = f"/{self._name},{self._name}-*/_settings?ignore_unavailable=true&expand_wildcards=all"
        self._ask(path, "PUT", {f"index.blocks.{block}": on for block, on in blocks.items()})

    def _move_alias(self) -> None:
        for index, found in self._aliases().items():
            if self._name in found["aliases"]:
                other = f"{self._name}-pages-{index.rpartition('-')[2]}"
                actions = [
                    {"remove": {"index": index, "alias": self._name}},
                    {"add": {"index": other, "alias": self._name}},
                ]
                self._ask("/_aliases", "POST", {"actions": actions})

    def _remove_alias(self) -> None:
        indices = [index for index, found in self._aliases().items() if self._name in found["aliases"]]
        if indices:
            self._ask("/_aliases", "POST", {"actions": [{"remove": {"indices": indices, "alias": self._name}}]})

    def _some(self, alias: str) -> list[tuple[str, str, Any]]:
        """Return index, id and fields of every third document."""
        self._ask(f"/{alias}/_refresh", "POST")
        found = self._ask(f"/{alias}/_search", "POST", {"size": 1_000, "sort": ["page"]})
        hits = found["hits"]["hits"] if found else []
        return [(hit["_index"], hit["_id"].replace("/", "%2F"), hit["_source"]) for hit in hits[::3]]

    def _delete_some(self, alias: str) -> None:
        for index, id, _ in self._some(alias):
            self._ask(f"/{index}/_doc/{id}", "DELETE")

    def _alter_documents(self) -> None:
        for index, id, fields in self._some(self._name):
            self._ask(f"/{index}/_doc/{id}", "PUT", {**fields, "os": "altered"})


def _cut(file: Path) -> None:
    """Put the first half of a file in its place. Cut in place, a file that is mapped ends whoever reads on: SIGBUS.

    Where the disk is full there is no room for it, and the file stays.
    """
    half = file.with_suffix(".half")
    try:
        half.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        half.replace(file)
    except OSError:
        half.unlink(missing_ok=True)


class InFolder:
    """Someone with all rights in the folder of an embedded index."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._place = sandbox.index
        self._folder = sandbox.index / sandbox.name
        self._filler = self._place / "filler"
        self._mounted = _mount(self._place)

    HARMS: Final = ("all deleted", "link deleted", "generation deleted", "meta deleted", "file deleted", "file cut")

    def harm(self, what: str) -> None:
        live = self._live()
        segments = sorted(each for each in live.iterdir() if each.suffix in _SEGMENT) if live and live.is_dir() else []
        match what:
            case "all deleted":
                shutil.rmtree(self._folder, ignore_errors=True)
            case "link deleted":
                (self._folder / "live").unlink(missing_ok=True)
            case "generation deleted" if live:
                shutil.rmtree(live, ignore_errors=True)
            case "meta deleted" if live:
                (live / "meta.json").unlink(missing_ok=True)
            case "file deleted" if segments:
                segments[0].unlink(missing_ok=True)
            case "file cut" if segments:
                _cut(segments[0])

    def hinder(self, what: str) -> bool:  # noqa: ARG002  there is one way
        """Fill the file system that the index is on, if it is one of our own."""
        if not self._mounted:
            return False
        with contextlib.suppress(OSError), self._filler.open("wb") as filler:
            while True:
                filler.write(b"\0" * 65_536)
                filler.flush()
        return True

    def restore(self) -> None:
        self._filler.unlink(missing_ok=True)

    def held(self) -> Held | None:
        return judge.in_folder(self._folder)

    def total(self) -> int | None:
        try:
            return index_of(self._sandbox).reader().search(Request(limit=0)).total
        except CachesyncError:
            return None

    def leftovers(self) -> list[str]:
        live = self._folder / "live"
        generations = [each for each in self._folder.iterdir() if each.is_dir() and each.name[-1].isdigit()]
        building = [str(each) for each in generations if (each / "building").exists()]
        return [*building, *([str(generations)] if len(generations) > 2 or not live.exists() else [])]

    def close(self) -> None:
        if self._mounted:
            subprocess.run(["umount", "--lazy", self._place], check=True)

    def _live(self) -> Path | None:
        with contextlib.suppress(OSError):
            return self._folder / os.readlink(self._folder / "live")
        return None


_SEGMENT: Final = frozenset({".store", ".idx", ".term"})
"""How the names of some files of a segment end."""


def _mount(place: Path) -> bool:
    """Mount a small file system, where we may."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(place)]
    return not subprocess.run(command, check=False, capture_output=True).returncode

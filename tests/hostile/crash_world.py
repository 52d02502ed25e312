"""A small world in which commands are killed: pages that turn into others and back, an index, and what must be so."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from cachesync.index.base import Index, Status
from cachesync.index.engines import open_index
from cachesync.index.server import IndexServer, Layout
from cachesync.pages.pattern import Pattern
from cachesync.sync import apply, full_sync
from cachesync.sync.guard import Guard
from cachesync.sync.scan import Source
from cachesync.sync.verify import verify
from tests.hostile import judge
from tests.hostile.crash import Killer
from tests.hostile.judge import Documents
from tests.support import elasticsearch
from tests.support.pages import entry, page, put
from tests.support.sandbox import Sandbox

_HELD: Final = 4
"""The exit code of a sync that a rollback holds."""

Pages = dict[str, Documents]
"""The documents of each page."""

STATES: Final = [
    ("changes", page(entry("1", os="a"), entry("2"), entry("3")), page(entry("1", os="b"), entry("3"), entry("4"))),
    ("breaks", page(entry("1"), entry("2"), title="breaks"), b"---\nhalf"),
    ("grows", page(entry("1"), title="grows"), page(*map(entry, "123"), title="grows")),
    ("goes", page(entry("1"), title="goes"), None),
    ("comes", None, page(entry("1"), title="comes")),
    ("old-name", page(*map(entry, "12"), title="name"), None),
    ("new-name", None, page(*map(entry, "12"), title="name")),
]
"""What pages are now and will be."""


class World:
    """A tree that turns from one state into another and back, an index of it, and commands that may be killed."""

    def __init__(self, sandbox: Sandbox, killer: Killer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sandbox = sandbox
        self.killer = killer
        self._monkeypatch = monkeypatch
        self._kept = 1
        self._away = sandbox.folder / "other" / "develop"
        self._here = sandbox.root / "_cache" / "develop"
        for package in ("keep", "stay"):
            put(sandbox.root, page(*map(entry, "1234"), title=package, tag="stable"), package, "stable")
        for package, now, then in STATES:
            if then:
                put(sandbox.folder / "then", then, package)
            if now:
                put(sandbox.root, now, package)
        self._away.parent.mkdir()
        (sandbox.folder / "then" / "_cache" / "develop").rename(self._away)
        self.pages: Pages = {}
        self.before: Pages = {}
        """What they were before they last turned."""
        self.note()

    def turn(self) -> None:
        """Let the pages become what they were or will be. Each file stays as it is, so nobody waits until it is old."""
        self.before = self.pages
        swap = self._away.with_name("swap")
        self._here.rename(swap)
        self._away.rename(self._here)
        swap.rename(self._away)
        self.note()

    def note(self) -> None:
        """Tell what the index must hold: of pages that can't be used, what they were before."""
        found = judge.pages(self.sandbox.root)
        self.problems = [path for path, documents in found.items() if documents is None]
        self.pages = {
            path: self.pages.get(path, {}) if documents is None else documents for path, documents in found.items()
        }

    @property
    def code(self) -> int:
        """How a command ends that brings the index into line."""
        return 1 if self.problems else 0

    def keep(self, generations: int) -> None:
        """Keep so many generations beside the live one."""
        self._kept = generations
        self.sandbox.configure(keep_generations=generations)

    def forget(self) -> None:
        """Remove the index."""
        if self.sandbox.is_embedded:
            shutil.rmtree(self.sandbox.index, ignore_errors=True)
        else:
            elasticsearch.remove(self.sandbox.url, self.sandbox.name)
        self.pages = {}
        self.note()

    def held(self) -> judge.Held | None:
        """Read what readers find."""
        if self.sandbox.is_embedded:
            return judge.in_folder(self.sandbox.index / self.sandbox.name)
        return judge.in_elasticsearch(self.sandbox.url, self.sandbox.name)

    @contextlib.contextmanager
    def index(self) -> Iterator[Index]:
        """Open the index as another process would."""
        url = f"embedded:{self.sandbox.index}" if self.sandbox.is_embedded else self.sandbox.url
        index = open_index(IndexServer((url,)), self.sandbox.name, Layout(keep_generations=self._kept), Path)
        with contextlib.closing(index):
            yield index

    def status(self) -> Status:
        """Ask the index who writes, and whether a rollback holds it."""
        with self.index() as index:
            return index.status()

    def generation(self) -> str:
        """Return the name of the live generation."""
        with self.index() as index:
            return index.reader().generation

    # --- what must be so ----------------------------------------------------------------------------------------------

    def is_old_or_new(self, before: Pages | None, *, whole: bool) -> None:
        """Readers find each page as it was or as it becomes; if ``whole``, all pages alike."""
        held = self.held()
        if held is None:
            assert before is None, "there was an index, and there is none"
            return
        found = _by_page(judge.without_keys(held.documents))
        states = [_without_empty(each) for each in (before, self.pages) if each is not None]
        if whole or before is None:
            assert found in states, [judge.differences(flat(each), flat(found)) for each in states]
            return
        pending = {record.page for record in held.records if record.pending}
        for path in {*found, *states[0], *states[1]}:
            there, old, new = (each.get(path, {}) for each in (found, *states))
            if there not in (old, new):
                assert path in pending, (path, judge.differences(old, there), judge.differences(new, there))
                for id in {*there, *old, *new}:
                    assert there.get(id) in (old.get(id), new.get(id)), (path, id, there.get(id))

    def is_new(self) -> None:
        """Readers find the pages as they are, and nothing else is there."""
        held = self.held()
        assert held
        assert not judge.differences(flat(self.pages), judge.without_keys(held.documents))
        assert not [record.page for record in held.records if record.pending]
        assert sorted(record.page for record in held.records if record.problem) == sorted(self.problems)
        assert not self.left_over()
        assert self.status().holder is None

    def left_over(self) -> list[str]:
        """List what no command needs any more."""
        name = self.sandbox.name
        if self.sandbox.is_embedded:
            folder = self.sandbox.index / name
            finished = [each.name for each in folder.glob(f"{name}-*") if each.is_dir()]
            known = {"live", "lock", "held", "notes", "notes/last-reindex", *finished}
            there = [each.relative_to(folder).as_posix() for each in folder.rglob("*")]
            left = [each for each in there if each not in known and not _is_of_tantivy(each)]
            left += [str(each) for each in folder.rglob("*") if each.is_file() and not _is_shared(each)]
        else:
            aliases = self.sandbox.ask("/_alias")
            finished = [each for each in aliases if each.startswith(f"{name}-pages-")]
            specs = {each.replace(f"{name}-pages", name) for each in finished}
            left = sorted(aliases.keys() - {f"{name}-state", *finished, *specs})
            left += [alias for each in aliases.values() for alias in each["aliases"] if "building" in alias]
        return left if len(finished) <= 1 + self._kept else [*left, *finished]

    def sync(self) -> None:
        """The next command does what is to be done."""
        done = self.killer.run("sync")
        assert done.code == self.code, done

    def is_held_or_not(self, before: Documents, after: Documents, *, always: bool) -> None:
        """Readers find the generation before, and syncs are held; or the one after, and they aren't, but ``always`` are."""
        held = self.held()
        assert held
        found = judge.without_keys(held.documents)
        assert found in (before, after), (judge.differences(before, found), judge.differences(after, found))
        is_held = always or found == before
        assert self.status().pinned == is_held
        done = self.killer.run("sync")
        assert done.code == (_HELD if is_held else self.code), done
        now = self.held()
        assert now
        assert judge.without_keys(now.documents) == found

    def reindex(self) -> None:
        """A new generation takes the place of whichever is live, and a rollback would go back to that."""
        live = self.generation()
        done = self.killer.run("reindex")
        assert done.code == self.code, done
        assert self.status().kept[0] == live

    def goes_back_to(self, generations: list[str]) -> None:
        """Rollbacks would go back to these generations."""
        assert self.status().kept == generations[: self._kept]

    def is_at_rest(self) -> None:
        """One more sync reads no page and writes nothing, and document by document all is well."""
        state = self.sandbox.state()
        source = Source(self.sandbox.root, Pattern(("_cache/**/specs.md",)), 1_000_000)
        with self.index() as index:
            with self._monkeypatch.context() as patch, index.writer(5) as writer:
                patch.setattr(apply, "read", _read_nothing)
                full_sync.sync(source, writer, Guard(0.5), lambda _done, _total: None)
            assert self.sandbox.state() == state
            verdict = verify(source, index.reader(refresh=True), lambda _done, _pages: None)
        assert not verdict.differing, verdict


def _read_nothing(*_: Any) -> NoReturn:
    raise AssertionError("a page is read though nothing has changed")


def _is_of_tantivy(name: str) -> bool:
    """Tell whether a file of a generation is in its place."""
    return name.count("/") == 1 and not name.endswith("/building") and "/.tmp" not in name


def _is_shared(file: Path) -> bool:
    """Tell whether those may read a file whom the umask lets read."""
    umask = os.umask(0)
    os.umask(umask)
    return file.stat().st_mode & 0o444 & ~umask == 0o444 & ~umask


def _by_page(documents: Documents) -> Pages:
    pages: Pages = {}
    for id, document in documents.items():
        pages.setdefault(document["page"], {})[id] = document
    return pages


def _without_empty(pages: Pages) -> Pages:
    return {path: documents for path, documents in pages.items() if documents}


def flat(pages: Pages) -> Documents:
    return {id: document for documents in pages.values() for id, document in documents.items()}

"""A hostile world: pages that are edited without care, a service that is killed, a network and an index that fail.

A deed may be done at any time. At a *quiet point* all that goes wrong has ended, and the index must hold what the pages
say, document by document, by a judge that shares no code with cachesync.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

from tests.hostile import judge
from tests.hostile.judge import Documents, Held
from tests.hostile.tree import Tree
from tests.hostile.vandal import ALTERED, HARMLESS, InElasticsearch, InFolder, Vandal
from tests.hostile.wire import Strike, Weather
from tests.support.sandbox import BLINDFOLD, Sandbox
from tests.support.service import Service, children, until

PATIENCE: Final = 60.0
"""Seconds in which all must be well again once it is quiet; a lease ends after 10, and tries are at most 5 apart."""

_A_WHILE: Final = 0.8
"""Seconds for which what goes wrong lasts at least before it is quiet: the service has looked at all changes by then."""

_STORM_SECONDS: Final = 5.0
"""How long a storm over a reindex lasts: some faults let nothing happen before it is over."""

_FEW: Final = 10

_STRIKE_SECONDS: Final = 3.0

_LEASE_SECONDS: Final = 15
"""How long it may take until another is the holder, at most."""

_CODES: Final = frozenset({0, 1, 2, 3, 4})
"""How a command may end in bad weather: by any code that says why."""

_UNAVAILABLE: Final = 3
"""How a command ends that finds what the service hasn't noticed yet, such as an index that was deleted just now."""


class World:
    """Pages, a service, and what may go wrong between and around them."""

    def __init__(self, url: str | None) -> None:
        """``url`` is that of a real Elasticsearch; None is an embedded index."""
        self._folder = Path(tempfile.mkdtemp(prefix="cachesync-hostile-"))
        self._closing = contextlib.ExitStack()
        self._closing.callback(shutil.rmtree, self._folder, ignore_errors=True)
        name = f"test-{self._folder.name.lower().replace('_', '-')}"
        self.weather = Weather()
        self.sandbox = Sandbox(self._folder, name=name)
        self.vandal: Vandal
        if url:
            self.vandal = InElasticsearch(url, name)
            proxy = self._closing.enter_context(self.weather.before(url).running())
            self.sandbox.url = proxy.url
            self.sandbox.configure()
        else:
            self.vandal = InFolder(self.sandbox)
        self._closing.callback(self.vandal.close)
        self.tree = Tree(self.sandbox.root)
        self._replaced: list[Service] = []
        self._commands: list[tuple[str, subprocess.Popen[str]]] = []
        self._hindered = False
        self._harms: set[str] = set()
        """What was done to the index since the last quiet point."""
        self._altered = False
        """Nobody has repaired yet what keeps the counts as they were."""
        self._settled: Documents = {}
        """What there was at the last quiet point."""
        self._service: Service | None = self._start()

    def close(self) -> None:
        """End everything."""
        try:
            for _, command in self._commands:
                command.kill()
                command.communicate()
            for service in [*self._replaced, *([self._service] if self._service else [])]:
                service.kill()
            self.weather.calm()
            self.tree.unlock()
        finally:
            self._closing.close()

    # --- what goes wrong --------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Let what goes wrong last, while the service works."""
        time.sleep(seconds)

    def kill(self, after: float = 0) -> bool:
        """End the service as a crash would, so many seconds from now, if it runs."""
        if not self._service:
            return False
        time.sleep(after)
        self._service.kill()
        self._heard(self._service)
        self._service = None
        return True

    def kill_at_request(self, number: int, before: bool) -> bool:
        """End the service at one of its next requests that write, before or after that one is carried out.

        Tell whether it came to that request.
        """
        if not self._service:
            return False
        service, struck = self._service, threading.Event()

        def deed() -> None:
            os.kill(service.pid, signal.SIGKILL)
            struck.set()

        strike = Strike(number, deed, before=before)
        self.weather.strike(strike)
        self.tree.flood(number)
        if not struck.wait(_STRIKE_SECONDS) and self.weather.withdraw(strike):
            return False
        return struck.wait(_STRIKE_SECONDS) and self.kill()

    def stop(self) -> None:
        """End the service as an operator does, whatever is going on."""
        if self._service:
            code = self._service.stop()
            assert code == 0, self._told(f"ended with {code}")
            self._heard(self._service)
            self._service = None

    def start(self) -> None:
        """Start the service, if there is none."""
        self._service = self._service or self._start()

    def take_over(self, by_crash: bool) -> None:
        """Let another service stand by, and end the first."""
        self.start()
        other = self._start()
        self.kill() if by_crash else self.stop()
        self._service = other

    def freeze(self, seconds: float) -> None:
        """Stop the service's process for a while, as a machine that swaps does."""
        if self._service:
            os.kill(self._service.pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(self._service.pid, signal.SIGCONT)

    def replace_frozen(self) -> bool:
        """Stop the service's process until another has taken over, and let it go on then: two believe to be the one.

        Tell whether that came so: who is stopped keeps the lock on an embedded index, and in bad weather nobody takes over.
        """
        self.start()
        assert self._service
        frozen, other = self._service, self._start()
        self._service = other
        os.kill(frozen.pid, signal.SIGSTOP)
        taken = False
        if not self.sandbox.is_embedded:
            with contextlib.suppress(AssertionError):
                taken = until(lambda: other.status()["role"] == "serving", "a new holder", _LEASE_SECONDS)
            self.tree.flood(1)
        os.kill(frozen.pid, signal.SIGCONT)
        self._replaced.append(frozen)
        return taken

    def kill_watcher(self) -> None:
        """End the process that watches the pages."""
        if self._service:
            for child in children(self._service.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

    def reload(self) -> None:
        """Let the service read its configuration again."""
        if self._service:
            os.kill(self._service.pid, signal.SIGHUP)

    def command(self, *arguments: str) -> None:
        """Start a command beside whatever runs; it is waited for at the next quiet point."""
        started = subprocess.Popen(
            self.sandbox.command(*arguments),
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._commands.append((" ".join(arguments), started))

    def kill_command(self) -> None:
        """End the command that was started last, as a crash would."""
        if self._commands:
            _, last = self._commands.pop()
            last.kill()
            last.communicate()

    def abandon(self, what: str, *, by_crash: bool) -> bool:
        """Ask a frozen service for something and kill the command that asked: nobody means it any more from then on.

        By a crash the service ends too. Tell whether the command had asked by then.
        """
        if not self._service:
            return False
        frozen = self._service
        os.kill(frozen.pid, signal.SIGSTOP)
        self.command(*what.split())
        _, command = self._commands[-1]
        timer = threading.Timer(_STRIKE_SECONDS, command.kill)
        timer.start()
        asked = any("handed to" in line for line in command.stderr or ())
        timer.cancel()
        self.kill_command()
        self.kill() if by_crash else os.kill(frozen.pid, signal.SIGCONT)
        return asked

    def harm(self, what: str) -> None:
        """Harm the index behind the service's back."""
        self._harms.add(what)
        self._altered |= what == ALTERED
        self.vandal.harm(what)

    def hinder(self, what: str) -> bool:
        """Let nobody write, and tell whether that can be done here."""
        self._hindered = True
        return self.vandal.hinder(what)

    # --- what must hold ---------------------------------------------------------------------------------------------

    def quiet(self) -> None:
        """End all that goes wrong, and see that the index becomes what the pages say."""
        if self.weather.is_bad or self._hindered:
            time.sleep(_A_WHILE)
        self.weather.calm()
        self.vandal.restore()
        self._hindered = False
        self.start()
        for name, command in self._commands:
            self._ended(name, command)
        self._commands.clear()
        while self._replaced:
            replaced = self._replaced.pop()
            replaced.kill()
            self._heard(replaced)
        if self.tree.locked:
            self._settles()
            self._run("sync")  # looks at everything, so it finds what can't be read
            self._settles()
            self.tree.unlock()
            self.tree.note()
        self._settled = self._settles()
        self.tree.settle(self._settled)
        self._harms.clear()
        assert self._service
        self._heard(self._service)

    def refill(self, number: int) -> None:
        """Where hardly anything is left to attack, save all pages again."""
        if len(self._settled) < _FEW:
            self.tree.flood(number)
            self.quiet()

    def nothing_is_left_to_do(self) -> None:
        """At a quiet point: look at everything once more. Nothing must be found, and nothing change."""
        done = self.sandbox.run("sync", "--json", expect=None)
        report = json.loads(done.stdout)
        assert report["specs"] == {"added": 0, "updated": 0, "deleted": 0}, report
        assert [report["pages"][each] for each in ("added", "updated", "deleted")] == [0, 0, 0], report
        assert self._settles() == self._settled

    def unmount(self, comes_back: bool) -> None:
        """At a quiet point: let all pages go at once. Nothing is lost until somebody consents."""
        self.tree.unmount()
        self.start()  # as after a restart of the machine, if it was killed
        assert self._service
        service = self._service
        until(lambda: service.status()["held_deletes"]["specs"], "the guard to hold deletes", PATIENCE)
        self.nothing_is_lost()
        self.tree.mount(comes_back)
        self.quiet()

    def nothing_is_lost(self) -> None:
        """Compare what the index holds with the last quiet point."""
        held = self.vandal.held()
        assert held
        assert not (lost := judge.differences(self._settled, held.documents)), lost

    def reindex_watched(self, faults: list[str] | None = None, odds: float = 0, seed: int = 0) -> None:
        """At a quiet point: reindex in bad weather, while readers look. They see all documents at any time."""
        expected = len(self._settled)
        seen: list[int | None] = []
        ended = threading.Event()

        def read() -> None:
            while not ended.wait(0.01):
                seen.append(self.vandal.total())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            self.weather.storm(faults or [], odds, seed)
            self.command("reindex")
            name, command = self._commands.pop()
            with contextlib.suppress(subprocess.TimeoutExpired):
                command.wait(_STORM_SECONDS)
            self.weather.calm()
            self._ended(name, command)
        finally:
            ended.set()
            reader.join()
        assert set(seen) == {expected}, f"readers saw {set(seen)} of {expected} documents"
        self.quiet()

    def _settles(self) -> Documents:
        """Wait until all is well, with an operator who consents to what the guard asks for; return what there is then."""
        assert self._service
        deadline = time.monotonic() + PATIENCE
        while complaint := self._complaint():
            assert time.monotonic() < deadline, self._told(complaint)
            status = self._service.status()
            if status["held_after_rollback"]:
                self._run("reindex", "--allow-mass-delete")
            elif status["held_deletes"]["pages"] or "--allow-mass-delete" in str(status["trouble"]):
                self._run("sync", "--allow-mass-delete")
            elif self._altered and status["in_sync"]:
                self._altered = not self._run("verify", "--repair")
            time.sleep(0.05)
        held = self.vandal.held()
        assert held
        return held.documents

    def _run(self, *arguments: str) -> bool:
        """Run a command as an operator does when all is quiet, and tell whether it could do its work."""
        done = self.sandbox.run(*arguments, expect=None)
        assert done.returncode in (0, 1, _UNAVAILABLE), (arguments, done.returncode, done.stderr)
        return done.returncode != _UNAVAILABLE

    def _complaint(self) -> str:
        """Say what is not as it should be; nothing if all is well."""
        assert self._service
        status = self._service.status()
        if not (status["ready"] and status["in_sync"] and status["watcher"] and status["watcher"]["watching"]):
            return f"not in sync: {status}"
        held = self.vandal.held()
        if held is None:
            return "no index"
        if leftovers := self.vandal.leftovers():
            return f"left over: {leftovers}"
        return self._verdict(held) or ("still altered" if self._altered else "")

    def _verdict(self, held: Held) -> str:
        """Compare what an index holds with the pages; nothing where it is what they say."""
        found = judge.without_keys(held.documents)
        pages = judge.pages(self.tree.root)
        records = {each.page: each for each in held.records}
        seen = {path for path in {*pages, *records} if not self.tree.is_locked(path)}
        usable = {path: documents for path, documents in pages.items() if path in seen and documents is not None}
        expected = {id: each for documents in usable.values() for id, each in documents.items()}
        kept = (pages.keys() - usable.keys()) | (records.keys() - seen)
        wrong = [
            judge.differences(expected, {id: each for id, each in found.items() if each["page"] not in kept}),
            *judge.misordered(held.documents),
            *(f"no record of {path}" for path in seen & pages.keys() - records.keys()),
            *(f"a record of {path}" for path in seen & records.keys() - pages.keys()),
        ]
        for path in kept:
            documents = {id: each for id, each in found.items() if each["page"] == path}
            states = [judge.without_keys(possible) for possible in self.tree.possible.get(path, [{}])]
            if path in records and records[path].pending:  # in a folder that can't be read, so nobody can go on with it
                may_be = all(self._is_of(states, id, each) for id, each in documents.items())
            else:
                may_be = any(self._may_be(documents, state) for state in states)
            if not may_be:
                wrong.append(f"{path} can't be used, and has {sorted(documents)}")
        for record in records.values():
            count = sum(each["page"] == record.page for each in found.values())
            if record.page in seen and (record.pending or record.specs != count):
                wrong.append(f"{record}, but {count} documents")
            if record.page in seen and (record.problem is None) != (record.page in usable):
                wrong.append(f"{record}, but the page is {'usable' if record.page in usable else 'not'}")
        return "; ".join(each for each in wrong if each)

    def _may_be(self, documents: Documents, state: Documents) -> bool:
        """Tell whether documents are those of an earlier state, or what harm has left of them."""
        whole = documents.keys() == state.keys() or bool(self._harms - HARMLESS)
        return whole and all(self._is_of([state], id, each) for id, each in documents.items())

    def _is_of(self, states: list[Documents], id: str, document: dict[str, Any]) -> bool:
        """Tell whether a document is one of some states; of one that was altered nobody knows any more what it was."""
        return any(id in state and (ALTERED in self._harms or state[id] == document) for state in states)

    def _start(self) -> Service:
        blindfold = BLINDFOLD if os.geteuid() == 0 and shutil.which("setpriv") else ()
        return Service(self.sandbox, *blindfold, CACHESYNC_WATCH__RESCAN_INTERVAL="2s")

    def _ended(self, name: str, command: subprocess.Popen[str]) -> None:
        _, errors = command.communicate(timeout=2 * PATIENCE)
        assert command.returncode in _CODES, (name, command.returncode, errors)
        assert "Traceback" not in errors, (name, errors)

    def _heard(self, service: Service) -> None:
        """Make sure that the log of a service has nothing that it never should say."""
        bad = [line for line in service.lines if "Traceback" in str(line) or "defect" in line["message"]]
        assert not bad, bad

    def _told(self, complaint: str) -> str:
        """Say what is wrong, and what went before."""
        assert self._service
        lines = [
            f"{line['log.level']} {line['message']} {line.get('reason', '')}" for line in self._service.lines[-30:]
        ]
        return "\n".join([complaint, *self.weather.seen[-30:], *lines])

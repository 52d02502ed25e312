"""Commands beside a running service, a second service, and the schedule."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from cachesync.service.schedule import LAST_REINDEX, SCHEDULED_SINCE
from examples.pages import write_tree
from tests.support import elasticsearch
from tests.support.elasticsearch import free_port
from tests.support.pages import entry, page, put
from tests.support.sandbox import Sandbox
from tests.support.service import (
    Service,
    ServiceInWaiting,
    Watchdog,
    documents,
    expected_documents,
    index_of,
    until,
)

KILLS = int(os.environ.get("CACHESYNC_TEST_KILLS", "4"))
"""How often a service is killed: some in a usual run, more by hand."""


def content(number: int) -> bytes:
    return page(*(entry(f"h{number}x{spec}" + "a" * 24) for spec in range(3)))


def start(sandbox: Sandbox, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(sandbox.command(*command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def handed(sandbox: Sandbox, *command: str) -> subprocess.Popen[str]:
    """Start a command and wait until it has been handed to the service."""
    running = start(sandbox, *command)
    until(lambda: "handed" in (running.stderr.readline() if running.stderr else ""), "the handing over")
    return running


def ends_within(running: subprocess.Popen[str], seconds: float) -> bool:
    """Wait for the end of a command for so long, and return whether it has ended."""
    try:
        running.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def interrupted(running: subprocess.Popen[str]) -> tuple[str, str]:
    """Press Ctrl-C, and once more after a while: one that comes while Python closes a response is lost [CPython 3.11]."""
    running.send_signal(signal.SIGINT)
    try:
        return running.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGINT)
        return running.communicate(timeout=60)


@pytest.fixture
def tree(sandbox: Sandbox) -> Path:
    write_tree(sandbox.root, 5, 20)
    return sandbox.root


def test_a_sync_is_handed_to_the_service(sandbox: Sandbox, tree: Path) -> None:
    with Service(sandbox) as service:
        service.caught_up()
        put(tree, content(1), "new", "develop")
        report = sandbox.json("sync")
        assert report["pages"]["added"] + report["pages"]["unchanged"] == 101
        assert documents(sandbox) == expected_documents(tree)
        assert service.said("carrying out a command's request")
        shown = sandbox.run("sync")
        assert "handed to the running service" in shown.stderr
        assert shown.stdout.startswith("pages  0 added  0 updated  0 deleted  101 unchanged  0 problems")


def test_a_reindex_is_handed_to_the_service_and_holds_up_no_change(sandbox: Sandbox, tree: Path) -> None:
    with Service(sandbox) as service:
        service.caught_up()
        before = service.status()["generation"]
        for number in range(3):
            running = start(sandbox, "reindex", "--json")
            while not ends_within(running, 0.05):
                put(tree, content(random.randrange(1000)), f"new-{random.randrange(20)}", "develop")
            out, err = running.communicate()
            assert running.returncode == 0, (number, out, err)
        service.converges()
        after = service.status()
        assert (before, after["generation"]) == (f"{sandbox.name}-1", f"{sandbox.name}-4")
        assert after["last_reindex"]
    assert sandbox.run("verify").returncode == 0


def test_a_rollback_beside_the_service_holds_it_until_a_reindex(sandbox: Sandbox, tree: Path) -> None:
    with Service(sandbox) as service:
        service.caught_up()
        sandbox.run("rollback", expect=2)
        sandbox.run("reindex")
        rolled_back = documents(sandbox)
        assert f"{sandbox.name}-1 is live again" in sandbox.run("rollback").stdout
        put(tree, content(1), "new", "develop")
        sandbox.run("sync", expect=4)
        status = service.status()
        assert (status["held_after_rollback"], status["generation"]) == (True, f"{sandbox.name}-1")
        assert "rollback" in str(service.get("/readyz")[1]["degraded"])
        assert documents(sandbox) == rolled_back
        sandbox.run("reindex")
        service.converges()
        assert not service.status()["held_after_rollback"]
    with Service(sandbox) as service:
        service.caught_up()
        sandbox.run("rollback")
        before = service.status()
    with Service(sandbox) as service:  # it knows when it comes back, too
        until(lambda: service.status()["held_after_rollback"], "the hold")
        status = service.status()
        assert [status[key] for key in ("generation", "specs", "pages")] == [
            before[key] for key in ("generation", "specs", "pages")
        ]
        assert status["specs"] == len(documents(sandbox))
        assert service.is_ready()


def test_a_rollback_outlasts_a_reload_but_holds_no_other_index(embedded: Sandbox) -> None:
    write_tree(embedded.root, 3, 5)
    with Service(embedded) as service:
        service.caught_up()
        embedded.run("reindex")
        embedded.run("rollback")
        rolled_back = documents(embedded)
        put(embedded.root, content(1), "new", "develop")
        service.reload()
        until(service.is_ready, "readiness")
        assert service.status()["held_after_rollback"]
        embedded.run("sync", expect=4)
        assert documents(embedded) == rolled_back
        embedded.name = "second"
        embedded.configure()
        service.reload()
        service.converges()
        assert not service.status()["held_after_rollback"]


def test_a_rollback_waits_for_the_reindex_before_it(sandbox: Sandbox, tree: Path) -> None:  # noqa: ARG001  it is there
    with Service(sandbox) as service:
        service.caught_up()
        sandbox.run("reindex")
        service.send(signal.SIGSTOP)  # so both are asked for at the same time
        running = [handed(sandbox, command) for command in ("reindex", "rollback")]
        service.send(signal.SIGCONT)
        ended = [(each.communicate(timeout=60), each.returncode)[1] for each in running]
        assert ended == [0, 0]
        sandbox.run("sync", expect=4)
        status = service.status()
        assert (status["generation"], status["held_after_rollback"]) == (f"{sandbox.name}-2", True)


def test_an_index_that_is_deleted_after_a_rollback_comes_back(embedded: Sandbox) -> None:
    write_tree(embedded.root, 3, 5)
    with Service(embedded) as service:
        service.caught_up()
        embedded.run("reindex")
        embedded.run("rollback")
        shutil.rmtree(embedded.index)
        service.converges()
        assert not service.status()["held_after_rollback"]


def test_commands_are_answered_while_the_root_is_missing(embedded: Sandbox) -> None:
    write_tree(embedded.root, 3, 5)
    with Service(embedded) as service:
        service.caught_up()
        embedded.run("reindex")
        embedded.root.rename(embedded.folder / "away")
        until(lambda: service.status()["trouble"], "the trouble")
        assert "pages.root" in embedded.run("sync", expect=2).stderr
        embedded.run("rollback")
        assert len(service.said("carrying out a command's request")) == 3


def test_a_repair_is_handed_to_the_service(sandbox: Sandbox, tree: Path) -> None:
    with Service(sandbox) as service:
        service.caught_up()
        if not sandbox.is_embedded:
            for id in [id for id in documents(sandbox) if "/hdf5/" in id]:
                place = f"{sandbox.url}/{sandbox.name}-1/_doc/{quote(id, safe='')}"
                elasticsearch.request(f"{place}?refresh=true", "DELETE")
            sandbox.run("verify", expect=1)
        sandbox.run("verify", "--repair", expect=0 if sandbox.is_embedded else 1)
        sandbox.run("verify")
    assert documents(sandbox) == expected_documents(tree)


def test_a_command_outlives_the_service_that_it_was_handed_to(sandbox: Sandbox, tree: Path) -> None:
    with Service(sandbox) as service:
        service.caught_up()
        service.send(signal.SIGSTOP)
        put(tree, content(1), "new", "develop")
        running = handed(sandbox, "sync")
        service.kill()
        out, err = running.communicate(timeout=60)
        assert running.returncode == 0, (out, err)
        assert documents(sandbox) == expected_documents(tree)
        with Service(sandbox) as again:
            again.caught_up()
            assert not again.said("carrying out a command's request")


@pytest.mark.surroundings
def test_a_command_that_is_interrupted_leaves_nothing_behind(sandbox: Sandbox, tree: Path) -> None:
    with Service(sandbox) as service:
        service.caught_up()
        service.send(signal.SIGSTOP)
        put(tree, content(1), "new", "develop")
        running = handed(sandbox, "reindex")
        said = interrupted(running)
        assert running.returncode == 130, said
        service.send(signal.SIGCONT)
        service.converges()
        assert not service.said("carrying out a command's request")


def requests_of(sandbox: Sandbox) -> list[str]:
    """What commands have asked for and the service isn't done with, by the notes that tell of it."""
    return [
        key for key in index_of(sandbox).notes().list_keys() if key.partition("-")[0] in ("request", "sign", "response")
    ]


def test_a_request_ends_with_the_command_that_is_killed(sandbox: Sandbox, tree: Path) -> None:  # noqa: ARG001  it is there
    with Service(sandbox) as service:
        service.caught_up()
        generation = service.status()["generation"]
        service.send(signal.SIGSTOP)
        running = handed(sandbox, "reindex")
        running.kill()
        running.communicate()
        assert requests_of(sandbox)
        service.send(signal.SIGCONT)
        until(lambda: not requests_of(sandbox), "the request to be dropped")
        assert service.said("dropped the request of a command that has ended")
        assert not service.said("carrying out a command's request")
        assert service.status()["generation"] == generation


def test_consent_is_never_older_than_the_command_that_gave_it(sandbox: Sandbox, tree: Path) -> None:
    """A machine that restarts finds the request again, and its pages not mounted yet."""
    with Service(sandbox) as service:
        service.caught_up()
        before = documents(sandbox)
        service.send(signal.SIGSTOP)
        running = handed(sandbox, "sync", "--allow-mass-delete")
        running.kill()
        running.communicate()
        service.kill()
    (tree / "_cache").rename(sandbox.folder / "not-mounted")
    with Service(sandbox) as service:
        until(lambda: not requests_of(sandbox), "the request to be dropped")
        until(lambda: service.status()["held_deletes"]["pages"], "the deletes to be withheld")
        assert documents(sandbox) == before
        (sandbox.folder / "not-mounted").rename(tree / "_cache")
        service.converges()
    assert documents(sandbox) == before


def test_a_missed_reindex_is_made_up_once(sandbox: Sandbox, tree: Path) -> None:  # noqa: ARG001  it is there
    sandbox.run("sync")
    schedule = {"CACHESYNC_SCHEDULE__REINDEX": "0 0 1 1 *", "CACHESYNC_SCHEDULE__TIMEZONE": "Europe/Berlin"}
    index_of(sandbox).notes().put(SCHEDULED_SINCE, b"2020-01-01T00:00:00+00:00 0 0 1 1 * Europe/Berlin")
    with Service(sandbox, **schedule) as service:
        service.caught_up()
        until(lambda: service.status()["last_reindex"], "the reindex")
        status = service.status()
        assert status["generation"] == f"{sandbox.name}-2"
        assert status["last_reindex"] > "2026"
        assert status["next_reindex"].endswith("12-31T23:00:00+00:00") or "12-31T23:00:00" in status["next_reindex"]
    with Service(sandbox, **schedule) as service:
        service.caught_up()
        service.converges()
    assert sandbox.json("status")["generation"] == f"{sandbox.name}-2"


def test_nothing_is_made_up_where_no_schedule_was(sandbox: Sandbox, tree: Path) -> None:  # noqa: ARG001  it is there
    with Service(sandbox, CACHESYNC_SCHEDULE__REINDEX="0 0 1 1 *") as service:
        service.caught_up()
        service.converges()
        until(lambda: service.status()["next_reindex"], "the schedule")
        assert service.status()["generation"] == f"{sandbox.name}-1"


def test_a_schedule_that_comes_with_a_reload_has_missed_nothing(embedded: Sandbox) -> None:
    put(embedded.root, content(1))
    embedded.run("sync")
    index_of(embedded).notes().put(LAST_REINDEX, b"2020-01-01T00:00:00+00:00")
    for expression in ("0 0 1 1 *", "0 0 2 1 *"):
        with Service(embedded) as service:
            service.caught_up()
            configuration = json.loads(embedded.config.read_text())
            embedded.config.write_text(json.dumps({**configuration, "schedule": {"reindex": expression}}))
            service.reload()
            service.caught_up()
            assert until(lambda: service.status()["next_reindex"], "the schedule") > "2026"
            assert service.status()["generation"] == "spack-specs-1"
            assert not service.said("a reindex is due")


def test_a_last_reindex_in_the_future_stops_no_schedule(embedded: Sandbox) -> None:
    """As a clock that was ahead has left it."""
    embedded.run("sync")
    index_of(embedded).notes().put(LAST_REINDEX, b"2999-01-01T00:00:00+00:00")
    with Service(embedded, CACHESYNC_SCHEDULE__REINDEX="0 0 1 1 *") as service:
        service.caught_up()
        assert until(lambda: service.status()["next_reindex"], "the next reindex") < "2999"


def test_the_watchdog_hears_of_a_service_that_stands_by(embedded: Sandbox) -> None:
    with Service(embedded) as first, Watchdog(embedded.folder) as watchdog:
        first.caught_up()
        with Service(embedded, **watchdog.environment) as second:
            until(lambda: second.status()["role"] == "standing by", "the second service to stand by")
            watchdog.hears()


def test_a_second_service_stands_by_and_takes_over(sandbox: Sandbox, tree: Path) -> None:
    with Service(sandbox) as first:
        first.caught_up()
        with Service(sandbox) as second:
            until(lambda: second.status()["role"] == "standing by", "the second service to stand by")
            code, ready = second.get("/readyz")
            assert (code, ready["reason"].split(":")[0]) == (503, "standing by")
            put(tree, content(1), "new", "develop")
            first.converges()
            first.stop()
            put(tree, content(2), "new", "develop")
            second.caught_up()
            second.converges()
    assert sandbox.run("verify").returncode == 0


def test_a_second_service_on_the_same_port_stands_by_without_http(sandbox: Sandbox, tree: Path) -> None:
    port = str(free_port())
    with Service(sandbox, CACHESYNC_HTTP__PORT=port) as first:
        first.caught_up()
        with ServiceInWaiting(sandbox, CACHESYNC_HTTP__PORT=port) as second:
            until(lambda: second.said("waiting for another writer to end"), "the second service to stand by")
            (told,) = second.said("standing by without HTTP")
            assert f"http.port: {port} is taken" in told["error.message"]
            first.stop()
            second.listens()
            second.caught_up()
            assert second.url == first.url
            put(tree, content(2), "new", "develop")
            second.converges()
            assert len(second.said("standing by without HTTP")) == 1


def test_who_has_the_port_cannot_be_told_without_the_index(embedded: Sandbox) -> None:
    embedded.configure(url="http://127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = embedded.run("run", expect=3, CACHESYNC_HTTP__PORT=port).stderr.splitlines()[-2:]
    assert f"http.port: {port} is taken" in told[0]
    assert "is a service of this index: cannot reach Elasticsearch at http://127.0.0.1:1: " in told[1]


def role_of(service: Service) -> str | None:
    """Whether it serves, and is done with catching up, or stands by; neither yet: None."""
    role = str(service.status()["role"])
    return role if role == "standing by" or (role == "serving" and service.is_ready()) else None


@pytest.mark.parametrize("seed", [1])
def test_two_services_of_which_the_holder_is_killed(sandbox: Sandbox, tree: Path, seed: int) -> None:
    random_ = random.Random(seed)
    services = [Service(sandbox), Service(sandbox)]
    for _ in range(2):
        services.sort(
            key=lambda each: (
                until(lambda: role_of(each), lambda: f"a role: {each.status()} {each.lines}") == "standing by"
            )
        )
        for _ in range(20):
            number = random_.randrange(30)
            put(tree, content(random_.randrange(1000)), f"new-{number}", "develop")
            if random_.random() < 0.2:
                (tree / f"_cache/develop/new-{number}/specs.md").unlink()
            if random_.random() < 0.2:  # so that some of the changes are in the index when it is killed, and others not
                until(lambda: services[0].status()["queue"]["paths"] == 0, "the changes to be synced")
        services.pop(0).kill()
        services.append(Service(sandbox))
        put(tree, content(random_.randrange(1000)), "new-0", "develop")
    with services[0], services[1]:
        services[0].converges()
    sandbox.run("verify")


def test_a_service_that_is_killed_at_any_moment_loses_nothing(sandbox: Sandbox, tree: Path) -> None:
    """Pages change all the while, the moments come from a seed."""
    random_ = random.Random(KILLS)
    ended = threading.Event()

    def change() -> None:
        changing = random.Random(1)
        while not ended.wait(changing.random() / 50):
            number = changing.randrange(200)
            file = put(tree, content(changing.randrange(10_000)), f"new-{number}", f"tag-{number % 3}")
            if changing.random() < 0.3:
                file.unlink()
            if changing.random() < 0.02:
                shutil.rmtree(tree / f"_cache/tag-{changing.randrange(3)}", ignore_errors=True)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(KILLS):
            service = Service(sandbox)
            time.sleep(random_.random() * 2.5)  # that moment
            service.kill()
    finally:
        ended.set()
        thread.join()
    with Service(sandbox) as service:
        service.caught_up()
        service.converges()
    assert sandbox.json("verify") | {"pages": 0, "specs": 0} == {
        **dict.fromkeys(("pages", "specs", "missing", "extra", "different", "ledger"), 0),
        "differing": [],
        "documents": [],
        "problems": [],
        "warnings": [],
        "repaired": False,
    }


def test_consent_ends_the_trouble_that_asked_for_it(embedded: Sandbox) -> None:
    """At once, and not with the next rescan."""
    write_tree(embedded.root, 2, 5)
    with Service(embedded, CACHESYNC_WATCH__RESCAN_INTERVAL="1h") as service:
        service.caught_up()
        for tag in (embedded.root / "_cache").iterdir():
            tag.rename(embedded.folder / f"gone-{tag.name}")
        (embedded.index / embedded.name / "live/meta.json").unlink()
        until(lambda: "--allow-mass-delete" in str(service.status()["trouble"]), "the guard to stop it")
        trouble = service.status()["trouble"]
        assert 0 < trouble.find("Is pages.root mounted and complete?") < trouble.find("--allow-mass-delete")
        embedded.run("sync", "--allow-mass-delete")
        assert service.status()["trouble"] is None
        assert service.status()["in_sync"]


def test_a_rollback_ends_the_trouble_with_what_it_goes_back_from(embedded: Sandbox) -> None:
    write_tree(embedded.root, 2, 5)
    with Service(embedded, CACHESYNC_WATCH__RESCAN_INTERVAL="1h") as service:
        service.caught_up()
        embedded.run("reindex")
        for tag in (embedded.root / "_cache").iterdir():
            tag.rename(embedded.folder / f"gone-{tag.name}")
        (embedded.index / embedded.name / "live/meta.json").unlink()
        until(lambda: "--allow-mass-delete" in str(service.status()["trouble"]), "the guard to stop it")
        embedded.run("rollback")
        assert service.status()["held_after_rollback"]
        assert service.status()["trouble"] is None

"""`cachesync run`, from outside: whatever happens to the pages, the index follows."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examples.pages import big_page, write_tree
from tests.support.elasticsearch import free_port
from tests.support.pages import entry, page, put
from tests.support.sandbox import Sandbox
from tests.support.service import Service, Watchdog, documents, until

TAGS, PACKAGES = 6, 20


def cache(root: Path) -> Path:
    return root / "_cache"


def first_tag(root: Path) -> Path:
    return sorted(cache(root).iterdir())[1]


def last_tag(root: Path) -> Path:
    return max(cache(root).iterdir())


def a_page(root: Path) -> Path:
    return sorted(first_tag(root).glob("*/specs.md"))[3]


def other_pages(root: Path) -> list[Path]:
    return sorted(last_tag(root).glob("*/specs.md"))


def content(number: int = 0, specs: int = 3) -> bytes:
    return page(*(entry(f"h{number}x{spec}" + "a" * 24) for spec in range(specs)))


def edited_in_place(root: Path) -> None:
    a_page(root).write_bytes(content())


def saved_atomically(root: Path) -> None:
    fresh = a_page(root).with_name(".fresh")
    fresh.write_bytes(content())
    fresh.replace(a_page(root))


def new_package(root: Path) -> None:
    put(root, content(), "a-new-package", first_tag(root).name)


def new_tag_of_200_pages(root: Path) -> None:
    for number in range(200):
        put(root, content(number), f"package-{number}", "a-new-tag")


def page_deleted(root: Path) -> None:
    a_page(root).unlink()


def package_deleted(root: Path) -> None:
    shutil.rmtree(a_page(root).parent)


def tag_deleted(root: Path) -> None:
    shutil.rmtree(first_tag(root))


def folder_renamed_away_and_back(root: Path) -> None:
    tag = first_tag(root)
    tag.rename(root / "elsewhere")
    (root / "elsewhere").rename(tag)
    a_page(root).write_bytes(content())


def two_folders_swapped(root: Path) -> None:
    one, other = first_tag(root), last_tag(root)
    one.rename(cache(root) / "between")
    other.rename(one)
    (cache(root) / "between").rename(other)
    a_page(root).write_bytes(content(1))
    other_pages(root)[0].write_bytes(content(2))


def tag_renamed_and_then_edited(root: Path) -> None:
    first_tag(root).rename(cache(root) / "renamed")
    min((cache(root) / "renamed").glob("*/specs.md")).write_bytes(content())


def tag_moved_out_and_recreated(root: Path) -> None:
    """And then the one that was moved is changed and deleted, which is no matter of ours."""
    tag = first_tag(root)
    away = root.parent / "away"
    tag.rename(away)
    for package in ("one", "two"):
        put(root, content(), package, tag.name)
    put(root, content(1), "one", tag.name)
    next(away.glob("*/specs.md")).write_bytes(content(9))
    shutil.rmtree(away)
    put(root, content(2), "two", tag.name)


def whole_tag_moved_in(root: Path) -> None:
    away = root.parent / "away"
    for number in range(50):
        put(away, content(number), f"package-{number}", "prepared")
    (away / "_cache/prepared").rename(cache(root) / "prepared")


def slow_write_in_pieces(root: Path) -> None:
    data = content(specs=40)
    with a_page(root).open("wb", buffering=0) as file:
        for start in range(0, len(data), 1000):
            file.write(data[start : start + 1000])
            time.sleep(0.02)  # it is slow


def saved_30_times_in_a_second(root: Path) -> None:
    for number in range(30):
        put(root, content(number), a_page(root).parent.name, first_tag(root).name)
        time.sleep(1 / 30)


def same_size_and_same_mtime(root: Path) -> None:
    file = a_page(root)
    before = file.stat()
    data = file.read_bytes()
    file.write_bytes(data.replace(b"linux", b"lunix"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def old_mtime(root: Path) -> None:
    fresh = a_page(root).with_name(".fresh")
    fresh.write_bytes(content())
    os.utime(fresh, (1_000_000_000, 1_000_000_000))
    fresh.replace(a_page(root))


def burst_of_3000_pages(root: Path) -> None:
    for number in range(3000):
        put(root, content(number, specs=1), f"package-{number % 600}", f"burst-{number // 600}")


def root_moved_and_back(root: Path) -> None:
    root.rename(root.with_name("moved"))
    root.with_name("moved").rename(root)
    a_page(root).write_bytes(content())


def page_that_becomes_a_folder(root: Path) -> None:
    """What it had stays, as with every page that can't be used; then it is gone for good."""
    file = a_page(root)
    file.unlink()
    file.mkdir()
    (file / "inside").write_text("x")
    shutil.rmtree(file)


def page_that_was_a_folder(root: Path) -> None:
    file = a_page(root)
    file.unlink()
    file.mkdir()
    file.rmdir()
    file.write_bytes(content())


def big_page_saved(root: Path) -> None:
    put(root, big_page(count=2000), "py-torch", first_tag(root).name)


DEEDS: list[Callable[[Path], None]] = [
    edited_in_place,
    saved_atomically,
    new_package,
    new_tag_of_200_pages,
    page_deleted,
    package_deleted,
    tag_deleted,
    folder_renamed_away_and_back,
    two_folders_swapped,
    tag_renamed_and_then_edited,
    tag_moved_out_and_recreated,
    whole_tag_moved_in,
    slow_write_in_pieces,
    saved_30_times_in_a_second,
    same_size_and_same_mtime,
    old_mtime,
    burst_of_3000_pages,
    root_moved_and_back,
    page_that_becomes_a_folder,
    page_that_was_a_folder,
    big_page_saved,
]


@pytest.fixture
def tree(sandbox: Sandbox) -> Path:
    write_tree(sandbox.root, TAGS, PACKAGES)
    return sandbox.root


@pytest.fixture
def service(sandbox: Sandbox, tree: Path) -> Iterator[Service]:  # noqa: ARG001  it is there before the service
    """A service that has caught up and that rescans too rarely to find anything by that."""
    with Service(sandbox, CACHESYNC_WATCH__RESCAN_INTERVAL="1h") as running:
        running.caught_up()
        running.converges()
        yield running


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_the_index_follows_whatever_happens_to_the_pages(
    service: Service, tree: Path, deed: Callable[[Path], None]
) -> None:
    deed(tree)
    service.converges()
    status = service.status()
    assert (status["watcher"]["mode"], status["watcher"]["found_by_rescan"]) == ("native", 0)


def test_a_page_that_is_a_folder_is_a_problem_and_keeps_its_documents(service: Service, tree: Path) -> None:
    before = service.status()["specs"]
    file = a_page(tree)
    data = file.read_bytes()
    file.unlink()
    file.mkdir()
    problem = until(lambda: service.status()["problems"], "the problem")
    assert problem[0]["page"] == file.relative_to(tree).as_posix()
    assert problem[0]["message"].startswith("a folder")
    assert service.status()["specs"] == before
    assert (service.is_ready(), service.get("/readyz")[1]["degraded"] != []) == (True, True)
    file.rmdir()
    file.write_bytes(data)
    until(lambda: not service.status()["problems"], "the problem to end")
    service.converges()


def test_a_broken_page_is_a_problem_until_it_is_mended(service: Service, tree: Path) -> None:
    file = a_page(tree)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    until(lambda: service.status()["problems"], "the problem")
    assert service.metric("cachesync_problems") == 1
    file.write_bytes(data)
    until(lambda: not service.status()["problems"], "the problem to end")
    service.converges()


def test_an_emptied_root_loses_nothing(service: Service, tree: Path) -> None:
    """As an unmounted file system looks; nobody touches a single page."""
    before = service.status()["specs"]
    tree.rename(tree.with_name("unmounted"))
    tree.mkdir()
    status = until(lambda: service.status()["held_deletes"]["pages"] and service.status(), "the guard")
    assert status["held_deletes"] == {"pages": TAGS * PACKAGES, "specs": before}
    assert status["specs"] == before == len(documents(service.sandbox))
    until(lambda: service.said("stopped for safety"), "the log to say so")
    assert len(service.said("stopped for safety")) == 1
    assert service.sandbox.json("status")["held_deletes"] == status["held_deletes"]
    assert "withheld  deletes of 120 pages" in service.sandbox.run("status").stdout
    code, ready = service.get("/readyz")
    assert (code, "are withheld" in str(ready["degraded"])) == (200, True)

    put(tree, content(), "zlib", "new")  # everything else goes on
    until(lambda: service.status()["specs"] == before + 3, "a new page")

    shutil.rmtree(tree)
    tree.with_name("unmounted").rename(tree)
    until(lambda: not service.status()["held_deletes"]["pages"], "the pages to be back")
    service.converges()
    assert len(service.said("nothing is withheld any more")) == 1


@contextlib.contextmanager
def without_a_quiet_moment(page: Path) -> Iterator[None]:
    """Touch a page again and again, so that there always is one that wasn't looked at since."""
    ended = threading.Event()

    def touch() -> None:
        while not ended.wait(0.02):
            os.utime(page)

    touching = threading.Thread(target=touch)
    touching.start()
    try:
        yield
    finally:
        ended.set()
        touching.join()


@pytest.mark.parametrize("command", ["", "sync", "reindex"])
def test_a_tree_that_goes_tag_by_tag_is_stopped_like_one_that_goes_at_once(sandbox: Sandbox, command: str) -> None:
    """Whatever looks at it meanwhile."""
    for tag in range(5):
        for number in range(4):
            put(sandbox.root, content(10 * tag + number), f"package-{number}", f"tag-{tag}")
    watch = {"DEBOUNCE": "1s", "DEBOUNCE_MAX": "60s", "RESCAN_INTERVAL": "1h"}
    with Service(sandbox, **{f"CACHESYNC_WATCH__{key}": value for key, value in watch.items()}) as service:
        service.caught_up()
        before = len(documents(sandbox))
        with without_a_quiet_moment(sandbox.root / "_cache/tag-4/package-0/specs.md"):
            for tag in range(4):
                shutil.rmtree(cache(sandbox.root) / f"tag-{tag}")
                until(lambda: (now := service.status())["specs"] < before or now["held_deletes"]["pages"], "a look")
                if command:
                    sandbox.run(command, expect=None)
            until(lambda: service.status()["held_deletes"]["specs"], "the guard")
            assert len(documents(sandbox)) >= before / 2


def test_what_is_held_back_doesnt_go_piece_by_piece(service: Service, tree: Path) -> None:
    """Folders come back one by one without their pages, and each alone would lose little."""
    before = documents(service.sandbox)
    tags = [each.name for each in cache(tree).iterdir()]
    cache(tree).rename(tree.with_name("away"))
    held = until(lambda: (now := service.status()["held_deletes"])["pages"] and now, "the guard")
    for number, tag in enumerate(tags):
        pages = service.status()["pages"]
        (cache(tree) / tag).mkdir(parents=True)
        put(tree, content(number), "a-new-package", tag)
        until(lambda: service.status()["pages"] != pages, "a new page")  # noqa: B023
        assert service.status()["held_deletes"] == held
    assert documents(service.sandbox).items() >= before.items()


def test_a_tag_that_goes_as_soon_as_it_has_come(service: Service, tree: Path) -> None:
    """What was written isn't found yet then, unless somebody sees to it."""
    pages = service.status()["pages"]
    put(tree, content(), "zlib", "short-lived")
    until(lambda: service.status()["pages"] == pages + 1, "the new page")
    shutil.rmtree(cache(tree) / "short-lived")
    until(lambda: service.status()["pages"] == pages, "its end")
    service.converges()


def test_what_is_held_back_goes_with_consent(service: Service, tree: Path) -> None:
    shutil.rmtree(cache(tree))
    until(lambda: service.status()["held_deletes"]["pages"], "the guard")
    told = [
        service.sandbox.run("sync", expect=4).stderr,
        service.sandbox.run("status").stdout,
        *service.get("/readyz")[1]["degraded"],
        service.said("stopped for safety")[0]["error.message"],
    ]
    for text in told:
        assert 0 <= text.find("Is pages.root mounted and complete?") < text.find("--allow-mass-delete"), text
    assert documents(service.sandbox)
    service.sandbox.run("sync", "--allow-mass-delete")
    assert documents(service.sandbox) == {}
    assert service.status()["held_deletes"] == {"pages": 0, "specs": 0}


def test_a_root_that_is_away_is_waited_for(service: Service, tree: Path) -> None:
    tree.rename(tree.with_name("away"))
    until(lambda: service.status()["trouble"], "the trouble")
    assert "can't continue for now: pages.root: cannot list" in str(service.get("/readyz")[1]["degraded"])
    (tree.with_name("away") / a_page(tree.with_name("away")).relative_to(tree.with_name("away"))).write_bytes(content())
    tree.with_name("away").rename(tree)
    until(lambda: not service.status()["trouble"], "the trouble to end")
    service.converges()


def test_an_index_that_is_gone_is_told_though_the_root_is_away_too(embedded: Sandbox, tmp_path: Path) -> None:
    """Until then searches find what they found before, so it is ready."""
    write_tree(embedded.root, 2, 3)
    with Service(embedded) as service:
        service.caught_up()
        embedded.root.rename(tmp_path / "away")
        until(lambda: service.status()["trouble"], "the trouble")
        assert service.is_ready()
        shutil.rmtree(embedded.index)
        until(lambda: not service.is_ready(), "the index to be missed")
        assert "isn't as it was left" in service.get("/readyz")[1]["reason"]
        assert not service.status()["in_sync"]
        (tmp_path / "away").rename(embedded.root)
        service.converges()
        until(service.is_ready, "readiness")


def test_a_git_checkout_between_two_branches(embedded: Sandbox) -> None:
    root = embedded.root

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)

    git("init", "-q", "-b", "one")
    for number in range(2000):
        put(root, content(number, specs=1), f"package-{number % 500}", f"tag-{number // 500}")
    git("add", ".")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "two")
    for number in range(2000):
        put(root, content(number + 1, specs=1), f"package-{number % 500 + 100}", f"tag-{number // 500 + 1}")
    shutil.rmtree(cache(root) / "tag-0")
    git("add", ".")
    git("commit", "-qm", "two")
    with Service(embedded, CACHESYNC_WATCH__RESCAN_INTERVAL="1h") as service:
        service.caught_up()
        for branch in ("one", "two", "one"):
            git("checkout", "-q", branch)
            service.converges()
        assert service.status()["watcher"]["found_by_rescan"] == 0


def test_a_write_through_a_link_from_outside_is_found_by_the_rescan(sandbox: Sandbox, tree: Path) -> None:
    """Nobody tells of it, so the watcher is known to be blind then."""
    outside = tree.parent / "outside.md"
    os.link(a_page(tree), outside)
    with Service(sandbox, CACHESYNC_WATCH__RESCAN_INTERVAL="1s") as service:
        service.caught_up()
        service.converges()
        outside.write_bytes(content())
        service.converges()
        status = until(lambda: service.status()["watcher"]["blind"] and service.status(), "the blindness to be known")
        assert status["watcher"]["found_by_rescan"] == 1
        assert "rescans have found 1" in str(status["degraded"])
        assert service.metric("cachesync_rescan_found_total") == 1


def test_500_changes_while_it_was_stopped(sandbox: Sandbox) -> None:
    write_tree(sandbox.root, 10, 100)
    with Service(sandbox) as service:
        service.caught_up()
        service.converges()
    pages = sorted(sandbox.root.glob("_cache/*/*/specs.md"))
    for number, file in enumerate(pages[:500]):
        if number % 5 == 0:
            file.unlink()
        else:
            file.write_bytes(content(number))
    with Service(sandbox) as service:
        service.caught_up()
        service.converges()
        assert service.status()["last_pass"]["pages"] == 500


def test_polling_follows_too(sandbox: Sandbox, tree: Path) -> None:
    with Service(sandbox, CACHESYNC_WATCH__MODE="polling", CACHESYNC_WATCH__RESCAN_INTERVAL="1h") as service:
        service.caught_up()
        for deed in (edited_in_place, new_tag_of_200_pages, tag_deleted, tag_renamed_and_then_edited):
            deed(tree)
            service.converges()
        assert service.status()["watcher"]["mode"] == "polling"


def test_too_few_watches_lead_to_polling_and_say_so(embedded: Sandbox) -> None:
    write_tree(embedded.root, 4, 100)
    namespace = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    limited = 'echo 300 > /proc/sys/user/max_inotify_watches && exec "$@"'
    with Service(embedded, *namespace, "sh", "-c", limited, "sh") as service:
        service.caught_up()
        service.converges()
        assert "max_user_watches" in str(service.get("/readyz")[1]["degraded"]) or "max_inotify_watches" in str(
            service.get("/readyz")[1]["degraded"]
        )
        edited_in_place(embedded.root)
        service.converges()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.surroundings
def test_a_signal_ends_it_well(sandbox: Sandbox, tree: Path, number: signal.Signals) -> None:
    with Service(sandbox) as service:
        service.caught_up()
        for count, file in enumerate(sorted(tree.glob("_cache/*/*/specs.md"))):
            file.write_bytes(content(count, specs=30))
        assert service.stop(number) == 0
        assert service.said("stopped")
    sandbox.run("sync")
    assert sandbox.documents() == sandbox.rendered()


def test_an_index_that_may_not_be_read_is_waited_for(embedded: Sandbox) -> None:
    put(embedded.root, content(), "zlib")
    embedded.run("sync")
    generation = embedded.index / "spack-specs/spack-specs-1"
    generation.chmod(0)
    embedded.blindfold()
    with Service(embedded) as service:
        until(lambda: service.said("the index can't be used for now"), "the outage")
        generation.chmod(0o755)
        service.caught_up()


def test_a_signal_ends_it_in_the_middle_of_the_first_catch_up(sandbox: Sandbox) -> None:
    write_tree(sandbox.root, 10, 300)
    with Service(sandbox) as service:
        assert service.stop() == 0
    sandbox.run("sync")
    assert len(sandbox.documents()) == len(sandbox.rendered())


def test_the_configuration_is_read_again(embedded: Sandbox) -> None:
    tree = embedded.root
    write_tree(tree, TAGS, PACKAGES)
    other = tree.with_name("other")
    put(other, content(), "zlib", "other")
    with Service(embedded) as service:
        service.caught_up()
        settings = json.loads(embedded.config.read_text())
        for wrong, why in (
            ({"watch": {"debounce": "soon"}}, "watch.debounce"),
            ({"schedule": {"reindex": "often"}}, "schedule.reindex"),
            ({"index": {"url": "http://127.0.0.1:1", "api_key_file": "nowhere"}}, "nowhere"),
        ):
            embedded.config.write_text(json.dumps({**settings, **wrong}))
            service.send(signal.SIGHUP)
            until(lambda: [each for each in service.said("stays in force") if why in str(each)], "the refusal")  # noqa: B023
        edited_in_place(tree)
        service.converges()
        embedded.config.write_text(
            json.dumps({**settings, "pages": {"root": str(other)}, "safety": {"max_delete_fraction": 1}})
        )
        service.send(signal.SIGHUP)
        until(lambda: service.said("read again"), "the new configuration")
        until(lambda: len(documents(embedded)) == 3, "the other pages")


def test_a_foreign_index_at_a_reload_is_waited_for(embedded: Sandbox) -> None:
    """What has served once isn't ended by that."""
    put(embedded.root, content(), "zlib")
    foreign = embedded.index / "other/precious"
    with Service(embedded) as service:
        service.caught_up()
        foreign.mkdir(parents=True)
        embedded.name = "other"
        embedded.configure()
        service.reload()
        until(lambda: service.said("the index can't be used for now"), "the outage")
        assert foreign.exists()
        foreign.rmdir()
        service.caught_up()
        service.converges()


def test_what_http_says_on_its_port_is_read_again(embedded: Sandbox) -> None:
    settings = json.loads(embedded.config.read_text())
    with Service(embedded, CACHESYNC_HTTP__PORT=str(free_port())) as service:
        service.caught_up()
        embedded.config.write_text(json.dumps({**settings, "http": {"max_lag": "20m"}}))
        service.reload()
        assert service.get("/healthz")[0] == 200
        embedded.config.write_text(json.dumps({**settings, "http": {"base_path": "/below"}}))
        service.reload()
        assert service.get("/below/healthz")[0] == 200


def test_reloads_leave_nothing_open(sandbox: Sandbox, tree: Path) -> None:  # noqa: ARG001  it is there
    reloads = 5
    with Service(sandbox) as service:

        def held() -> int:
            """Files and threads."""
            return sum(len(os.listdir(f"/proc/{service.pid}/{kind}")) for kind in ("fd", "task"))

        def reloaded(times: int) -> None:
            for _ in range(times):
                service.reload()
                service.caught_up()

        service.caught_up()
        reloaded(2)
        before = held()
        reloaded(reloads)
        until(lambda: held() < before + reloads, "what is held no more to be closed")


def test_a_port_that_is_taken_is_a_mistake_of_the_configuration(embedded: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        failed = embedded.run("run", expect=2, CACHESYNC_HTTP__PORT=str(port))
    assert "http.port" in failed.stderr
    assert not embedded.index.exists()


def test_systemd_is_told(embedded: Sandbox) -> None:
    write_tree(embedded.root, TAGS, PACKAGES)
    path = embedded.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(path))
        notified.settimeout(60)
        told = []
        with Service(embedded, NOTIFY_SOCKET=str(path), WATCHDOG_USEC="300000") as service:
            while "READY=1" not in told or "WATCHDOG=1" not in told:
                told.append(notified.recv(1000).decode())
            service.caught_up()
        notified.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                told.append(notified.recv(1000).decode())
    assert told[-1] == "STOPPING=1" or "STOPPING=1" in told


def test_a_tree_that_is_removed_file_by_file_is_stopped_too(service: Service, tree: Path) -> None:
    """And stays so: no rescan, no reindex and no restart takes what is left."""
    before = service.status()["specs"]
    for file in sorted(tree.glob("_cache/*/*/specs.md")):
        file.unlink()
        time.sleep(0.01)  # as slow as that, so it is many passes
    until(lambda: service.status()["queue"]["paths"] == 0 and service.status()["held_deletes"]["pages"], "the guard")
    kept = len(documents(service.sandbox))
    assert before / 2 <= kept < before
    service.sandbox.run("sync", expect=4)
    service.sandbox.run("reindex", expect=4)
    assert len(documents(service.sandbox)) == kept
    service.stop()
    with Service(service.sandbox) as again:
        again.caught_up()
        assert len(documents(again.sandbox)) == kept == again.status()["specs"]
        assert again.status()["held_deletes"]["specs"] == kept
        service.sandbox.run("sync", "--allow-mass-delete")
        assert documents(again.sandbox) == {}


def test_the_watchdog_hears_of_a_service_that_has_nothing_to_do(embedded: Sandbox) -> None:
    with Watchdog(embedded.folder) as watchdog, Service(embedded, **watchdog.environment) as service:
        service.caught_up()
        watchdog.hears()


def shown_on_terminal(embedded: Sandbox, columns: int, is_enough: Callable[[str], bool]) -> str:
    """What `run` prints on a terminal of so many columns, until that is enough, without what steers the terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**os.environ, "CACHESYNC_HTTP__PORT": "0", "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    running = subprocess.Popen(
        embedded.command("run"), env=environment, cwd=embedded.folder, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    printed = b""
    try:
        while not is_enough(text := re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.decode(errors="ignore"))):
            assert select.select([ours], [], [], 60)[0], text
            printed += os.read(ours, 65_536)
    finally:
        running.terminate()
        with contextlib.suppress(OSError):
            while os.read(ours, 65_536):
                pass
        os.close(ours)
        assert running.wait(60) == 0
    return text


@pytest.mark.surroundings
@pytest.mark.parametrize("columns", [200, 80, 50, 20])
def test_the_last_line_on_a_terminal_is_cut_before_its_address(embedded: Sandbox, columns: int) -> None:
    embedded.root.rename(embedded.folder / ("a-long-name-" * 5))
    shown = shown_on_terminal(embedded, columns, lambda text: "waiting" in text.rpartition("\r")[2] or "\rhttp" in text)
    address = re.findall(r"listening url=(\S+)", shown)[0]
    last = shown.replace("\n", "\r").rpartition("\r")[2]
    assert last.endswith(address)
    assert len(last) < max(columns, len(address) + 1)
    assert ("…" in last) == (20 < columns < 200)


@pytest.mark.parametrize("mode", ["native", "polling"])
def test_a_root_without_a_page_is_told_until_the_first_comes(embedded: Sandbox, mode: str) -> None:
    with Service(embedded, CACHESYNC_WATCH__RESCAN_INTERVAL="1h", CACHESYNC_WATCH__MODE=mode).caught_up() as service:
        (sentence,) = service.get("/readyz")[1]["degraded"]
        assert "there is nothing to index: no page in" in sentence
        assert [warning["path"] for warning in service.status()["warnings"]] == ["."]
        assert len(service.said("there is nothing to index")) == 1
        put(embedded.root, content())
        until(lambda: service.get("/readyz")[1]["degraded"] == [], "the end of the warning")
        assert service.status()["warnings"] == []
        service.converges()


def test_a_tag_that_becomes_a_link_and_a_folder_again_is_followed(sandbox: Sandbox) -> None:
    write_tree(sandbox.root, tag_count=TAGS, package_count=PACKAGES)
    tag, elsewhere = first_tag(sandbox.root), sandbox.folder / "elsewhere"
    with Service(sandbox, CACHESYNC_WATCH__RESCAN_INTERVAL="1h").caught_up() as service:
        tag.rename(elsewhere)
        service.converges()  # before there is a link: that one must be noticed by itself
        tag.symlink_to(elsewhere)
        (warning,) = until(lambda: service.status()["warnings"], "the warning")
        assert warning["path"] == f"_cache/{tag.name}"
        assert [line["cachesync.path"] for line in service.said("a symbolic link is not followed")] == [warning["path"]]
        assert service.get("/readyz")[1]["degraded"] == []
        a_page_elsewhere = min(elsewhere.glob("*/specs.md"))
        a_page_elsewhere.write_bytes(content())
        service.converges()
        tag.unlink()
        until(lambda: not service.status()["warnings"], "the end of the warning")
        elsewhere.rename(tag)
        service.converges()
        until(lambda: service.status()["in_sync"], "quiet")
        assert service.status()["held_deletes"]["pages"] == 0

"""`cachesync sync`, from outside: files in, index out."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.pages import big_page, page, write_tree
from tests.support.pages import entry, path_of, put, raw_page
from tests.support.pages import page as small_page
from tests.support.sandbox import Sandbox, unreadable

NOTHING = {"added": 0, "updated": 0, "deleted": 0}


def test_the_index_equals_the_pages(sandbox: Sandbox) -> None:
    pages = write_tree(sandbox.root, tag_count=5, package_count=20)
    report = sandbox.json("sync")
    documents = sandbox.documents()
    assert documents == sandbox.rendered()
    assert report["pages"] == {"added": pages, "updated": 0, "deleted": 0, "unchanged": 0, "problems": 0}
    assert report["specs"] == {"added": len(documents), "updated": 0, "deleted": 0}
    assert {"scan", "plan", "apply"} <= set(report["phases"])
    assert report["seconds"] == pytest.approx(sum(report["phases"].values()), abs=0.01)


def opened_files(sandbox: Sandbox, expect: int = 0) -> list[str]:
    """Run a sync and return every file that its Python code opened."""
    log = sandbox.folder / "opened.json"
    script = (
        "import sys, json; opened = [];"
        "sys.addaudithook(lambda event, values: opened.append(str(values[0])) if event == 'open' else None);"
        "from cachesync.cli import run; code = run();"
        f"open({str(log)!r}, 'w').write(json.dumps(opened)); sys.exit(code)"
    )
    command = [sys.executable, "-c", script, "-c", str(sandbox.config), "sync"]
    done = subprocess.run(command, check=False, capture_output=True, cwd=sandbox.folder, timeout=60)
    assert done.returncode == expect, done.stderr
    found: list[str] = json.loads(log.read_text())
    return found


def test_a_second_sync_reads_no_page_and_writes_nothing(sandbox: Sandbox) -> None:
    pages = write_tree(sandbox.root, tag_count=3, package_count=10)
    put(sandbox.root, b"broken", "broken")
    first = opened_files(sandbox, expect=1)
    assert sum("specs.md" in file for file in first) == pages + 1
    before = sandbox.state()
    second = opened_files(sandbox, expect=1)
    assert [file for file in second if "specs.md" in file] == []
    assert sandbox.state() == before
    report = sandbox.json("sync", expect=1)
    assert report["pages"] == {**NOTHING, "unchanged": pages, "problems": 1}
    assert report["specs"] == NOTHING
    assert sandbox.state() == before


def test_one_spec_added_to_the_biggest_page_is_one_document(sandbox: Sandbox) -> None:
    data = big_page()
    put(sandbox.root, data, "py-torch")
    assert sandbox.json("sync")["specs"]["added"] == 4_663
    details = json.loads(data.decode().split("spec_details: ")[1].rsplit("\n", 1)[0])
    put(sandbox.root, page("py-torch", "develop", [*details, entry("new")]), "py-torch")
    report = sandbox.json("sync")
    assert report["specs"] == {"added": 1, "updated": 0, "deleted": 0}
    assert report["pages"] == {"added": 0, "updated": 1, "deleted": 0, "unchanged": 0, "problems": 0}
    assert sandbox.json("status")["specs"] == 4_664
    assert sandbox.json("search", "--filter", "hash=new")["total"] == 1


def test_deletes_follow(sandbox: Sandbox) -> None:
    for tag in ("a", "b", "c"):
        put(sandbox.root, small_page(entry("1"), entry("2"), tag=tag), tag=tag)
    sandbox.run("sync")
    put(sandbox.root, small_page(entry("2"), tag="a"), tag="a")
    (sandbox.root / path_of(tag="b")).unlink()
    report = sandbox.json("sync")
    assert report["pages"] == {"added": 0, "updated": 1, "deleted": 1, "unchanged": 1, "problems": 0}
    assert report["specs"] == {"added": 0, "updated": 0, "deleted": 3}
    assert sandbox.documents() == sandbox.rendered()


def test_a_page_that_was_only_touched_is_read_but_nothing_is_written_of_it(sandbox: Sandbox) -> None:
    file = put(sandbox.root, small_page(entry()))
    sandbox.run("sync")
    os.utime(file)
    report = sandbox.json("sync")
    assert (report["pages"]["unchanged"], report["specs"]) == (1, NOTHING)
    assert [name for name in opened_files(sandbox) if "specs.md" in name] == []


@pytest.mark.parametrize("how", ["emptied", "a tag gone", "pages shrunk"])
def test_a_mass_loss_needs_consent(sandbox: Sandbox, how: str) -> None:
    for tag in ("a", "b", "c"):
        put(sandbox.root, small_page(*(entry(f"{n}") for n in range(10)), tag=tag), tag=tag)
    sandbox.run("sync")
    kept = sandbox.documents()
    put(sandbox.root, small_page(entry("new")), "other", "d")
    for tag in ("a", "b") if how != "emptied" else ("a", "b", "c"):
        if how == "pages shrunk":
            put(sandbox.root, small_page(entry("1"), tag=tag), tag=tag)
        else:
            (sandbox.root / path_of(tag=tag)).unlink()
    for arguments in (["sync", "--dry-run"], ["sync"], ["sync", "--json"]):
        done = sandbox.run(*arguments, expect=4)
        assert "--allow-mass-delete" in done.stderr
        assert "pages.root mounted" in done.stderr
        assert "kept as before: _cache/a/zlib/specs.md, _cache/b/zlib/specs.md" in done.stderr
    found = sandbox.documents()
    assert {id: found[id] for id in kept} == kept, "nothing is lost"
    assert "d/other/new" in found, "all else is done"
    sandbox.run("sync", "--allow-mass-delete")
    assert sandbox.documents() == sandbox.rendered()
    sandbox.run("sync")


def test_half_of_all_specs_may_go_and_the_limit_can_be_set(sandbox: Sandbox) -> None:
    for tag in ("a", "b"):
        put(sandbox.root, small_page(entry("1"), tag=tag), tag=tag)
    sandbox.run("sync")
    (sandbox.root / path_of(tag="a")).unlink()
    sandbox.run("sync", expect=4, CACHESYNC_SAFETY__MAX_DELETE_FRACTION="0.4")
    sandbox.run("sync")
    assert list(sandbox.documents()) == ["b/zlib/1"]


def test_renaming_and_rewriting_are_no_loss(sandbox: Sandbox) -> None:
    put(sandbox.root, small_page(entry("1"), entry("2"), tag="a"), tag="a")
    put(sandbox.root, small_page(entry("1"), tag="b"), "other", "b")
    sandbox.run("sync")
    (sandbox.root / "_cache/a").rename(sandbox.root / "_cache/renamed")
    put(sandbox.root, small_page(entry("9"), tag="b"), "other", "b")
    report = sandbox.json("sync")
    assert report["lost"] == 0
    assert sandbox.documents() == sandbox.rendered()


def test_staging_folders_and_snapshots_are_no_tags_and_no_packages(sandbox: Sandbox) -> None:
    """As rsync --delay-updates leaves them while it runs, and for good when it is killed."""
    for tag in ("a", "b"):
        put(sandbox.root, small_page(entry("1"), tag=tag), tag=tag)
    cache = sandbox.root / "_cache"
    for name in (".~tmp~", "@eaDir", ".snapshot"):
        shutil.copytree(cache / "a", cache / name)
        shutil.copytree(cache / "a/zlib", cache / "b" / name)
    sandbox.run("sync")
    assert list(sandbox.documents()) == ["a/zlib/1", "b/zlib/1"]
    sandbox.run("sync", CACHESYNC_PAGES__IGNORE="[a]", CACHESYNC_SAFETY__MAX_DELETE_FRACTION="1")
    assert list(sandbox.documents()) == ["@eaDir/zlib/1", "b/@eaDir/1", "b/zlib/1"]


def test_a_folder_that_may_not_be_read_is_no_problem_where_it_is_excluded(embedded: Sandbox) -> None:
    embedded.blindfold()
    for tag in ("a", "private"):
        put(embedded.root, small_page(entry("1"), tag=tag), tag=tag)
    with unreadable(embedded.root / "_cache/private"):
        embedded.run("sync", expect=1)
        for exclude in ("private", "/_cache/private/", "_cache/private/*"):
            embedded.run("sync", CACHESYNC_PAGES__EXCLUDE=exclude)
    assert list(embedded.documents()) == ["a/zlib/1"]


def links(root: Path, folder: Path, elsewhere: Path) -> dict[str, Callable[[], object]]:
    """Ways to put a link in the place of a folder that was moved away."""

    def chain() -> None:
        (elsewhere.parent / "link").symlink_to(elsewhere)
        folder.symlink_to(elsewhere.parent / "link")

    def inside() -> None:
        elsewhere.rename(root / "moved")
        folder.symlink_to(root / "moved")

    return {
        "absolute": lambda: folder.symlink_to(elsewhere),
        "relative": lambda: folder.symlink_to(os.path.relpath(elsewhere, folder.parent)),
        "chain": chain,
        "inside the root": inside,
        "loop": lambda: folder.symlink_to(folder.name),
        "nowhere": lambda: folder.symlink_to("nowhere"),
    }


@pytest.mark.parametrize("how", links(Path(), Path(), Path()))
def test_a_folder_that_becomes_a_link_is_gone_and_one_that_takes_its_place_is_back(embedded: Sandbox, how: str) -> None:
    for tag in ("a", "b", "c"):
        put(embedded.root, small_page(entry("1"), tag=tag), tag=tag)
    embedded.run("sync")
    folder, elsewhere = embedded.root / "_cache/a", embedded.folder / "elsewhere"
    folder.rename(elsewhere)
    links(embedded.root, folder, elsewhere)[how]()
    assert embedded.json("sync")["pages"]["deleted"] == 1
    assert list(embedded.documents()) == ["b/zlib/1", "c/zlib/1"]
    assert embedded.json("status")["in_sync"]
    embedded.run("verify")
    folder.unlink()
    put(embedded.root, small_page(entry("1"), tag="a"), tag="a")
    assert embedded.json("sync")["pages"]["added"] == 1


def test_a_cache_that_becomes_a_link_needs_consent_and_is_warned_of(sandbox: Sandbox) -> None:
    put(sandbox.root, small_page(entry("1")))
    sandbox.run("sync")
    (sandbox.root / "_cache").rename(sandbox.folder / "elsewhere")
    (sandbox.root / "_cache").symlink_to(sandbox.folder / "elsewhere")
    line = "_cache: warning: a symbolic link to a folder, which is not followed"
    for arguments in (["sync", "--dry-run"], ["sync"], ["reindex"]):
        assert line in sandbox.run(*arguments, expect=4).stderr
        (warning,) = sandbox.json(*arguments, expect=4)["warnings"]
        assert line == f"{warning['path']}: warning: {warning['message'].partition(',')[0]}, which is not followed"
    assert list(sandbox.documents()) == ["develop/zlib/1"]
    assert line in sandbox.run("sync", "--allow-mass-delete").stderr
    assert sandbox.documents() == {}
    assert line in sandbox.run("sync").stderr, "for as long as it is so"
    assert line in sandbox.run("verify").stderr
    status = sandbox.run("status").stdout
    assert f"warnings  1\n  {line}" in status
    told = sandbox.json("status")
    assert ([each["path"] for each in told["warnings"]], told["in_sync"], told["problems"]) == (["_cache"], True, [])
    assert line not in sandbox.run("status", CACHESYNC_PAGES__EXCLUDE="_cache").stdout


@pytest.mark.parametrize("case", ["one level too deep", "one level too high", "excluded", "other names", "empty"])
def test_a_root_without_a_page_is_warned_of(embedded: Sandbox, case: str) -> None:
    put(embedded.root, small_page(entry("1")))
    changed: dict[str, str] = {}
    match case:
        case "one level too deep":
            changed["CACHESYNC_PAGES__ROOT"] = f"{embedded.root}/_cache"
        case "one level too high":
            changed["CACHESYNC_PAGES__ROOT"] = str(embedded.root.parent)
        case "excluded":
            changed["CACHESYNC_PAGES__EXCLUDE"] = "develop"
        case "other names":
            changed["CACHESYNC_PAGES__INCLUDE"] = "_cache/**/spec.md"
        case _:
            (embedded.root / "empty").mkdir()
            changed["CACHESYNC_PAGES__ROOT"] = f"{embedded.root}/empty"
    root = changed.get("CACHESYNC_PAGES__ROOT", str(embedded.root))
    line = f".: warning: no page in {root}; expected files that pages.include matches"
    for command in ("sync", "status"):
        printed = embedded.run(command, expect=0, **changed)
        assert line in printed.stdout + printed.stderr
    assert line not in embedded.run("sync").stderr


def test_a_repair_removes_what_is_below_a_link(sandbox: Sandbox) -> None:
    for tag in ("a", "b", "c"):
        put(sandbox.root, small_page(entry("1"), tag=tag), tag=tag)
    sandbox.run("sync")
    (sandbox.root / "_cache/a").rename(sandbox.folder / "elsewhere")
    (sandbox.root / "_cache/a").symlink_to(sandbox.folder / "elsewhere")
    assert "\nrepaired\n" in sandbox.run("verify", "--repair", expect=1).stdout
    sandbox.run("verify")
    assert list(sandbox.documents()) == ["b/zlib/1", "c/zlib/1"]


def test_a_dry_run_tells_and_touches_nothing(sandbox: Sandbox) -> None:
    put(sandbox.root, small_page(entry("1")), "kept")
    put(sandbox.root, small_page(entry("1")), "gone")
    put(sandbox.root, small_page(entry("1"), entry("2")), "changed")
    sandbox.run("sync")
    (sandbox.root / path_of("gone")).unlink()
    put(sandbox.root, small_page(entry("2", os="rhel8"), entry("3")), "changed")
    put(sandbox.root, small_page(entry("1")), "new")
    put(sandbox.root, b"x", "broken")
    before = sandbox.state()
    done = sandbox.run("sync", "--dry-run", expect=1)
    assert done.stdout.splitlines() == [
        "problem  _cache/develop/broken/specs.md  +0 ~0 -0",
        "update   _cache/develop/changed/specs.md  +1 ~1 -1",
        "add      _cache/develop/new/specs.md  +1 ~0 -0",
        "delete   _cache/develop/gone/specs.md  +0 ~0 -1",
        "pages  1 added  1 updated  1 deleted  1 unchanged  1 problem",
        "specs  2 added  1 updated  2 deleted",
        "dry run: nothing was changed",
    ]
    assert sandbox.state() == before
    planned, done_ = sandbox.json("sync", "--dry-run", expect=1), sandbox.json("sync", expect=1)
    assert (planned["pages"], planned["specs"]) == (done_["pages"], done_["specs"])


def test_a_dry_run_without_an_index_makes_none(sandbox: Sandbox) -> None:
    put(sandbox.root, small_page(entry()))
    assert sandbox.json("sync", "--dry-run")["specs"]["added"] == 1
    assert not sandbox.has_index()


def broken_ways(sandbox: Sandbox, file: Path) -> dict[str, object]:
    """A dozen ways to break a page in place."""

    def becomes(data: bytes) -> object:
        return lambda: file.write_bytes(data)

    def link() -> None:
        outside = sandbox.folder / "outside.md"
        outside.write_bytes(small_page(entry("stolen")))
        file.unlink()
        file.symlink_to(outside)

    def folder() -> None:
        file.unlink()
        file.mkdir()

    bomb = "x\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}' if n else 'x'] * 10)}]\n" for n in range(12))
    return {
        "half-written": becomes(small_page(entry("1"), entry("2"))[:-70]),
        "not UTF-8": becomes(small_page(entry("1", os="\u00e9")).replace(b"\\u00e9", b"\xe9")),
        "broken JSON": becomes(raw_page('[{"hash": "1", "versions": ["1"}]')),
        "no hash": becomes(small_page(entry(hash="1"), {"versions": ["1"]})),
        "wrong types": becomes(small_page(entry(versions={"a": "b"}))),
        "alias bomb": becomes(raw_page(bomb)),
        "python tag": becomes(raw_page("!!python/object/apply:os.system ['touch owned']")),
        "NUL bytes": becomes(b"\0" * 4096),
        "100,000 brackets": becomes(raw_page("[" * 100_000)),
        "one hash twice": becomes(small_page(entry("1"), entry("1", os="other"))),
        "an id too long": becomes(small_page(entry("x" * 600))),
        "too large": becomes(small_page(entry("1")) + b" " * 200_000),
        "no front matter": becomes(b"<html></html>"),
        "a link out of the root": link,
        "a folder": folder,
    }


def test_each_broken_page_is_one_problem_and_heals(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHESYNC_PAGES__MAX_BYTES", "150000")
    good = small_page(entry("1"), entry("2"))
    kinds = list(broken_ways(sandbox, Path()))
    files = {kind: put(sandbox.root, good, f"p{number:02}") for number, kind in enumerate(kinds)}
    put(sandbox.root, good, "good")
    sandbox.run("sync")
    whole = sandbox.documents()
    assert len(whole) == 2 * (len(kinds) + 1)
    for kind, file in files.items():
        broken_ways(sandbox, file)[kind]()  # type: ignore[operator]
    report = sandbox.json("sync", expect=1)
    assert report["pages"] == {**NOTHING, "unchanged": 1, "problems": len(kinds)}
    paths = [file.relative_to(sandbox.root).as_posix() for file in files.values()]
    assert [problem["page"] for problem in report["problems"]] == paths
    assert all(20 < len(problem["message"]) < 300 for problem in report["problems"])
    assert sandbox.documents() == whole, "earlier documents stay"
    assert not (sandbox.folder / "owned").exists()

    again = sandbox.run("sync", expect=1)
    assert len([line for line in again.stderr.splitlines() if "specs.md" in line]) == len(kinds), "still told"
    status = sandbox.json("status")
    assert [problem["page"] for problem in sorted(status["problems"], key=lambda each: str(each["page"]))] == paths

    for file in files.values():
        if file.is_dir():
            file.rmdir()
        put(sandbox.root, good + b"\n", file.parent.name)
    report = sandbox.json("sync")
    assert report["specs"] == NOTHING
    assert report["pages"]["updated"] == len(kinds)
    assert sandbox.documents() == whole


def test_a_new_page_that_is_broken_has_no_documents_until_it_is_mended(sandbox: Sandbox) -> None:
    put(sandbox.root, b"---\n")
    sandbox.run("sync", expect=1)
    assert sandbox.documents() == {}
    put(sandbox.root, small_page(entry("1")))
    sandbox.run("sync")
    assert list(sandbox.documents()) == ["develop/zlib/1"]


def test_a_damaged_or_missing_index_is_filled_again(embedded: Sandbox) -> None:
    write_tree(embedded.root, tag_count=2, package_count=10)
    embedded.run("sync")
    whole = embedded.documents()
    live = embedded.index / "spack-specs/live"
    for damage in ("rm -r index", f"truncate -s 100 {live}/*.store", f"rm {live}/*.term", f"echo x > {live}/meta.json"):
        subprocess.run(damage, shell=True, check=True, cwd=embedded.folder)
        assert embedded.run("search", "x", expect=3).stderr.startswith("cachesync: ")
        assert embedded.json("sync")["specs"]["added"] == len(whole), damage
        assert embedded.documents() == whole


def test_a_ledger_that_cannot_be_decoded_is_made_anew(embedded: Sandbox) -> None:
    write_tree(embedded.root, tag_count=1, package_count=10)
    embedded.run("sync")
    whole = embedded.documents()
    for store in (embedded.index / "spack-specs/live").glob("*.store"):
        data = bytearray(store.read_bytes())
        data[: len(data) // 2] = os.urandom(len(data) // 2)
        store.write_bytes(data)
    embedded.run("sync")
    assert embedded.documents() == whole


def test_damage_that_shows_only_while_writing_is_mended(embedded: Sandbox) -> None:
    write_tree(embedded.root, tag_count=2, package_count=10)
    embedded.run("sync")
    for file in (embedded.index / "spack-specs/live").glob("*.pos"):
        file.unlink()
    put(embedded.root, small_page(entry("new")), "new")
    (embedded.root / path_of("zlib-ng")).unlink()
    embedded.run("sync")
    assert embedded.documents() == embedded.rendered()


@pytest.mark.parametrize("state", ["damaged", "laid out in another way", "without a ledger that can be read"])
def test_a_mass_loss_needs_consent_also_when_the_index_is_built_anew(embedded: Sandbox, state: str) -> None:
    write_tree(embedded.root, tag_count=2, package_count=10)
    embedded.run("sync")
    live = embedded.index / "spack-specs/live"
    if state == "damaged":
        (live / "cachesync.json").unlink()
    elif state == "laid out in another way":
        (live / "cachesync.json").write_text('{"fingerprint": "old", "fields": [], "layout": 0}')
    else:
        (live / "meta.json").write_bytes(b"")
    whole = (embedded.root / "_cache").rename(embedded.root / "away")
    (embedded.root / "_cache").mkdir()
    assert "--allow-mass-delete" in embedded.run("sync", expect=4).stderr
    (embedded.root / "_cache").rmdir()
    whole.rename(embedded.root / "_cache")
    embedded.run("sync")
    assert embedded.documents() == embedded.rendered()
    (live / "meta.json").write_bytes(b"")
    (embedded.root / "_cache").rename(embedded.root / "away")
    embedded.run("sync", "--allow-mass-delete")
    assert embedded.documents() == {}


def test_a_lower_bound_on_size_counts_for_known_pages(sandbox: Sandbox) -> None:
    put(sandbox.root, small_page(entry("1")))
    sandbox.run("sync")
    sandbox.run("sync", expect=1, CACHESYNC_PAGES__MAX_BYTES="100")
    sandbox.run("sync")


def test_a_kill_at_any_moment_is_mended_by_the_next_sync(sandbox: Sandbox) -> None:
    write_tree(sandbox.root, tag_count=4, package_count=150)
    random_ = random.Random(5)
    for number in range(6):
        put(sandbox.root, small_page(entry(f"x{number}")), f"x{number}")
        (sandbox.root / path_of(f"x{number - 1}")).unlink(missing_ok=True)
        running = subprocess.Popen(sandbox.command("sync"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            running.wait(random_.uniform(0.2, 1.2))
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            running.wait()
    sandbox.run("sync")
    assert sandbox.documents() == sandbox.rendered()
    assert sandbox.json("sync")["specs"] == NOTHING


def test_two_syncs_at_once_are_one_after_the_other(sandbox: Sandbox) -> None:
    write_tree(sandbox.root, tag_count=2, package_count=50)
    both = [subprocess.Popen(sandbox.command("sync", "--json"), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    reports = [json.loads(each.communicate(timeout=60)[0]) for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert sorted(report["pages"]["added"] for report in reports) == [0, 100]
    assert sandbox.documents() == sandbox.rendered()


@pytest.mark.surroundings
def test_an_interrupt_ends_with_130(embedded: Sandbox) -> None:
    write_tree(embedded.root, tag_count=2, package_count=50)
    os.mkfifo(embedded.folder / "busy")
    lock = embedded.index / "spack-specs/lock"
    lock.parent.mkdir(parents=True)
    with (
        subprocess.Popen(["flock", lock, "cat", embedded.folder / "busy"]) as holder,
        (embedded.folder / "busy").open("w"),  # opens when the holder reads: the lock is taken
        subprocess.Popen(embedded.command("sync"), stderr=subprocess.PIPE, text=True) as waiting,
    ):
        assert waiting.stderr
        assert "waiting for another writer to end" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        assert "interrupted" in waiting.communicate(timeout=20)[1]
        assert waiting.returncode == 130
        holder.kill()
    embedded.run("sync")

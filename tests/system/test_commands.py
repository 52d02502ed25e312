"""All commands but `run` and `serve`, run as programs."""

import importlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cachesync.cli import cachesync
from cachesync.sync.report import Report
from examples.pages import write_tree
from tests.support.pages import entry, page, path_of, put
from tests.support.sandbox import PROGRAM, Sandbox, unreadable


@pytest.fixture
def filled(sandbox: Sandbox) -> Sandbox:
    put(sandbox.root, page(entry("h1", os="rhel8"), entry("h2", versions=["1.10"]), entry("h3", versions=["1.9"])))
    put(sandbox.root, page(entry("m1"), title="intel-oneapi-mkl"), "intel-oneapi-mkl")
    sandbox.run("sync")
    return sandbox


def test_search_prints_a_table_and_facets(filled: Sandbox) -> None:
    done = filled.run("search", "zlib", "--facet", "os", "--limit", "2")
    assert done.stdout.splitlines()[0].split() == [
        "package",
        "version",
        "compiler",
        "os",
        "target",
        "tag",
        "hash",
        "stacks",
        "variants",
    ]
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:3]] == [["zlib", "1.10"], ["zlib", "1.9"]]
    assert "ubuntu22.04      2" in done.stdout
    assert done.stdout.splitlines()[-1] == "3 specs found, the first 2 shown"


@pytest.mark.surroundings
@pytest.mark.parametrize("on_terminal", [False, True])
def test_a_table_is_short_only_on_a_terminal(embedded: Sandbox, on_terminal: bool) -> None:
    hashes = ["a" * 32, "b" * 32]
    for tag in "develop", "v1":
        entries = [entry(hash, variants=["+shared", sign]) for hash, sign in zip(hashes, ("+pic", "~pic"), strict=True)]
        put(embedded.root, page(*entries, tag=tag), tag=tag)
    embedded.run("sync")
    columns = ("search", "zlib", "--columns", "hash,tag,variants")
    table = embedded.on_terminal(*columns, stdout=True)[1] if on_terminal else embedded.run(*columns).stdout
    rows = [line.split("  ") for line in table.splitlines()[1:3]]
    assert [[cell.strip() for cell in row if cell] for row in rows] == (
        [["aaaaaaa", "develop +1", "+pic"], ["bbbbbbb", "develop +1", "~pic"]]
        if on_terminal
        else [[hashes[0], "develop v1", "+shared +pic"], [hashes[1], "develop v1", "+shared ~pic"]]
    )


def test_search_as_json(filled: Sandbox) -> None:
    found = filled.json("search", "--text", "mkl", "--facet", "os:1")
    assert set(found) == {"total", "binaries", "hits", "facets", "query", "took_ms", "next"}
    assert (found["total"], found["binaries"], found["next"]) == (1, 1, None)
    (hit,) = found["hits"]
    assert hit.pop("install")["commands"][-1] == "spack install --cache-only /m1"
    assert hit == {"_id": "develop/intel-oneapi-mkl/m1", **filled.rendered()["develop/intel-oneapi-mkl/m1"]}
    notes = ["mkl is read as intel-oneapi-mkl."]
    assert found["query"] == {"text": "mkl", "mode": "text", "canonical": "intel-oneapi-mkl", "notes": notes}
    assert found["facets"] == {"os": [{"value": "ubuntu22.04", "count": 1}]}


def test_search_without_hits_is_no_error(filled: Sandbox) -> None:
    assert filled.run("search", "nothing-like-it").stdout == "0 specs found\n"
    assert filled.json("search", "nothing-like-it", "--facet", "os")["facets"] == {"os": []}


def test_facets_are_disjunctive(filled: Sandbox) -> None:
    found = filled.json("search", "--filter", "os=rhel8", "--facet", "os", "--facet", "version")
    assert found["total"] == 1
    assert {each["value"]: each["count"] for each in found["facets"]["os"]} == {"ubuntu22.04": 3, "rhel8": 1}
    assert found["facets"]["version"] == [{"value": "1.2.3", "count": 1}]


def test_a_disabled_variant_may_be_written_with_a_dash(filled: Sandbox) -> None:
    put(filled.root, page(entry("off", variants=["~mpi"]), title="hdf5"), "hdf5")
    filled.run("sync")
    assert filled.json("search", "hdf5", "~mpi")["total"] == 1
    assert "1 spec found" in filled.run("search", "--", "-mpi").stdout
    assert filled.json("search", "hdf5", "-mpi")["total"] == 1
    assert filled.json("search", "--limit", "1", "hdf5", "-mpi", "--facet=os")["total"] == 1


@pytest.mark.parametrize("name", ["pic", "shared", "hl", "hip", "tests", "latex", "json", "tools"])
def test_no_variant_is_mistaken_for_an_option(embedded: Sandbox, name: str) -> None:
    put(embedded.root, page(entry("off", variants=[f"~{name}"]), entry("on", variants=[f"+{name}"])))
    embedded.run("sync")
    assert embedded.json("search", "zlib", f"-{name}")["total"] == 1


@pytest.mark.parametrize("query", ["compiler=gcc@=11.4.0", "%gcc@=11.4.0", "zlib@=1.10 %gcc@=11.4.0"])
def test_the_exact_versions_of_spack_are_understood(filled: Sandbox, query: str) -> None:
    assert filled.json("search", query, "--filter", "version=1.10")["total"] == 1
    assert filled.json("search", query.replace("11.4.0", "12"))["total"] == 0


def test_search_sorts_by_spacks_order(filled: Sandbox) -> None:
    found = filled.json("search", "--sort", "version:desc", "--limit", "3")
    assert [hit["version"] for hit in found["hits"]] == ["1.10", "1.9", "1.2.3"]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (["os", "version:desc"], ["h1", "h2", "h3", "m1"]),
        (["os:desc", "version"], ["m1", "h3", "h2", "h1"]),
        (["package", "os", "hash:desc"], ["m1", "h1", "h3", "h2"]),
        (["package:desc", "os:desc", "version:desc"], ["h2", "h3", "h1", "m1"]),
    ],
)
def test_search_sorts_by_several_keys_the_first_before_the_second(
    filled: Sandbox, sort: list[str], expected: list[str]
) -> None:
    found = filled.json("search", *(argument for each in sort for argument in ("--sort", each)))
    assert [hit["hash"] for hit in found["hits"]] == expected


@pytest.mark.parametrize("query", [(), ("nothing-like-it",)])
def test_empty_sections_leave_no_blank_lines(filled: Sandbox, query: tuple[str, ...]) -> None:
    total = 0 if query else 4
    assert filled.run("search", *query, "--limit", "0").stdout == f"{total} specs found\n"
    lines = filled.run("search", *query, "--limit", "0", "--facet", "os", "--facet", "tag").stdout.splitlines()
    assert lines[0].split() == ["os", "specs"]
    assert lines.count("") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["search", "--filter", "nope=1"], "--filter nope=1: no field 'nope' here; expected one of package, tag"),
        (["search", "--filter", "os"], "expected FIELD=VALUE"),
        (["search", "--facet", "os:x"], "--facet os:x"),
        (["search", "--sort", "variants"], "--sort variants"),
        (["search", "--limit", "-1"], "--limit"),
        (["search", "--nope"], "No such option"),
        (["nope"], "No such command"),
        (["check"], "Missing argument"),
        (["check", "pages", "nowhere.md"], "nowhere.md: No such file or directory"),
        (["render", "empty"], "empty: no page in this folder"),
        (["search", "-mpi", "hdf5"], "No such option '-m'"),
        (["search", "hdf5", "--limt", "3"], "No such option '--limt'. Did you mean '--limit'?"),
    ],
)
def test_a_wrong_command_line_ends_with_2(filled: Sandbox, arguments: list[str], says: str) -> None:
    (filled.folder / "empty").mkdir()
    assert says in filled.run(*arguments, expect=2).stderr


def test_a_wrong_configuration_ends_with_2_and_names_file_and_line(embedded: Sandbox) -> None:
    embedded.config.write_text("pages:\n  rot: x\n")
    assert "cachesync.yml:2: pages.rot: no such key" in embedded.run("status", expect=2).stderr
    embedded.config.write_text("index: {url: 'ftp://127.0.0.1:1'}")
    assert "index.url" in embedded.run("status", expect=2).stderr
    embedded.config.write_text("pages: {root: nowhere}\nindex: {url: 'embedded:index'}")
    assert "pages.root: cannot list" in embedded.run("sync", expect=2).stderr


@pytest.mark.parametrize("command", ["search", "status", "show /aaaa", "diff v1 v2"])
def test_without_an_index_hints_are_printed_and_the_exit_code_is_3(sandbox: Sandbox, command: str) -> None:
    index, server = sandbox.run(*command.split(), expect=3).stderr.splitlines()
    assert "no index " in index
    assert "`cachesync sync` makes one" in index
    assert (
        server
        == f"cachesync: `cachesync {command.split(maxsplit=1)[0]} --server URL` queries a cachesync server over HTTP instead"
    )


def test_without_an_index_no_hint_names_an_option_that_a_command_lacks(embedded: Sandbox) -> None:
    told = embedded.run("verify", expect=3).stderr
    assert "`cachesync sync` makes one" in told
    assert "--server" not in told


def test_a_foreign_file_in_place_of_the_index_ends_with_2(embedded: Sandbox) -> None:
    (embedded.index / "spack-specs/precious").mkdir(parents=True)
    for command in ("run", "sync", "search", "status"):
        assert "not a cachesync index" in embedded.run(command, expect=2, CACHESYNC_HTTP__PORT="0").stderr


def test_status(filled: Sandbox) -> None:
    put(filled.root, b"x", "broken")
    filled.run("sync", expect=1)
    found = filled.json("status")
    assert (found["engine"], found["specs"], found["pages"]) == (
        "embedded" if filled.is_embedded else "elasticsearch",
        4,
        3,
    )
    assert found["url"] == (f"embedded:{filled.index}" if filled.is_embedded else filled.url)
    assert found["generation"] == f"{filled.name}-1"
    assert (found["holder"], found["reindex_needed"], found["kept_generations"]) == (None, False, [])
    assert found["problems"] == [
        {"page": path_of("broken"), "message": "no front matter: expected '---' as the first line", "line": 1}
    ]
    assert (found["in_sync"], found["lag_seconds"]) == (True, 0.0)
    put(filled.root, page(entry("new")), "new")
    os.utime(filled.root / path_of("new"), (0, 0))
    found = filled.json("status")
    assert not found["in_sync"]
    assert 0 <= found["lag_seconds"] < 3600, "an old mtime says nothing about when the file came"
    assert "no: 1 page waiting" in filled.run("status").stdout


@pytest.fixture
def odd(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A tree with two good pages, and one page of each kind that can't be read."""
    good = put(sandbox.root, page(entry()))
    (sandbox.folder / "outside.md").write_bytes(page(entry("stolen")))
    below = sandbox.root / "_cache/v1"
    for name in ("folder", "pipe", "out", "nowhere", "loop", "tofolder", "large"):
        (below / name).mkdir(parents=True)
    (below / "folder/specs.md").mkdir()
    os.mkfifo(below / "pipe/specs.md")
    (below / "out/specs.md").symlink_to(sandbox.folder / "outside.md")
    (below / "nowhere/specs.md").symlink_to("missing")
    (below / "loop/specs.md").symlink_to("specs.md")
    (below / "tofolder/specs.md").symlink_to(good.parent)
    (below / "large/specs.md").write_bytes(b"x" * 70_000)
    latin = os.fsencode(below) + b"/caf\xe9"
    os.mkdir(latin)
    Path(os.fsdecode(latin + b"/specs.md")).write_bytes(page(entry()))
    put(sandbox.root, page(entry("n")), "new\nline", "v1")
    monkeypatch.setenv("CACHESYNC_PAGES__MAX_BYTES", "60000")
    return sandbox


def test_check_and_render_follow_the_rules_of_sync(odd: Sandbox) -> None:
    synced = odd.json("sync", expect=1)
    checked = odd.json("check", odd.root, expect=1)
    assert synced["specs"]["added"] == checked["specs"] == 2
    assert [each["message"] for each in checked["problems"]] == [each["message"] for each in synced["problems"]]
    assert len(checked["problems"]) == 8
    rendered = odd.run("render", odd.root, expect=1)
    assert len(rendered.stdout.splitlines()) == 2
    assert len(rendered.stderr.splitlines()) == 8
    assert "a pipe: expected a regular file" in odd.run("check", odd.root / "_cache/v1/pipe/specs.md", expect=1).stdout
    assert "a folder" in odd.run("check", odd.root / "_cache/v1/folder/specs.md", expect=1).stdout


def test_unreadable_pages_do_not_keep_the_index_out_of_sync(odd: Sandbox) -> None:
    odd.run("sync", expect=1)
    assert odd.json("status")["in_sync"]
    assert odd.json("status")["lag_seconds"] == 0.0


def test_status_shows_what_is_waiting_and_for_how_long(filled: Sandbox) -> None:
    put(filled.root, page(entry("new")), "new", "develop")
    waits = r"in sync   no: 1 page waiting, for up to \d+ seconds?, such as _cache/develop/new/specs.md\n"
    assert re.search(waits, filled.run("status").stdout)


def test_status_shows_the_index_even_without_the_pages(filled: Sandbox) -> None:
    filled.root.rename(filled.folder / "away")
    found = filled.json("status")
    assert (found["specs"], found["in_sync"], found["lag_seconds"]) == (4, False, None)
    assert "in sync   unknown: pages.root: cannot list" in filled.run("status").stdout


def test_no_control_characters_of_a_page_reach_the_terminal(sandbox: Sandbox) -> None:
    put(sandbox.root, page(entry(os="o\x1b[2J"), title="zlib"), "x\x1b[31mred")
    put(sandbox.root, page(entry(versions=["1\n2"]), title="zlib"), "version")
    put(sandbox.root, page(entry(size="\x1b]0;pwn")), "bad\x1b")
    printed = ""
    for arguments, code in ((["sync", "--dry-run"], 1), (["sync"], 1), (["status"], 0), (["check", sandbox.root], 1)):
        done = sandbox.run(*arguments, expect=code)
        printed += done.stdout + done.stderr
    printed += sandbox.run("search", "--facet", "os").stdout
    assert "\x1b" not in printed
    assert "o\\x1b[2J" in printed
    assert "bad\\x1b/specs.md" in printed
    assert "1\\n2" in printed


@pytest.mark.parametrize("arguments", ["search $'caf\\xe9'", "search --filter $'os=\\xff'", "search @"])
def test_an_invalid_query_ends_with_2(filled: Sandbox, arguments: str) -> None:
    script = f"{' '.join(filled.command())} {arguments}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, cwd=filled.folder)
    assert done.returncode == 2, done.stderr
    assert "UTF-8" in done.stderr or "character 1 of the query" in done.stderr


@pytest.mark.parametrize(("where", "code"), [(">/dev/full", 3), (">&-", 3), ("2>&-", 0), ("2>/dev/full", 0)])
def test_output_that_cannot_be_written_causes_no_traceback(filled: Sandbox, where: str, code: int) -> None:
    for command in ("search", "sync", "config", f"render {filled.root}"):
        script = f"{' '.join(filled.command())} {command} {where}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, cwd=filled.folder)
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
        assert done.returncode == code, (command, done.stderr)
        if where == ">&-":
            assert done.stderr.splitlines()[-1].startswith("cachesync: standard output is closed")
        full = "cachesync: cannot write to standard output: No space left on device\n"
        assert done.stderr.endswith(full) == (where == ">/dev/full"), done.stderr


def test_an_error_that_cannot_be_printed_still_has_its_exit_code(embedded: Sandbox) -> None:
    embedded.config.unlink()
    for arguments in (["config"], ["nope"]):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(embedded.command(*arguments), stderr=full, check=False)
        assert done.returncode == 2


@pytest.mark.parametrize("place", ["", "spack-specs", "spack-specs/spack-specs-1"])
def test_an_index_without_read_permission_is_named(embedded: Sandbox, place: str) -> None:
    put(embedded.root, page(entry()))
    embedded.run("sync")
    embedded.blindfold()
    with unreadable(embedded.index / place):
        for command in ("sync", "status"):
            told = embedded.run(command, expect=3).stderr
            assert f"{embedded.index / place}" in told
            assert "Permission denied" in told


def test_a_default_configuration_without_read_permission_is_named(embedded: Sandbox) -> None:
    folder = embedded.folder / "config"
    folder.mkdir()
    embedded.blindfold()
    with unreadable(folder):
        command = [*embedded.before, *PROGRAM, "config"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=embedded.folder)
    assert done.returncode == 2
    assert done.stderr == "cachesync: cannot read the configuration config/cachesync.yml: Permission denied\n"


def test_a_deleted_working_directory_is_reported(embedded: Sandbox) -> None:
    put(embedded.root, page(entry()))

    def run(arguments: str) -> subprocess.CompletedProcess[str]:
        script = f"mkdir gone && cd gone && rmdir ../gone && {' '.join(PROGRAM)} {arguments}"
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, cwd=embedded.folder)

    done = run("sync")
    assert done.returncode == 2
    assert done.stderr.startswith("cachesync: the working directory can't be used: No such file or directory")
    assert run(f"-c {embedded.config} sync").returncode == 0


def test_an_index_in_a_path_that_isnt_utf8_is_refused(embedded: Sandbox) -> None:
    strange = os.fsdecode(b"a\xff")
    told = embedded.run("sync", expect=2, CACHESYNC_INDEX__URL=f"embedded:{strange}").stderr
    assert told == f"cachesync: index.url: {embedded.folder}/a\\udcff is not UTF-8: expected a path that is\n"
    assert not (embedded.folder / strange).exists()


def test_a_refused_sync_leaves_nothing_behind(sandbox: Sandbox) -> None:
    sandbox.root.rename(sandbox.folder / "away")
    assert "CACHESYNC_PAGES__ROOT" in sandbox.run("sync", expect=2).stderr
    assert not sandbox.has_index()


def test_other_users_can_search(embedded: Sandbox) -> None:
    """Folders and files have the permissions of the umask, and any user can take the readers' lock."""
    filled = embedded
    put(filled.root, page(entry("m1"), title="intel-oneapi-mkl"), "intel-oneapi-mkl")
    filled.run("sync")
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    for folder in (filled.folder, *filled.folder.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*other, *PROGRAM, "--version"], check=False, capture_output=True, cwd="/").returncode:
        pytest.skip("other users may not read this checkout")
    done = subprocess.run(
        [*other, *filled.command("search", "mkl")], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    assert "1 spec found" in done.stdout
    denied = subprocess.run([*other, *filled.command("sync")], capture_output=True, text=True, check=False, cwd="/")
    assert denied.returncode == 3
    assert "Permission denied" in denied.stderr
    assert filled.json("status")["generation"] == "spack-specs-1"


def test_a_path_that_is_not_utf_8_is_a_problem_everywhere(embedded: Sandbox) -> None:
    latin = embedded.root / os.fsdecode(b"_cache/v1/caf\xe9")
    put(embedded.root, page(entry()), latin.name, "v1")
    broken = put(embedded.folder / latin.name, b"x")
    says = "/specs.md: the path is not UTF-8: expected a name that is text"
    for path in (latin, latin / "specs.md"):
        (problem,) = embedded.json("check", path, expect=1)["problems"]
        assert problem["page"].endswith("_cache/v1/caf\\udce9/specs.md")
        assert embedded.run("check", path, expect=1).stdout.endswith(f"_cache/v1/caf\\udce9{says}\n")
        assert embedded.run("render", path, expect=1).stderr.endswith(f"_cache/v1/caf\\udce9{says}\n")
    (problem,) = embedded.json("check", broken, expect=1)["problems"]
    assert problem["page"] == str(broken).replace("\udce9", "\\udce9")


def test_json_is_utf_8_and_tables_escape_characters_that_the_locale_lacks(
    embedded: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(embedded.root, page(entry(os="snow☃")))
    put(embedded.root, b"x", "b☃")
    embedded.run("sync", expect=1)
    monkeypatch.setenv("PYTHONIOENCODING", "latin1")
    assert "snow\\u2603" in embedded.run("search", "--facet", "os").stdout
    assert "b\\u2603/specs.md" in embedded.run("status").stdout
    assert embedded.run("check", embedded.root, expect=1).stdout.endswith("as the first line\n")
    assert embedded.json("search")["hits"][0]["os"] == "snow☃"
    assert embedded.json("check", embedded.root, expect=1)["problems"][0]["page"].endswith("b☃/specs.md")


def test_an_unreadable_folder_is_left_out_by_verify_and_not_repaired(embedded: Sandbox) -> None:
    put(embedded.root, page(entry("h1")), "zlib", "seen")
    put(embedded.root, page(entry("h2")), "zlib", "locked")
    embedded.run("sync")
    locked = embedded.root / "_cache/locked"
    locked.chmod(0)
    embedded.blindfold()
    try:
        for repair in ([], ["--repair"]):
            found = embedded.json("verify", *repair, expect=1)
            assert [(each["page"], each["message"]) for each in found["problems"]] == [
                ("_cache/locked", "cannot be read: Permission denied; the index keeps what it has of it")
            ]
            assert (found["pages"], found["specs"], found["ledger"], found["differing"]) == (1, 1, 0, [])
            assert not found["repaired"]
            printed = embedded.run("verify", *repair, expect=1).stdout
            assert printed == "1 spec of 1 page: 0 missing, 0 extra, 0 different; 0 wrong records\n"
    finally:
        locked.chmod(0o755)
    assert embedded.json("verify")["pages"] == 2


def test_a_repair_reports_pages_that_keep_changing(embedded: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    put(embedded.root, page(entry()))
    embedded.run("sync")
    put(embedded.root, page(entry("bbbb")))
    module = importlib.import_module("cachesync.commands.verify")  # the package has the command by that name
    monkeypatch.setattr(module.writer, "sync", lambda *_, **__: Report(again=True))
    arguments = ["-c", str(embedded.config), "verify", "--repair"]
    done = CliRunner().invoke(cachesync, arguments, standalone_mode=False)
    assert "not everything was repaired: pages kept changing while they were read" in done.stdout
    done = CliRunner().invoke(cachesync, [*arguments, "--json"], standalone_mode=False)
    assert json.loads(done.stdout)["repaired"] is False


def test_check_reports_paths_without_permission(embedded: Sandbox) -> None:
    page_in_it = put(embedded.root, page(entry()), "zlib", "locked")
    locked = embedded.root / "_cache/locked"
    mirror = embedded.folder / "mirror"
    mirror.mkdir()
    for folder in (locked, mirror):
        folder.chmod(0)
    embedded.blindfold()
    try:
        for path in (page_in_it, locked, mirror, mirror / "file.md"):
            done = embedded.run("check", path, expect=1)
            assert done.stdout.startswith(f"{path}: cannot be read: Permission denied"), done
            done = embedded.run("render", path, expect=1)
            assert done.stderr.startswith(f"{path}: cannot be read: Permission denied"), done
    finally:
        for folder in (locked, mirror):
            folder.chmod(0o755)


@pytest.mark.parametrize("command", ["verify", "check", "render"])
@pytest.mark.surroundings
def test_a_progress_bar_on_a_terminal_does_not_disturb_the_output(embedded: Sandbox, command: str) -> None:
    write_tree(embedded.root, tag_count=2, package_count=60)
    embedded.run("sync")
    arguments = [command] if command == "verify" else [command, embedded.root]
    printed, shown = embedded.on_terminal(*arguments)
    assert printed == embedded.run(*arguments).stdout
    assert re.search(rf"{command} .*\d+/\d+", shown), shown


def test_check_and_render_warn_of_links_and_skip_ignored_folders(embedded: Sandbox) -> None:
    put(embedded.root, page(entry()))
    staged = put(embedded.root, page(entry()), ".~tmp~")
    elsewhere = put(embedded.folder / "elsewhere", page(entry())).parents[1]
    (embedded.root / "_cache/linked").symlink_to(elsewhere)
    line = f"{embedded.root}/_cache/linked: warning: a symbolic link to a folder"
    done = embedded.run("check", embedded.root)
    assert done.stdout.startswith(line)
    assert done.stderr == "1 page, 1 spec, 0 problems, 1 warning\n"
    told = embedded.json("check", embedded.root)
    assert (told["pages"], [warning["path"] for warning in told["warnings"]]) == (1, [f"{embedded.root}/_cache/linked"])
    done = embedded.run("render", embedded.root)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr.startswith(line)
    for command in ("check", "render"):
        for below in ("", "zlib"):
            assert f" {line}" in embedded.run(command, embedded.root / "_cache/linked" / below, expect=2).stderr
        assert "pages.ignore names" in embedded.run(command, staged.parent, expect=2).stderr
        embedded.run(command, staged, embedded.root / "_cache/linked/zlib/specs.md")


def test_check_prints_path_line_and_message(embedded: Sandbox) -> None:
    good = put(embedded.root, page(entry()))
    bad = put(embedded.root, page(entry("")), "bad")
    done = embedded.run("check", good, bad, expect=1)
    assert done.stdout == f"{bad}:6: spec_details[0].hash: missing; expected the spec's hash\n"
    assert done.stderr == "2 pages, 1 spec, 1 problem\n"
    found = embedded.json("check", embedded.root, expect=1)
    assert (found["pages"], found["specs"], [each["line"] for each in found["problems"]]) == (2, 1, [6])
    bad.unlink()
    assert embedded.run("check", embedded.root).stdout == ""


def test_render_needs_no_index_and_names_pages_from_the_cache_folder_on(embedded: Sandbox, tmp_path: Path) -> None:
    elsewhere = tmp_path / "mirror"
    put(elsewhere, page(entry("h")), tag="v1")
    put(elsewhere, b"x", "broken", tag="v1")
    done = embedded.run("render", elsewhere, expect=1)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["_id"], line["_source"]["page"]) for line in lines] == [("v1/zlib/h", path_of(tag="v1"))]
    assert (
        done.stderr == f"{elsewhere}/_cache/v1/broken/specs.md:1: no front matter: expected '---' as the first line\n"
    )
    assert not embedded.has_index()


def test_render_into_a_closed_pipe_is_quiet(embedded: Sandbox) -> None:
    write_tree(embedded.root, tag_count=2, package_count=60)
    script = f"set -o pipefail; {' '.join(embedded.command('render', embedded.root))} | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, cwd=embedded.folder)
    assert done.returncode == 141
    assert done.stderr == ""


def test_config_prints_the_effective_configuration_without_secrets(embedded: Sandbox) -> None:
    done = embedded.run("config", CACHESYNC_INDEX__API_KEY="canary", CACHESYNC_WATCH__DEBOUNCE="500ms")
    assert "canary" not in done.stdout + done.stderr
    shown = yaml.safe_load(done.stdout)
    assert shown["watch"]["debounce"] == 0.5
    assert shown["index"]["api_key"] == "**********"
    assert done.stdout.startswith(f"# from {embedded.config}")


@pytest.mark.parametrize("command", ["config", "sync", "check"])
def test_a_variable_that_resembles_a_key_is_logged(embedded: Sandbox, command: str) -> None:
    file = put(embedded.root, page(entry()))
    arguments = [command, file] if command == "check" else [command]
    done = embedded.run(*arguments, CACHESYNC_PAGES_ROOT="/srv", CACHESYNC_LOG__FORMAT="console")
    assert "a variable is ignored: its name resembles that of a configuration key" in done.stderr
    assert "name=CACHESYNC_PAGES_ROOT meant=CACHESYNC_PAGES__ROOT" in done.stderr
    assert "CACHESYNC_PAGES__ROOT" not in embedded.run(*arguments).stderr


def test_help_and_version_need_no_configuration(tmp_path: Path) -> None:
    for arguments in (["--version"], ["--help"], ["sync", "--help"]):
        done = subprocess.run(
            [*PROGRAM, "-c", "nowhere.yml", *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        assert done.stdout
    assert done.stdout.startswith("Usage: ")


def config_mistakes(sandbox: Sandbox, **sections: dict[str, object]) -> list[str]:
    """The mistakes that `config` lists, without the sandbox's path. It prints the configuration nevertheless."""
    sandbox.config.write_text(json.dumps(sections))
    done = sandbox.run("config", expect=2)
    assert "canary" not in done.stdout + done.stderr
    assert yaml.safe_load(done.stdout).keys() >= {"pages", "index", "kibana"}
    return [line.removeprefix("cachesync: ") for line in done.stderr.replace(f"{sandbox.folder}/", "").splitlines()]


HTTPS = {"url": "https://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("index", "told"),
    [
        (
            {"api_key": "Y2FuYXJ5", "username": "u", "password": "canary"},
            ["index.api_key: expected either this or index.username and index.password, not both"],
        ),
        ({"password": "canary"}, ["index.username: expected it together with index.password"]),
        ({"api_key_file": "none"}, ["index.api_key_file: cannot read none: No such file or directory"]),
        (
            {"username_file": "none", "password_file": "gone", "ca_certs": "ca", "client_cert": "cert"},
            [
                "index.username_file: cannot read none: No such file or directory",
                "index.password_file: cannot read gone: No such file or directory",
                "index.ca_certs: cannot read ca: No such file or directory",
                "index.client_cert: cannot read cert: No such file or directory",
            ],
        ),
        ({"client_key": "key"}, ["index.client_key is the key of index.client_cert, which is missing"]),
        (
            {"api_key": "Y2FuYXJ5", "api_key_file": "none"},
            ["index.api_key: expected either this or index.api_key_file, not both"],
        ),
        (
            {"username": "u", "password": "canary", "password_file": "none"},
            ["index.password: expected either this or index.password_file, not both"],
        ),
    ],
)
def test_config_lists_every_mistake_in_secrets_and_certificates(
    embedded: Sandbox, index: dict[str, object], told: list[str]
) -> None:
    assert config_mistakes(embedded, index={**HTTPS, **index}) == told
    assert (
        embedded.run("sync", expect=2)
        .stderr.splitlines()[-1]
        .endswith(told[0].replace("none", f"{embedded.folder}/none"))
    )


def test_config_lists_mistakes_about_kibana_if_it_is_configured(embedded: Sandbox) -> None:
    kibana = {"api_key_file": "none", "ca_certs": "gone"}
    assert config_mistakes(embedded, kibana={"url": "https://127.0.0.1:9", **kibana}) == [
        "kibana.api_key_file: cannot read none: No such file or directory",
        "kibana.ca_certs: cannot read gone: No such file or directory",
    ]
    embedded.config.write_text(json.dumps({"kibana": kibana}))
    embedded.run("config")


def test_a_missing_pages_root_is_not_a_mistake_in_the_configuration(embedded: Sandbox) -> None:
    embedded.config.write_text(json.dumps({"pages": {"root": "not-mounted"}}))
    assert "not-mounted" in embedded.run("config").stdout

"""Which folders may lead to pages, and which files in them are pages."""

import pytest

from cachesync.config import PagesConfig
from cachesync.pages.pattern import Pattern

DEFAULT = ("_cache/**/specs.md",)
IGNORED = PagesConfig().ignore


def leads(folder: str, include: tuple[str, ...] = DEFAULT, exclude: tuple[str, ...] = ()) -> bool:
    return Pattern(include, exclude, IGNORED).may_lead_to_pages(folder)


@pytest.mark.parametrize(
    "name",
    [
        *(
            ".~tmp~",
            ".rsync-partial",
            ".snapshot",
            ".snapshots",
            ".zfs",
            ".snap",
            ".Trash-1000",
            ".Trashes",
            ".recycle",
        ),
        *(".stversions", ".nfs0000000012345678", ".git", "..data", "..2025_07_13", ".#recycle", ".@__thumb"),
        *("@eaDir", "@tmp", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", "~snapshot", "lost+found"),
        *("$RECYCLE.BIN", "System Volume Information", "FOUND.000", "__MACOSX", "develop~", "develop.~1~"),
    ],
)
@pytest.mark.parametrize("folder", ["_cache/{}/", "_cache/develop/{}/", "_cache/{}/develop/zlib/"])
def test_folders_made_by_tools_have_no_pages(name: str, folder: str) -> None:
    assert not leads(folder.format(name))
    assert not leads(folder.format(name), ("specs.md",))
    assert not leads(f"{name}/", ("**/specs.md",))


@pytest.mark.parametrize("name", ["develop-2025-03-23", "v1.0", "a~b", "x@eaDir", "lost+found2", "recycle", "_x", "-"])
def test_other_folders_may_have_pages(name: str) -> None:
    assert leads(f"_cache/{name}/zlib/")


def test_the_list_is_the_configurations_but_for_names_with_a_dot() -> None:
    pattern = Pattern(DEFAULT, ignore=("tmp-*", "[xy]", "a.b"))
    assert [
        name for name in ("tmp-1", "x", "a.b", ".a", "@eaDir", "axb") if pattern.may_lead_to_pages(f"_cache/{name}/")
    ] == [
        "@eaDir",
        "axb",
    ]


@pytest.mark.parametrize(
    ("include", "folder", "expected"),
    [
        (".snapshot/daily/_cache/**/specs.md", ".snapshot/", True),
        (".snapshot/daily/_cache/**/specs.md", ".snapshot/daily/_cache/develop/", True),
        (".snapshot/daily/_cache/**/specs.md", ".snapshot/daily/_cache/.snapshot/", False),
        (".snapshot/*/_cache/**/specs.md", ".snapshot/.daily/", False),
        (".snap*/*/_cache/**/specs.md", ".snapshot/daily/_cache/", True),
        ("/.hidden/**/specs.md", ".hidden/", True),
        ("_cache/**/.hidden/specs.md", "_cache/develop/zlib/.hidden/", True),
        ("_cache/**/.hidden/specs.md", "_cache/.other/zlib/.hidden/", False),
        ("_cache/**/@eaDir/specs.md", "_cache/develop/@eaDir/", True),
        ("_cache/*/specs.md", "_cache/.hidden/", False),
        ("_cache/?hidden/specs.md", "_cache/.hidden/", False),
        ("_cache/[.]hidden/specs.md", "_cache/.hidden/", False),
        (r"\#recycle/**/specs.md", "#recycle/", True),
        (".hidden", ".hidden/", True),
    ],
)
def test_a_name_that_include_spells_out_is_not_ignored(include: str, folder: str, expected: bool) -> None:
    assert leads(folder, (include,)) is expected
    assert leads(folder, ("x/specs.md", include)) is expected


def test_a_name_spelled_out_in_one_pattern_does_not_count_for_another() -> None:
    assert not leads("a/.x/b/.y/", ("a/.x/b/*/specs.md", "a/*/b/.y/specs.md"))


@pytest.mark.parametrize(
    ("include", "path", "expected"),
    [
        ("_cache/**/*.md", "_cache/develop/zlib/specs.md", True),
        ("_cache/**/*.md", "_cache/develop/zlib/.specs.md", False),
        ("_cache/**/*", "_cache/develop/zlib/.nfs00000000123", False),
        ("_cache/**/*", "_cache/develop/zlib/specs.md~", False),
        ("_cache/**/.*.md", "_cache/develop/zlib/.specs.md", True),
        ("_cache/**/.specs.md", "_cache/develop/zlib/.specs.md", True),
    ],
)
def test_files_are_ignored_by_the_same_names(include: str, path: str, expected: bool) -> None:
    assert Pattern((include,), (), IGNORED).matches(path) is expected


@pytest.mark.parametrize(
    "exclude",
    [
        *("private", "private/", "_cache/private", "/_cache/private/", "**/private", "priv*", "_cache/*/"),
        *(
            "_cache/private/*",
            "/_cache/private/**",
            "**/private/**",
            "**/private/*",
            "_cache/private/**/*",
            "_cache/*/**",
        ),
    ],
)
def test_wholly_excluded_folders_have_no_pages(exclude: str) -> None:
    assert not leads("_cache/private/", exclude=(exclude,))
    assert not leads("_cache/private/zlib/", exclude=(exclude,))


@pytest.mark.parametrize(
    "exclude",
    [
        *("private", "/private", "private/*", "private/**", "_cache/privat", "_cache/private/*/"),
        *("_cache/private/*.md", "_cache/private/z*", "_cache/private/**/specs.md", "specs.md", "_cache/[!p]*"),
    ],
)
def test_partly_excluded_folders_may_have_pages(exclude: str) -> None:
    folder = "_cache/private/" if exclude.startswith(("_cache", "specs")) else "_cache/public/"
    assert leads(folder, exclude=(exclude,))


@pytest.mark.parametrize("exclude", ["*", "/*", "**", "/**"])
def test_everything_may_be_excluded(exclude: str) -> None:
    pattern = Pattern(DEFAULT, (exclude,))
    assert not pattern.may_lead_to_pages("_cache/")
    assert not pattern.matches("_cache/develop/zlib/specs.md")


def test_a_line_break_in_a_name_changes_nothing() -> None:
    assert leads("_cache/a\nb/", exclude=("private",))
    assert not leads("_cache/private/a\nb/", exclude=("private",))
    assert not leads("_cache/.a\nb/")

"""A reindex, as its callers see it, on a real index in a folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from cachesync.errors import IndexUnavailableError, UsageError
from cachesync.index.embedded import EmbeddedIndex
from cachesync.index.lifecycle import Writer
from cachesync.pages.pattern import Pattern
from cachesync.sync import full_sync
from cachesync.sync.guard import Guard
from cachesync.sync.passes import Progress
from cachesync.sync.reindex import Reindex, reindex_once, report_on
from cachesync.sync.scan import Source
from tests.support.pages import entry, page, put


def no_progress(_done: int, _pages: int) -> None:
    pass


@pytest.fixture
def source(tmp_path: Path) -> Source:
    for tag in ("seen", "unseen"):
        for package in "abc":
            put(tmp_path / "pages", page(entry(f"{tag}{package}"), title=package), package, tag)
    return Source(tmp_path / "pages", Pattern(("_cache/**/specs.md",)), 10_000)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    with EmbeddedIndex(tmp_path / "index", "specs").writer(1) as writer:
        yield writer


def reindex(source: Source, writer: Writer, progress: Progress = no_progress) -> Any:
    return full_sync.reindex(source, writer, Guard(0.5), progress)


def test_progress_never_exceeds_the_total(source: Source, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if pages are carried over from an unreadable folder, which the scan didn't count."""
    reindex(source, writer)
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).rstrip("/").endswith("unseen"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    told: list[tuple[int, int]] = []
    reindex(source, writer, lambda done, pages: told.append((done, pages)))
    assert len(told) == 6
    assert all(0 < done <= pages for done, pages in told), told


def test_a_build_that_cant_be_removed_doesnt_hide_the_failure(
    source: Source, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise UsageError("something foreign is in its place")

    def fill(_new: Reindex) -> NoReturn:
        raise IndexUnavailableError("the disk is full")

    monkeypatch.setattr(writer, "discard", fail)
    monkeypatch.setattr(Reindex, "fill", fill)
    with pytest.raises(IndexUnavailableError, match="the disk is full"):
        reindex_once(source, writer, Guard(0.5), no_progress)


def test_a_generation_that_was_never_created_is_not_removed(
    source: Source, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise AssertionError

    monkeypatch.setattr(writer, "discard", fail)
    Reindex(source, writer, no_progress).abandon()


def test_a_reindex_is_reported_by_its_resulting_generation(source: Source, writer: Writer) -> None:
    """The report equals that of the reindex itself."""
    (source.root / "_cache/seen/a/specs.md").write_text("---\nhalf")
    report = reindex(source, writer)
    live = writer.live()
    assert live
    found = report_on(live)
    assert (found.pages, found.specs, found.problems) == (report.pages, report.specs, report.problems)

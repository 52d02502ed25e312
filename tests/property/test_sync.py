"""Whatever happens to a tree: after a sync the index equals the pages."""

import json
import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from cachesync.documents import document_id, render
from cachesync.index.base import Index
from cachesync.index.elastic import ElasticIndex
from cachesync.index.embedded import EmbeddedIndex
from cachesync.index.generation import Reader
from cachesync.index.server import IndexServer, Layout
from cachesync.pages.page import Page, parse
from cachesync.pages.pattern import Pattern
from cachesync.search.request import Request
from cachesync.sync import full_sync
from cachesync.sync.guard import Guard
from cachesync.sync.passes import partial_pass
from cachesync.sync.report import PageCounts, Report, SpecCounts
from cachesync.sync.scan import Source, root_of
from tests.support import elasticsearch
from tests.support.pages import entry, page, path_of, put, raw_page

tags = st.sampled_from(["develop", "v1", "v2"])
packages = st.sampled_from(["zlib", "hdf5", "py-pip"])
specs = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["rhel8", "centos7"]), max_size=6)
broken = st.sampled_from(
    [b"", b"---\nhalf", b"\xff", raw_page("[{}]"), raw_page("[[["), page(entry("x"), entry("x", os="y"))]
)


class Tree(RuleBasedStateMachine):
    """Edits to a tree of pages, syncs between them, and a model of what the index must hold."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.root = self.folder / "root"
        (self.root / "_cache").mkdir(parents=True)
        self.index = self.open_index()
        self.dirty: set[str] = set()  # where something has changed since the index was last brought into line
        self.held: dict[str, list[dict[str, Any]]] = {}  # what each page's documents were when it was last good

    def open_index(self) -> Index:
        return EmbeddedIndex(self.folder / "index", "specs")

    def remove_index(self) -> None:
        shutil.rmtree(self.folder / "index", ignore_errors=True)

    def teardown(self) -> None:
        self.sync_and_compare()
        self.remove_index()
        shutil.rmtree(self.folder)

    @rule(tag=tags, package=packages, content=specs)
    def save(self, tag: str, package: str, content: dict[str, str]) -> None:
        self.clear(tag, package)
        put(
            self.root, page(*(entry(hash, os=os) for hash, os in content.items()), title=package, tag=tag), package, tag
        )

    @rule(tag=tags, package=packages, data=broken)
    def break_(self, tag: str, package: str, data: bytes) -> None:
        self.clear(tag, package)
        put(self.root, data, package, tag)

    @rule(tag=tags, package=packages)
    def make_a_folder_of_it(self, tag: str, package: str) -> None:
        self.remove(tag, package)
        (self.root / path_of(package, tag)).mkdir(parents=True, exist_ok=True)

    @rule(tag=tags, package=packages)
    def link_outside(self, tag: str, package: str) -> None:
        self.clear(tag, package)
        file = self.root / path_of(package, tag)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.symlink_to("/etc/hostname")

    @rule(tag=tags, package=packages)
    def remove(self, tag: str, package: str) -> None:
        self.clear(tag, package)
        (self.root / path_of(package, tag)).unlink(missing_ok=True)

    @rule(tag=tags)
    def remove_tag(self, tag: str) -> None:
        self.dirty.add(f"_cache/{tag}/")
        shutil.rmtree(self.root / "_cache" / tag, ignore_errors=True)

    @rule(one=tags, other=tags)
    def swap_tags(self, one: str, other: str) -> None:
        self.dirty |= {f"_cache/{tag}/" for tag in (one, other)}
        places = [self.root / "_cache" / tag for tag in (one, other)]
        if one != other and all(place.exists() for place in places):
            places[0].rename(self.folder / "swap")
            places[1].rename(places[0])
            (self.folder / "swap").rename(places[1])

    @rule(tag=tags, package=packages)
    def touch_in_the_past(self, tag: str, package: str) -> None:
        self.dirty.add(path_of(package, tag))
        file = self.root / path_of(package, tag)
        if file.is_file() and not file.is_symlink():
            os.utime(file, ns=(1_000_000_007, 1_000_000_007))

    @rule()
    def reindex(self) -> None:
        with self.index.writer(5) as writer:
            full_sync.reindex(self.source(), writer, Guard(0.5, lambda: True), lambda _done, _total: None)
        self.dirty = set()
        self.expect()

    @rule(by_folder=st.booleans())
    def look_where_something_changed(self, by_folder: bool) -> None:
        """As the service does, by what its watcher tells: pages, or folders that they are in."""
        tags = {f"_cache/{path.split('/')[1]}/" for path in self.dirty}
        with self.index.writer(5) as writer:
            live = writer.live()
            if live is None:
                return
            source = self.source()
            paths = tags if by_folder else self.dirty
            partial_pass(live, source, Guard(0.5, lambda: True), lambda _page: None, paths, root_of(source), 0)
            live.refresh()
        self.dirty = set()
        self.expect()
        self.compare(self.index.reader())

    @rule()
    def lose_the_index(self) -> None:
        """Then earlier documents of pages that are broken now are lost with it."""
        self.remove_index()
        self.held = {}

    def clear(self, tag: str, package: str) -> None:
        """Make room where a rule before has put a folder."""
        self.dirty |= {path_of(package, tag), f"{path_of(package, tag)}/"}
        file = self.root / path_of(package, tag)
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)

    def source(self) -> Source:
        return Source(self.root, Pattern(("_cache/**/specs.md",)), 1_000_000)

    def sync(self) -> Report:
        self.dirty = set()
        with self.index.writer(5) as writer:
            return full_sync.sync(self.source(), writer, Guard(0.5, lambda: True), lambda _done, _total: None)

    @rule()
    def sync_and_compare(self) -> None:
        report = self.sync()
        problems = self.expect()
        reader = self.index.reader()
        self.compare(reader)
        assert {each.page for each in report.problems} == problems
        again = self.sync()
        assert again.pages == PageCounts(
            unchanged=len(self.held) - len(problems & set(self.held)), problems=len(problems)
        )
        assert again.specs == SpecCounts()
        assert self.index.reader().generation == reader.generation

    def expect(self) -> set[str]:
        """Bring the model up to date and return the pages that are problems."""
        found = {path.relative_to(self.root).as_posix(): path for path in self.root.rglob("specs.md")}
        problems = set()
        for path, file in found.items():
            rendered = None
            if file.is_file() and not file.is_symlink():
                parsed = parse(path, file.read_bytes())
                rendered = render(parsed) if isinstance(parsed, Page) else None
            if isinstance(rendered, dict):
                self.held[path] = [
                    {"_id": document_id(path, key), **json.loads(source)} for key, source in rendered.items()
                ]
            else:
                problems.add(path)
        self.held = {path: documents for path, documents in self.held.items() if path in found}
        return problems

    def compare(self, reader: Reader) -> None:
        expected = {each["_id"]: each for documents in self.held.values() for each in documents}
        assert {hit["_id"]: hit for hit in reader.search(Request(limit=10_000)).hits} == expected
        assert reader.counts() == {path: len(documents) for path, documents in self.held.items() if documents}
        for record in reader.records():
            documents = self.held.get(record.page, [])
            assert record.specs == len(documents)
            assert {document_id(record.page, key) for key in reader.remembered([record.page])[record.page].digests} == {
                each["_id"] for each in documents
            }


Tree.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestTree = Tree.TestCase


def test_tree_in_elasticsearch(elasticsearch_url: str) -> None:
    class InElasticsearch(Tree):
        def open_index(self) -> Index:
            self.name = f"test-{uuid.uuid4().hex[:12]}"
            return ElasticIndex(IndexServer((elasticsearch_url,)), self.name, Layout())

        def remove_index(self) -> None:
            elasticsearch.remove(elasticsearch_url, self.name)

    run_state_machine_as_test(
        InElasticsearch, settings=settings(max_examples=20, stateful_step_count=20, deadline=None)
    )

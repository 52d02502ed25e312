"""The quick way to tell a page is the patterns' own answer."""

import pathspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachesync.pages.pattern import Pattern

names = st.sampled_from(
    ["_cache", "specs.md", "specs.mdx", "xspecs.md", "develop", "a b", "\n", ".hidden", "é", "index.md"]
)
paths = st.lists(names, min_size=1, max_size=5).map("/".join)


def test_usual_pages_are_told_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pathspec.GitIgnoreSpec, "match_file", None)
    assert Pattern(("_cache/**/specs.md",)).matches("_cache/develop/zlib/specs.md")


@pytest.mark.parametrize("include", ["_cache/**/specs.md", "/_cache/**/specs.md", "develop/**/_cache"])
@pytest.mark.parametrize("exclude", [(), ("develop",), ("_cache/a b/*",)])
@settings(max_examples=200, deadline=None)
@given(path=paths)
def test_the_quick_answer_is_the_answer(include: str, exclude: tuple[str, ...], path: str) -> None:
    quick = Pattern((include,), exclude)
    slow = Pattern((include, include), exclude)
    assert quick.matches(path) == slow.matches(path)

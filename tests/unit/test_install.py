"""Install commands are only shown if all parts of them are safe in a shell."""

from typing import Any

import pytest

from cachesync.search.install import MIRROR_URL, install

HIT: dict[str, Any] = {"package": "zlib", "tag": "develop", "stacks": ["root", "e4s"], "hash": "abc"}


def test_the_mirror_is_of_the_first_stack() -> None:
    found = install(HIT, MIRROR_URL)
    assert found
    assert found.mirror == "https://binaries.spack.io/develop/e4s"
    assert found.commands == (
        "spack mirror add develop-e4s https://binaries.spack.io/develop/e4s",
        "spack buildcache keys --install --trust",
        "spack install --cache-only /abc",
    )


@pytest.mark.parametrize("name", ["tag", "stacks", "package", "hash"])
@pytest.mark.parametrize("value", [".", "..", "...", "", "-x", "a b", "a/b", "a;b", "$(a)", "a\n", "é", "`a`"])
def test_unsafe_values_have_no_commands(name: str, value: str) -> None:
    changed = {**HIT, name: [value] if name == "stacks" else value}
    assert install(changed, MIRROR_URL) is None


@pytest.mark.parametrize("value", [".a", "a.", "..a", "1.2.3", "a+b", "_", "a-b"])
def test_names_may_contain_dots(value: str) -> None:
    assert install({**HIT, "tag": value, "stacks": [value], "hash": value}, MIRROR_URL)


def test_there_are_no_commands_without_a_mirror() -> None:
    assert install(HIT, "") is None
    assert install({**HIT, "stacks": ["root"]}, MIRROR_URL) is None

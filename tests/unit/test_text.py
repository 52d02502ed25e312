"""Text is split into words."""

import pytest

from cachesync.search.text import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("py-pip@24.3.1", ["py", "pip", "24.3.1"]),
        (
            "arch=linux-ubuntu22.04-x86_64_v3 %GCC@11.4.0",
            ["arch", "linux", "ubuntu22.04", "x86_64_v3", "gcc", "11.4.0"],
        ),
        ("hdf5+mpi~shared", ["hdf5", "mpi", "shared"]),
        ("a.b 1.b b.1 x:y 1:2 1,2 it's", ["a.b", "1", "b", "b", "1", "x:y", "1", "2", "1,2", "it's"]),
        ("languages:='c,c++'", ["languages", "c", "c"]),
        ("", []),
    ],
)
def test_words_are_those_of_the_standard_tokenizer(text: str, expected: list[str]) -> None:
    assert words(text) == expected

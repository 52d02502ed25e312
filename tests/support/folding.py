"""A file system that folds names, as those of macOS and Windows do: a file answers to names that no listing has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def folding(monkeypatch: pytest.MonkeyPatch, folder: Path, old: str, new: str) -> Iterator[None]:
    """Let what is called ``new`` in a folder answer to ``old`` too, though it is listed only as ``new``."""
    os.symlink(new, folder / old)
    real_scandir, real_lstat = os.scandir, os.lstat

    @contextmanager
    def scandir(path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        with real_scandir(path) as entries:
            yield (each for each in entries if each.name != old)

    def lstat(path: str | Path) -> os.stat_result:
        return real_lstat(str(path).replace(f"{folder}/{old}", f"{folder}/{new}"))

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scandir)
        patched.setattr(os, "lstat", lstat)
        yield
    (folder / old).unlink()
